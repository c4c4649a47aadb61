"""A database of their own for the migrations' tests."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from local.services import Services
from migrations.handler import handler
from tests.conftest import Worker
from tests.example.models import create_tables

Migrate = Callable[..., dict[str, Any]]
Schema = psycopg.Connection[Any]


@contextmanager
def new_database(services: Services, options: str = "") -> Iterator[str]:
    """The URL of a new database without a schema."""
    name = f"migrations_{uuid.uuid4().hex}"
    with psycopg.connect(services.database_url, autocommit=True) as server:
        server.execute("SET statement_timeout = 0")  # a busy machine's disk may take long
        server.execute(f"CREATE DATABASE {name} {options}")
        parts = urlsplit(services.database_url)
        # urlunsplit leaves out an empty host; the socket's directory is in the query.
        yield urlunsplit(parts._replace(path=f"/{name}")).replace(
            "postgresql:/m", "postgresql:///m"
        )
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def empty_url(services: Services) -> Iterator[str]:
    with new_database(services) as url:
        yield url


@pytest.fixture
def migrate(worker: Worker, empty_url: str) -> Migrate:
    """Runs the function on that database."""
    worker.restart(DATABASE_URL=empty_url)
    return lambda **event: handler(event, None)


@pytest.fixture
def schema(migrate: Migrate, empty_url: str) -> Iterator[Schema]:
    """A connection to that database with the newest schema."""
    migrate()
    with psycopg.connect(empty_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def example(schema: Schema) -> Schema:
    """The same with the example's tables."""
    create_tables()
    return schema


@pytest.fixture(scope="module")
def migrated_url(services: Services) -> Iterator[str]:
    """The URL of a database with the newest schema, which no test of the module changes."""
    with new_database(services) as url, pytest.MonkeyPatch.context() as environment:
        worker = Worker(environment)
        worker.restart(DATABASE_URL=url)
        handler({}, None)
        worker.close()
        yield url


@pytest.fixture
def migrated(migrated_url: str) -> Iterator[Schema]:
    """A session of that database."""
    with psycopg.connect(migrated_url, autocommit=True) as connection:
        yield connection
