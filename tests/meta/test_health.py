"""GET /health: whether PostgreSQL and Redis response, within a bounded time."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import httpx
import pytest

from tests.conftest import Sandbox
from tests.valkey import ValkeyServer

BOUND_SECONDS = 2.5

NO_POSTGRESQL = "postgresql://nobody@127.0.0.1:1/blog"
NO_REDIS = "redis://127.0.0.1:1/0"


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield server.getsockname()[1]


def timed(api: httpx.Client) -> tuple[httpx.Response, float]:
    started_at = perf_counter()
    return api.get("/health"), perf_counter() - started_at


def test_it_is_ok_when_both_are_up(sandbox: Sandbox, api: httpx.Client) -> None:
    response = api.get("/health")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {"status": "ok", "postgresql": "up", "redis": "up"}


@pytest.mark.parametrize("reject", [ValkeyServer.demote, ValkeyServer.deny_writes])
def test_it_is_degraded_where_redis_rejects_writes(
    sandbox: Sandbox, api: httpx.Client, tmp_path: Path, reject: Callable[[ValkeyServer], None]
) -> None:
    with ValkeyServer(tmp_path / "valkey") as server:
        sandbox.restart(REDIS_URL=server.url)
        assert api.get("/health").json()["redis"] == "up"
        reject(server)
        response = api.get("/health")

    assert response.status_code == 200
    assert response.json() == {"status": "degraded", "postgresql": "up", "redis": "read-only"}


def test_it_leaves_nothing_in_redis(api: httpx.Client, cache: Any) -> None:
    api.get("/health")
    assert not [key for key in cache.scan_iter() if cache.pttl(key) < 0]


@pytest.mark.parametrize("redis_url", [NO_REDIS, None])
def test_it_is_degraded_without_redis(
    sandbox: Sandbox, api: httpx.Client, redis_url: str | None
) -> None:
    sandbox.restart(REDIS_URL=redis_url)
    response = api.get("/health")

    assert response.status_code == 200
    assert "retry-after" not in response.headers
    assert response.json() == {"status": "degraded", "postgresql": "up", "redis": "down"}


def test_it_is_down_without_postgresql(sandbox: Sandbox, api: httpx.Client) -> None:
    sandbox.restart(DATABASE_URL=NO_POSTGRESQL)
    response = api.get("/health")

    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"
    assert response.json() == {"status": "down", "postgresql": "down", "redis": "up"}


def test_it_is_down_without_both(sandbox: Sandbox, api: httpx.Client) -> None:
    sandbox.restart(DATABASE_URL=NO_POSTGRESQL, REDIS_URL=NO_REDIS)
    response = api.get("/health")

    assert response.status_code == 503
    assert response.json() == {"status": "down", "postgresql": "down", "redis": "down"}


def test_a_redis_that_does_not_respond_is_not_waited_for(
    sandbox: Sandbox, api: httpx.Client, silent_port: int
) -> None:
    sandbox.restart(REDIS_URL=f"redis://127.0.0.1:{silent_port}/0")
    response, seconds = timed(api)

    assert response.json()["status"] == "degraded"
    assert seconds < 1.0


def test_servers_that_stop_responding_are_waited_for_within_bounds(
    sandbox: Sandbox, api: httpx.Client, silent_port: int
) -> None:
    sandbox.restart(
        DATABASE_URL=f"postgresql://nobody@127.0.0.1:{silent_port}/blog",
        REDIS_URL=f"redis://127.0.0.1:{silent_port}/0",
    )
    response, seconds = timed(api)

    assert response.status_code == 503
    assert response.json() == {"status": "down", "postgresql": "down", "redis": "down"}
    assert seconds < BOUND_SECONDS


def test_it_reveals_nothing_of_the_servers(sandbox: Sandbox, api: httpx.Client) -> None:
    sandbox.restart(
        DATABASE_URL="postgresql://ada:s3cret@127.0.0.1:1/blog",
        REDIS_URL="redis://:s3cret@127.0.0.1:1/0",
    )
    text = api.get("/health").text
    for word in ("s3cret", "127.0.0.1", "refused", "psycopg"):
        assert word not in text
