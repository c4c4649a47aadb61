"""Fixtures that most tests share: real PostgreSQL and Redis, and the API in this process."""

import gc
import os
import sys
import uuid
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, closing
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import psycopg
import pytest
import redis

from local.services import Services, running_services
from shared.database.driver import TIMEOUTS
from shared.process import reset
from shared.request import Record
from tests.auth.claims import REQUIRED, claims_of
from tests.event_loop import run
from tests.example.models import create_tables
from tests.in_process import client_of
from tests.logs import pytest_runtest_logreport  # noqa: F401
from tests.parallel import (  # noqa: F401
    pytest_addoption,
    pytest_collection_modifyitems,
    pytest_ignore_collect,
    pytest_xdist_auto_num_workers,
    pytest_xdist_make_scheduler,
)
from tests.resources import EMPTY
from tests.sample_resource import sample  # noqa: F401
from tests.skips import pytest_make_collect_report, pytest_runtest_makereport  # noqa: F401
from tests.transactions import REQUEST
from tests.valkey import empty

R = TypeVar("R")
ApiOf = Callable[..., httpx.Client]

if sys.platform == "darwin":  # its own temporary directory is too long for sockets' paths
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", "/tmp")
os.environ["AUTH"] = "open"  # tests of authorization set it themselves


def pytest_collection_finish() -> None:
    """Exempt the imported modules from garbage collection, which would take half a second."""
    gc.freeze()


class Worker:
    """This process as a worker that has read no settings and connected to nothing."""

    def __init__(self, environment: pytest.MonkeyPatch) -> None:
        self._environment = environment
        self.service = f"blog-{uuid.uuid4()}"
        self.restart(SERVICE=self.service)

    def restart(self, **environment: str | None) -> None:
        """Begin again with these variables; those that are None are removed."""
        self.close()
        for name, value in environment.items():
            if value is None:
                self._environment.delenv(name, raising=False)
            else:
                self._environment.setenv(name, value)

    def run(self, coroutine: Coroutine[Any, Any, R]) -> R:
        """Run it in the event loop of Mangum, to which the process's clients are bound."""
        return run(coroutine)

    def close(self) -> None:
        self.run(reset())


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """PostgreSQL with the schema and the example's tables, and Redis, for this run only."""
    os.environ.pop("DATABASE_URL", None)
    os.environ.pop("REDIS_URL", None)
    with running_services(tmp_path_factory.mktemp("services"), ephemeral=True) as started:
        os.environ["DATABASE_URL"] = started.database_url
        os.environ["REDIS_URL"] = started.redis_url
        os.environ["TLS_REQUIRED"] = "false"
        from migrations.handler import handler as migrate

        migrate({}, None)
        create_tables()
        yield started
        with pytest.MonkeyPatch.context() as environment:
            Worker(environment)  # leaves no connection of the last test behind


@pytest.fixture
def worker(services: Services, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    """A new worker; `worker.service` is its name in logs and in `pg_stat_activity`."""
    new = Worker(monkeypatch)
    yield new
    new.close()


class Emptier:
    """Empties the database on a connection that stays: on a new one it takes five times as long."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: psycopg.Connection[Any] | None = None

    def empty(self) -> None:
        try:
            self._connect().execute(EMPTY)
        except psycopg.OperationalError:  # a test ended all connections
            self.close()
            self._connect().execute(EMPTY)

    def _connect(self) -> psycopg.Connection[Any]:
        self._connection = self._connection or psycopg.connect(self._url, autocommit=True)
        return self._connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


@pytest.fixture(scope="session")
def emptier(services: Services) -> Iterator[Emptier]:
    with closing(Emptier(services.database_url)) as emptier:
        yield emptier


@pytest.fixture
def emptied(emptier: Emptier) -> None:
    """The database has no rows."""
    emptier.empty()


@pytest.fixture
def database(services: Services, emptied: None) -> Iterator[psycopg.Connection[Any]]:
    """A connection in autocommit to the emptied database."""
    with psycopg.connect(services.database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def owners(database: psycopg.Connection[Any]) -> Iterator[None]:
    """Callers own the writers that they create, and none of the product's rows."""
    database.execute("ALTER TABLE identities DISABLE TRIGGER ALL")
    database.execute(
        "ALTER TABLE identities ADD CONSTRAINT owners"
        " FOREIGN KEY (user_id) REFERENCES writers ON DELETE CASCADE"
    )
    yield
    database.execute("ALTER TABLE identities DROP CONSTRAINT owners")
    database.execute("DELETE FROM identities; ALTER TABLE identities ENABLE TRIGGER ALL")


class LaterRedis(redis.Redis):
    """A client that sees the effect of what workers have sent before without awaiting it.

    Redis reads several connections in any order; but it responds to the PING only after it has
    executed all that was there with it.
    """

    def execute_command(self, *arguments: Any, **options: Any) -> Any:
        super().execute_command("PING")  # type: ignore[no-untyped-call]
        return super().execute_command(*arguments, **options)  # type: ignore[no-untyped-call]


@pytest.fixture(scope="session")
def redis_client(services: Services) -> Iterator[redis.Redis]:
    with LaterRedis.from_url(services.redis_url) as client:
        yield client


@pytest.fixture
def cache(redis_client: redis.Redis) -> redis.Redis:
    """A client of the emptied Redis."""
    empty(redis_client)
    return redis_client


@pytest.fixture
def api(emptied: None, cache: object, worker: Worker) -> Iterator[httpx.Client]:
    """The API in this process, without rows."""
    with client_of() as client:
        yield client


@pytest.fixture
def api_of(worker: Worker, emptied: None, cache: object) -> Iterator[ApiOf]:
    """Returns the API for a caller of these roles, without rows."""
    worker.restart(**REQUIRED)
    with ExitStack() as clients:

        def api_of(*roles: str, subject: str = "ada", **claims: str) -> httpx.Client:
            return clients.enter_context(
                client_of(claims=claims_of(*roles, subject=subject, **claims))
            )

        yield api_of


def url_without_timeouts(services: Services) -> str:
    """The database for sessions that have none of the settings of its migrations."""
    options = " ".join(f"-c {name}=0" for name in TIMEOUTS)
    return f"{services.database_url}&options={quote(options)}"


@pytest.fixture
def record() -> Record:
    """A new record of `REQUEST`."""
    REQUEST.record = Record()
    return REQUEST.record
