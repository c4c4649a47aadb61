"""GET /health: whether PostgreSQL and Redis are up, within a bounded time."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import httpx
import psycopg
import pytest

from local.services import Services
from meta import health
from tests.conftest import Worker
from tests.valkey import ValkeyServer

MAXIMUM_SECONDS = 2.5

NO_POSTGRESQL = "postgresql://ada:s3cret@127.0.0.1:1/blog"
NO_REDIS = "redis://:s3cret@127.0.0.1:1/0"
SILENT_POSTGRESQL = "postgresql://ada:s3cret@127.0.0.1:{port}/blog"
SILENT_REDIS = "redis://:s3cret@127.0.0.1:{port}/0"


@pytest.fixture(autouse=True)
def _forgetful_health(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each report is a new one; `tests/meta/test_health_memory.py` is about those that are not."""
    monkeypatch.setattr(health, "MEMORY_SECONDS", 0.0)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that accepts connections and never responds."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield server.getsockname()[1]


def test_it_is_ok_when_both_are_up(worker: Worker, api: httpx.Client) -> None:
    response = api.get("/health")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {"status": "ok", "postgresql": "up", "redis": "up"}


@pytest.mark.parametrize("reject", [ValkeyServer.demote, ValkeyServer.deny_writes])
def test_it_is_degraded_where_redis_rejects_writes(
    worker: Worker, api: httpx.Client, tmp_path: Path, reject: Callable[[ValkeyServer], None]
) -> None:
    with ValkeyServer(tmp_path / "valkey") as server:
        worker.restart(REDIS_URL=server.url)
        assert api.get("/health").json()["redis"] == "up"
        reject(server)
        response = api.get("/health")

    assert response.status_code == 200
    assert response.json() == {"status": "degraded", "postgresql": "up", "redis": "read-only"}


def test_it_leaves_no_fence_and_no_page_in_redis(api: httpx.Client, cache: Any) -> None:
    api.get("/health")
    assert {key for key in cache.scan_iter() if cache.pttl(key) < 0} == {b"generations"}


def test_it_is_ok_in_an_api_that_has_no_redis(worker: Worker, api: httpx.Client) -> None:
    worker.restart(REDIS_URL=None)
    response = api.get("/health")
    assert response.status_code == 200
    assert response.json() == {"status": "ok", "postgresql": "up", "redis": "none"}


@pytest.mark.parametrize("postgresql_url", [None, NO_POSTGRESQL])
def test_a_database_that_pauses_is_not_asked(
    worker: Worker,
    api: httpx.Client,
    services: Services,
    database: psycopg.Connection[Any],
    postgresql_url: str | None,
) -> None:
    url = postgresql_url or services.database_url
    worker.restart(DATABASE_URL=url, DATABASE_PAUSES="true")
    response = api.get("/health")
    assert response.status_code == 200
    assert response.json() == {"status": "ok", "postgresql": "unchecked", "redis": "up"}
    connected = "SELECT 1 FROM pg_stat_activity WHERE application_name = %s"
    assert not database.execute(connected, [worker.service]).fetchall()


@pytest.mark.parametrize("redis_url", [NO_REDIS, SILENT_REDIS])
def test_it_is_degraded_without_redis(
    worker: Worker, api: httpx.Client, silent_port: int, redis_url: str
) -> None:
    worker.restart(REDIS_URL=redis_url.format(port=silent_port))
    started_at = perf_counter()
    response = api.get("/health")

    assert perf_counter() - started_at < 1.0
    assert response.status_code == 200
    assert "retry-after" not in response.headers
    assert response.json() == {"status": "degraded", "postgresql": "up", "redis": "down"}


@pytest.mark.parametrize(
    ("postgresql_url", "redis_url"),
    [(NO_POSTGRESQL, None), (NO_POSTGRESQL, NO_REDIS), (SILENT_POSTGRESQL, SILENT_REDIS)],
)
def test_it_is_down_without_postgresql(
    worker: Worker,
    api: httpx.Client,
    services: Services,
    silent_port: int,
    postgresql_url: str,
    redis_url: str | None,
) -> None:
    worker.restart(
        DATABASE_URL=postgresql_url.format(port=silent_port),
        REDIS_URL=(redis_url or services.redis_url).format(port=silent_port),
    )
    started_at = perf_counter()
    response = api.get("/health")

    assert perf_counter() - started_at < MAXIMUM_SECONDS
    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"
    redis = "down" if redis_url else "up"
    assert response.json() == {"status": "down", "postgresql": "down", "redis": redis}
    for word in ("s3cret", "127.0.0.1", "refused", "psycopg"):
        assert word not in response.text
