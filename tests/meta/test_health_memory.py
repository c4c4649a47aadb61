"""GET /health needs no token, so it asks the servers once a second, however often it is called."""

import time
from typing import Any

import httpx
import psycopg
import pytest
import redis

from meta import health
from tests.conftest import Worker


def statements(database: psycopg.Connection[Any], worker: Worker) -> Any:
    """When the worker's session began its latest statement."""
    return database.execute(
        "SELECT query_start FROM pg_stat_activity WHERE application_name = %s", [worker.service]
    ).fetchall()


def test_the_servers_are_asked_once_a_second(
    api: httpx.Client,
    database: psycopg.Connection[Any],
    cache: redis.Redis,
    worker: Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "MEMORY_SECONDS", 5.0)
    first = api.get("/health")
    asked = statements(database, worker)
    calls = cache.info("commandstats")["cmdstat_evalsha"]["calls"]
    for _ in range(5):
        assert api.get("/health").content == first.content
    assert statements(database, worker) == asked
    assert cache.info("commandstats")["cmdstat_evalsha"]["calls"] == calls


def test_a_report_is_forgotten_after_its_time(
    api: httpx.Client, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "MEMORY_SECONDS", 0.2)
    assert api.get("/health").json()["status"] == "ok"
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    assert api.get("/health").json()["redis"] == "up"
    worker.restart()
    assert api.get("/health").json()["redis"] == "down"
    time.sleep(0.2)
    assert api.get("/health").json()["redis"] == "down"
