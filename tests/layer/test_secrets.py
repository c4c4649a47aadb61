"""Settings that AWS Secrets Manager keeps."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncConnection

from blog import secrets
from blog.database import database_url, read
from blog.secrets import SecretUnavailable, is_secret, secret_value
from local.services import Services
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


async def answer(connection: AsyncConnection) -> object:
    return await connection.scalar(text("SELECT 42"))


def test_the_database_is_reached_through_the_secret(
    sandbox: Sandbox, services: Services, manager: Manager
) -> None:
    sandbox.restart(DATABASE_URL=new_secret(manager, services.database_url))
    assert database_url().drivername == "postgresql+psycopg"
    assert database_url().query == make_url(services.database_url).query
    assert sandbox.run(read(answer)) == 42


def test_a_rotated_value_is_read_when_asked_again_but_not_at_once(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    arn = new_secret(manager, "old")
    assert secret_value(arn) == "old"
    manager.put_secret_value(SecretId=arn, SecretString="new")
    assert secret_value(arn) == "old"

    monkeypatch.setattr(secrets, "REREAD_SECONDS", 0.0)
    assert secret_value(arn) == "new"


def test_a_secret_that_cannot_be_read_is_not_asked_for_again_at_once(manager: Manager) -> None:
    arn = new_secret(manager, "value")
    manager.delete_secret(SecretId=arn, ForceDeleteWithoutRecovery=True)
    with pytest.raises(SecretUnavailable, match="ResourceNotFound"):
        secret_value(arn)
    with pytest.raises(SecretUnavailable, match="a moment ago"):
        secret_value(arn)


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov"])
def test_the_arn_of_a_secret_is_told_from_a_url(partition: str) -> None:
    assert is_secret(f"arn:{partition}:secretsmanager:eu-west-1:123456789012:secret:blog-AbCdEf")
    assert not is_secret("postgresql://arn:aws:secretsmanager:@127.0.0.1/blog")
