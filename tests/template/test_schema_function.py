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
from tests.template.stacks import Stack, template

__all__ = ["empty_url"]

CODE = ROOT / "infrastructure" / "schema" / "index.py"
FUNCTION = "arn:aws:lambda:eu-west-1:123456789012:function:migrations"
VERSION = f"{FUNCTION}:7"
SERVICE_TIMEOUT_SECONDS = Stack().nested["Schema"].properties("Schema")["ServiceTimeout"]
# What Lambda responds while it or IAM still settles: status and error.
REJECTIONS = {
    "AccessDeniedException": 403,  # IAM, of the right to invoke
    "ResourceNotFoundException": 404,
    "ResourceConflictException": 409,  # "Pending"
    "TooManyRequestsException": 429,
    "ServiceException": 500,
    "EC2AccessDeniedException": 502,  # IAM, of the invoked function's role
    "ResourceNotReadyException": 502,  # "VPC connection"
    "SubnetIPAddressLimitReachedException": 502,
}
Execute = Callable[..., dict[str, Any]]


class Aws:
    """What the function reaches: Lambda's API, and the URL of the response."""

    def __init__(self) -> None:
        self.invoked: list[str] = []
        self.responses: list[dict[str, Any]] = []
        self.error: str | None = None
        self.rejections: list[str] = []
        self.lost_responses = 0
        self.forgotten_connections = 0
        self.end = threading.Event()
        aws = self

        class Handler(QuietHandler):
            def do_POST(self) -> None:
                aws.invoked.append(self.path)
                event = json.loads(self.body())
                if aws.rejections:
                    self.reject(aws.rejections.pop(0))
                    return
                if aws.forgotten_connections:
                    aws.forgotten_connections -= 1
                    aws.end.wait()
                    return
                try:
                    payload, headers = aws.migrate(event), {}
                except Exception as error:  # noqa: BLE001 - as Lambda does
                    payload = {"errorType": type(error).__name__, "errorMessage": str(error)}
                    headers = {"X-Amz-Function-Error": "Unhandled"}
                self.respond(json.dumps(payload).encode(), headers)

            def reject(self, error: str) -> None:
                body = json.dumps({"Message": error}).encode()
                self.send_response(REJECTIONS[error])
                self.send_header("X-Amzn-ErrorType", error)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_PUT(self) -> None:
                assert self.headers["Content-Type"] == ""  # else the URL's signature is another
                body = self.body()
                assert len(body) <= 4096  # CloudFormation's maximum
                if aws.lost_responses:
                    aws.lost_responses -= 1
                    self.close_connection = True
                    return
                aws.responses.append(json.loads(body))
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
        stack.callback(aws.end.set)
        threading.Thread(target=aws.server.serve_forever, daemon=True).start()
        yield aws


@pytest.fixture
def code(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = loaded()
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    return module


@pytest.fixture
def execute(aws: Aws, code: ModuleType) -> Execute:
    """Sends an event of CloudFormation's; returns the response to it.

    `old` are the properties before an Update.
    """

    def execute(
        request: str = "Create", old: dict[str, str] | None = None, **properties: str
    ) -> dict[str, Any]:
        event = {
            "RequestType": request,
            "ResponseURL": f"{aws.url}/response",
            "StackId": "arn:aws:cloudformation:stack",
            "RequestId": "one",
            "LogicalResourceId": "Schema",
            "ResourceProperties": {"Migrations": VERSION} | properties,
        }
        if request == "Update":
            event["OldResourceProperties"] = {"Migrations": f"{FUNCTION}:6"} | (old or {})
        if request != "Create":
            event["PhysicalResourceId"] = "schema"
        code.handler(event, None)
        (response,) = aws.responses
        aws.responses.clear()
        return response

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
    aws.error = "column notes.age: " + "long " * 1000
    response = execute("Update")
    assert response["Status"] == "FAILED"
    assert response["Reason"].startswith("MigrationFailed: RuntimeError: column notes.age: long")


@pytest.mark.parametrize("character", ["ж", "😀", "\x01", '"'])
def test_a_reason_of_any_characters_fits_into_the_response(
    character: str, execute: Execute, aws: Aws
) -> None:
    aws.error = character * 5000
    assert character * 100 in execute("Update")["Reason"]


def test_a_lambda_that_cannot_be_invoked_fails_the_deployment(
    execute: Execute, code: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", "http://127.0.0.1:1")
    monkeypatch.setattr(code, "SETTLING_SECONDS", 0.1)
    response = execute()
    assert response["Status"] == "FAILED"
    assert response["Reason"].startswith("EndpointConnectionError: ")


@pytest.mark.parametrize("request_type", ["Create", "Update"])
@pytest.mark.parametrize("rejection", REJECTIONS)
def test_an_invocation_that_is_rejected_at_first_is_retried(
    rejection: str, request_type: str, execute: Execute, aws: Aws
) -> None:
    aws.rejections = [rejection, rejection]
    assert execute(request_type)["Status"] == "SUCCESS"
    assert len(aws.invoked) == 3


def test_an_invocation_that_stays_rejected_fails_the_deployment(
    execute: Execute, aws: Aws, code: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code, "SETTLING_SECONDS", 0.1)
    aws.rejections = ["AccessDeniedException"] * 100
    response = execute()
    assert response["Status"] == "FAILED"
    assert "AccessDeniedException" in response["Reason"]


def test_a_migration_that_fails_is_not_invoked_again(execute: Execute, aws: Aws) -> None:
    aws.error = "no such column"
    execute("Update")
    assert len(aws.invoked) == 1


def test_it_waits_longer_than_a_migration_takes_and_responds_in_time(code: ModuleType) -> None:
    migrations = Stack().properties("MigrationsFunction")["Timeout"]
    function = Stack().nested["Schema"].properties("Function")["Timeout"]
    assert migrations < code.MIGRATION_SECONDS
    responding_seconds = code.RESPONSE_ATTEMPTS * 11
    invoking_seconds = code.SETTLING_SECONDS + code.MIGRATION_SECONDS + code.STATUS_SECONDS
    assert invoking_seconds + responding_seconds < function <= SERVICE_TIMEOUT_SECONDS


def test_a_run_whose_response_is_lost_ends_as_the_database_says(
    execute: Execute, aws: Aws, code: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(code, "MIGRATION_SECONDS", 0.1)
        aws.forgotten_connections = 1
        failed = execute()
    assert failed["Status"] == "FAILED"
    assert failed["Reason"].startswith("MigrationFailed: ")
    migrated = execute()
    monkeypatch.setattr(code, "MIGRATION_SECONDS", 0.1)
    aws.forgotten_connections = 1
    assert execute()["Data"] == migrated["Data"]


def test_a_response_that_is_lost_is_sent_again(execute: Execute, aws: Aws) -> None:
    aws.lost_responses = 1
    assert execute()["Status"] == "SUCCESS"


@pytest.mark.parametrize(
    ("request_type", "back_to", "failed"),
    [
        ("Update", f"{FUNCTION}:7", f"{FUNCTION}:8"),
        ("Update", f"{FUNCTION}:9", f"{FUNCTION}:10"),  # numbers, not text
        ("Update", f"{FUNCTION}:7", f"{FUNCTION}:7"),  # another property was changed
        ("Delete", f"{FUNCTION}:7", ""),  # of a Create that failed
    ],
)
def test_the_way_back_needs_neither_the_database_nor_the_version(
    request_type: str, back_to: str, failed: str, execute: Execute, aws: Aws
) -> None:
    aws.error = "the database is down"
    aws.rejections = ["ResourceNotFoundException"] * 100
    response = execute(request_type, old={"Migrations": failed}, Migrations=back_to)
    assert (response["Status"], response["PhysicalResourceId"]) == ("SUCCESS", "schema")
    assert aws.invoked == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"{FUNCTION}:7", f"{FUNCTION}:9"),  # 8 failed, and is not there any more
        (f"{FUNCTION}:9", f"{FUNCTION}:10"),
        (f"{FUNCTION}-before:9", f"{FUNCTION}:1"),  # the function was replaced
        ("", f"{FUNCTION}:1"),
    ],
)
def test_on_the_way_forward_it_migrates(
    before: str, after: str, execute: Execute, aws: Aws
) -> None:
    assert "Revision" in execute("Update", old={"Migrations": before}, Migrations=after)["Data"]
    assert len(aws.invoked) == 1


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
    assert statement["Resource"] == Stack().attribute("MigrationsFunction", "Arn") + ":*"


def test_nothing_of_its_rights_changes_with_a_version() -> None:
    """IAM takes seconds until a change is in force everywhere."""
    role = template(ROOT / "infrastructure" / "schema.yaml")["Resources"]["Role"]
    assert "MigrationsFunction" in json.dumps(role)
    assert '"Migrations"' not in json.dumps(role)
    assert "Migrations}" not in json.dumps(role)
