"""The custom resource that migrates in a deployment always responds to CloudFormation.

Its code runs as shipped. Lambda's API is an HTTP server here, which runs the real migrations, and
CloudFormation's URL is another.
"""

import importlib.util
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import ThreadingHTTPServer
from types import ModuleType
from typing import Any

import psycopg
import pytest

from migrations.handler import handler as migrations
from tests.conftest import Worker
from tests.http_handler import QuietHandler
from tests.migrations.conftest import empty_url
from tests.resources import ROOT
from tests.template.stacks import Stack

__all__ = ["empty_url"]

CODE = ROOT / "infrastructure" / "schema" / "index.py"
VERSION = "arn:aws:lambda:eu-west-1:123456789012:function:migrations:7"
Execute = Callable[..., dict[str, Any]]


class Aws:
    """What the function reaches: Lambda's API, and the URL of the response."""

    def __init__(self) -> None:
        self.invoked: list[str] = []
        self.responses: list[dict[str, Any]] = []
        self.error: str | None = None
        aws = self

        class Handler(QuietHandler):
            def do_POST(self) -> None:
                aws.invoked.append(self.path)
                event = json.loads(self.body())
                try:
                    payload, headers = aws.migrate(event), {}
                except Exception as error:  # noqa: BLE001 - as Lambda does
                    payload = {"errorType": type(error).__name__, "errorMessage": str(error)}
                    headers = {"X-Amz-Function-Error": "Unhandled"}
                self.respond(json.dumps(payload).encode(), headers)

            def do_PUT(self) -> None:
                assert self.headers["Content-Type"] == ""  # else the URL's signature is another
                aws.responses.append(json.loads(self.body()))
                self.respond(b"")

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def migrate(self, event: dict[str, Any]) -> dict[str, Any]:
        if self.error is not None:
            raise RuntimeError(self.error)
        return migrations(event, None)


@pytest.fixture
def aws(worker: Worker, empty_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    aws = Aws()
    worker.restart(DATABASE_URL=empty_url)
    for name, value in {
        "AWS_ENDPOINT_URL_LAMBDA": aws.url,
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }.items():
        monkeypatch.setenv(name, value)
    with ExitStack() as stack:
        stack.callback(aws.server.server_close)
        stack.callback(aws.server.shutdown)
        threading.Thread(target=aws.server.serve_forever, daemon=True).start()
        yield aws


@pytest.fixture
def execute(aws: Aws) -> Execute:
    """Sends an event of CloudFormation's; returns the response to it."""
    module = loaded()

    def execute(request: str = "Create", **properties: str) -> dict[str, Any]:
        event = {
            "RequestType": request,
            "ResponseURL": f"{aws.url}/response",
            "StackId": "arn:aws:cloudformation:stack",
            "RequestId": "one",
            "LogicalResourceId": "Schema",
            "ResourceProperties": {"Migrate": "true", "Migrations": VERSION} | properties,
        }
        module.handler(event, None)
        return aws.responses.pop()

    return execute


def loaded() -> ModuleType:
    specification = importlib.util.spec_from_file_location("schema_index", CODE)
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize("request_type", ["Create", "Update"])
def test_it_migrates_the_database_and_returns_the_revision(
    request_type: str, execute: Execute, empty_url: str, aws: Aws
) -> None:
    response = execute(request_type)
    with psycopg.connect(empty_url) as connection:
        revision = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    assert revision
    assert response == {
        "Status": "SUCCESS",
        "PhysicalResourceId": "schema",
        "StackId": "arn:aws:cloudformation:stack",
        "RequestId": "one",
        "LogicalResourceId": "Schema",
        "Data": {"Revision": revision[0]},
    }
    (path,) = aws.invoked
    assert path.endswith("%3Amigrations%3A7/invocations")


def test_a_migration_that_fails_fails_the_deployment_with_its_reason(
    execute: Execute, aws: Aws
) -> None:
    aws.error = "column users.age: " + "long " * 1000
    response = execute("Update")
    assert response["Status"] == "FAILED"
    assert response["Reason"].startswith("MigrationFailed: RuntimeError: column users.age: long")
    assert len(json.dumps(response)) < 4096


def test_a_lambda_that_cannot_be_invoked_fails_the_deployment(
    execute: Execute, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", "http://127.0.0.1:1")
    response = execute()
    assert response["Status"] == "FAILED"
    assert response["Reason"].startswith("EndpointConnectionError: ")


@pytest.mark.parametrize(
    ("request_type", "properties"), [("Delete", {}), ("Create", {"Migrate": "false"})]
)
def test_it_changes_nothing_when_deleted_or_not_wanted(
    request_type: str, properties: dict[str, str], execute: Execute, aws: Aws
) -> None:
    assert execute(request_type, **properties)["Status"] == "SUCCESS"
    assert aws.invoked == []


def test_an_event_that_lacks_something_fails_the_deployment(execute: Execute, aws: Aws) -> None:
    loaded().handler(
        {
            "RequestType": "Create",
            "ResponseURL": f"{aws.url}/response",
            **dict.fromkeys(("StackId", "RequestId", "LogicalResourceId"), "one"),
            "ResourceProperties": {},
        },
        None,
    )
    assert aws.responses.pop()["Status"] == "FAILED"


def test_it_is_outside_the_vpc_and_may_invoke_the_migrations_only() -> None:
    stack = Stack().nested["Schema"]
    assert "VpcConfig" not in stack.properties("Function")
    (policy,) = stack.properties("Role")["Policies"]
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert statement["Action"] == "lambda:InvokeFunction"
    assert "migrationsfunctionversion" in statement["Resource"]
    assert stack.properties("Schema")["Migrations"] == statement["Resource"]
