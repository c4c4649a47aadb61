"""Fixtures that most tests share: real PostgreSQL and Redis, and the API in this process."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import redis

from local.services import Services, running_services
from tests.in_process import LambdaTransport

EMPTY = "TRUNCATE users, posts, row_counts RESTART IDENTITY"


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """PostgreSQL with the schema, and Redis, for the whole run and for nobody else."""
    os.environ.pop("DATABASE_URL", None)
    os.environ.pop("REDIS_URL", None)
    with running_services(_short_directory(tmp_path_factory), throwaway=True) as started:
        os.environ["DATABASE_URL"] = started.database_url
        os.environ["REDIS_URL"] = started.redis_url
        from migrations.handler import handler as migrate

        migrate({}, None)
        yield started


@pytest.fixture
def database(services: Services) -> Iterator[psycopg.Connection[Any]]:
    """A connection in autocommit to the emptied database."""
    with psycopg.connect(services.database_url, autocommit=True) as connection:
        connection.execute(EMPTY)
        yield connection


@pytest.fixture
def cache(services: Services) -> Iterator["redis.Redis[bytes]"]:
    """A client of the emptied Redis."""
    with redis.Redis.from_url(services.redis_url) as client:
        client.flushdb()
        yield client


@pytest.fixture
def api(database: object, cache: object) -> Iterator[httpx.Client]:
    """The API in this process, without users and posts."""
    with httpx.Client(transport=LambdaTransport(), base_url="http://api.test") as client:
        yield client


def _short_directory(factory: pytest.TempPathFactory) -> Path:
    """A directory for sockets, whose paths may have 100 bytes at most."""
    return factory.mktemp("services")
