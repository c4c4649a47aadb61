"""AWS Secrets Manager, by moto's server."""

from collections.abc import Iterator
from typing import Any
from urllib.request import Request, urlopen

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.conftest import Worker

Manager = Any


@pytest.fixture(scope="session")
def aws_endpoint() -> Iterator[str]:
    """An AWS whose services all are at this URL."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def manager(
    worker: Worker, aws_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Manager]:
    """A client of Secrets Manager, for a worker that has the rights to it."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws_endpoint)
    yield boto3.client("secretsmanager")
    worker.close()
    urlopen(Request(f"{aws_endpoint}/moto-api/reset", method="POST")).close()


def new_secret(manager: Manager, value: str) -> str:
    """The secret's ARN."""
    return str(manager.create_secret(Name="blog", SecretString=value)["ARN"])
