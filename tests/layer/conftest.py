"""AWS Secrets Manager, by moto."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from tests.conftest import Sandbox

Manager = Any


@pytest.fixture
def manager(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    """A client of Secrets Manager, for a sandbox that has the rights to it."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with mock_aws():
        yield boto3.client("secretsmanager")
        sandbox.close()


def new_secret(manager: Manager, value: str) -> str:
    """The secret's ARN."""
    return str(manager.create_secret(Name="blog", SecretString=value)["ARN"])
