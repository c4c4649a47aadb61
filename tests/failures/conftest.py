"""A worker whose PostgreSQL and Redis are behind proxies that fail on command."""

from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import httpx
import psycopg
import pytest
import redis as redis_sync

from local.services import Services
from meta import health
from tests.conftest import Worker
from tests.failures.proxy import FailingProxy, Failure
from tests.failures.rows import Row
from tests.in_process import LambdaTransport
from tests.resources import EMPTY
from tests.valkey import empty

FUNCTION_SECONDS = 1.25
"""Of these the handlers keep 0.5 for the response."""
PROBLEM_MEMBERS = {"type", "title", "status", "detail"}
SECRETS = (
    *("psycopg", "SQL", "UPDATE", "server", "127.0.0.1", "refused", "terminat", "timeout", "lock"),
    *("socket", "Countess", "nowhere"),
)
"""Texts of the database, and of the request's body, that no problem may contain."""


@dataclass(frozen=True)
class Route:
    """A request whose response is known; `statement` begins what it asks PostgreSQL."""

    method: str
    path: str
    status: int
    statement: bytes
    body: dict[str, str] | None = None


READS = (
    Route("GET", "/writers?skip=1&limit=10", 200, b"SELECT"),
    Route("GET", "/writers/1", 200, b"SELECT"),
    Route("GET", "/writers/search?name=ada", 200, b"SELECT"),
)
WRITES = (
    Route("POST", "/writers", 201, b"INSERT", {"name": "Bob", "email": "bob@example.org"}),
    Route("PATCH", "/writers/1", 200, b"UPDATE", {"name": "Countess"}),
    Route("DELETE", "/writers/1", 204, b"DELETE"),
)
POST, PATCH, DELETE = WRITES
CACHED = Route("GET", "/writers", 200, b"SELECT")
HEALTH = Route("GET", "/health", 200, b"SELECT")


@dataclass(frozen=True)
class Timed:
    response: httpx.Response
    seconds: float


class ProxiedApi:
    """The API behind the proxies, with one writer and the first page cached."""

    def __init__(
        self,
        worker: Worker,
        postgresql: FailingProxy,
        redis: FailingProxy,
        database: psycopg.Connection[Any],
        cache: redis_sync.Redis,
    ) -> None:
        self.worker = worker
        self.postgresql = postgresql
        self.redis = redis
        self.database = database
        self.cache = cache
        self.transport = LambdaTransport(FUNCTION_SECONDS)

    def start(self, session_options: str = "") -> None:
        """A new worker with its connections, one writer, and the first page cached."""
        self.fill()
        self.worker.restart(
            DATABASE_URL=f"{self.database_url()}&options={quote(session_options)}",
            REDIS_URL=f"redis://127.0.0.1:{self.redis.port}/0",
        )
        for route in (CACHED, HEALTH):
            assert self.call(route).response.status_code == route.status

    def fill(self) -> None:
        """One writer, and nothing cached."""
        self.database.execute(EMPTY)
        self.database.execute("INSERT INTO writers (name, email) VALUES ('Ada', 'ada@example.org')")
        empty(self.cache)

    def database_url(self, user: str = "postgres") -> str:
        return f"postgresql://{user}@127.0.0.1:{self.postgresql.port}/blog?sslmode=disable"

    def call(self, route: Route) -> Timed:
        request = httpx.Request(route.method, f"http://api.test{route.path}", json=route.body)
        request.headers["content-type"] = "application/json"
        started_at = perf_counter()
        response = self.transport.handle_request(request)
        return Timed(response, perf_counter() - started_at)

    def heal(self) -> None:
        self.postgresql.failure = self.redis.failure = Failure.NONE

    def end_backends(self) -> None:
        """End the worker's connections at PostgreSQL."""
        self.database.execute(
            "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity "
            "WHERE application_name = %s",
            [self.worker.service],
        )

    def writers(self) -> list[Any]:
        return self.database.execute("SELECT id, name, email FROM writers ORDER BY id").fetchall()


@pytest.fixture(autouse=True)
def _forgetful_health(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every report is new; `tests/meta/test_health_memory.py` tests remembered ones."""
    monkeypatch.setattr(health, "MEMORY_SECONDS", 0.0)


@pytest.fixture
def proxied(
    worker: Worker,
    services: Services,
    database: psycopg.Connection[Any],
    cache: redis_sync.Redis,
) -> Iterator[ProxiedApi]:
    with (
        FailingProxy(postgresql_socket(services)) as postgresql,
        FailingProxy(urlsplit(services.redis_url).path) as redis,
    ):
        yield ProxiedApi(worker, postgresql, redis, database, cache)
        worker.close()


def postgresql_socket(services: Services) -> str:
    (directory,) = parse_qs(urlsplit(services.database_url).query)["host"]
    return f"{unquote(directory)}/.s.PGSQL.5432"


def assert_in_time(row: Row[Any], timed: Timed) -> None:
    assert timed.seconds < (row.maximum_seconds or FUNCTION_SECONDS), timed.response.text


def assert_problem(timed: Timed, *codes: str) -> None:
    """A 503 of one of these types with a `Retry-After`, and nothing about the database."""
    response = timed.response
    assert response.status_code == 503, response.text
    assert response.headers["retry-after"] == "1"
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["type"] in [f"/problems#{code}" for code in codes]
    assert set(response.json()) == PROBLEM_MEMBERS
    assert not [word for word in SECRETS if word in response.text]
