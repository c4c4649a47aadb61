"""DATABASE_URL as a secret of AWS Secrets Manager."""

from collections.abc import Iterator

import boto3
import pytest
from aws_lambda_powertools.utilities import parameters
from moto import mock_aws
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncConnection

from blog.database import database_url, read
from local.services import Services
from tests.conftest import Sandbox


@pytest.fixture
def secret_arn(
    sandbox: Sandbox, services: Services, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """The ARN of a secret that holds the URL of the database."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with mock_aws():
        parameters.clear_caches()  # type: ignore[no-untyped-call]
        manager = boto3.client("secretsmanager")
        secret = manager.create_secret(Name="blog", SecretString=services.database_url)
        sandbox.restart(DATABASE_URL=secret["ARN"])
        yield secret["ARN"]
        parameters.clear_caches()  # type: ignore[no-untyped-call]


async def answer(connection: AsyncConnection) -> object:
    return await connection.scalar(text("SELECT 42"))


@pytest.mark.usefixtures("secret_arn")
def test_the_database_is_reached_through_the_secret(sandbox: Sandbox, services: Services) -> None:
    assert database_url().drivername == "postgresql+psycopg"
    assert database_url().query == make_url(services.database_url).query
    assert sandbox.run(read(answer)) == 42
