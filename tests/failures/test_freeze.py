"""A worker continues when both servers have closed its connections while it was frozen."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import psycopg
import pytest
import redis as redis_sync

from local.services import Services
from tests.failures.conftest import CACHED, READS, WRITES, Route
from tests.failures.rows import Outcome, Row, rows
from tests.valkey import empty, until
from tests.worker_process import Response, WorkerProcess, running_worker

SERVICE = "blog-frozen"
POST, PATCH, _ = WRITES
NOTHING = Outcome("nothing")


@pytest.fixture
def worker(
    services: Services, emptied: None, cache: object, tmp_path: Path
) -> Iterator[WorkerProcess]:
    with running_worker(tmp_path / "worker.log", SERVICE=SERVICE) as running:
        yield running


def call(worker: WorkerProcess, route: Route) -> Response:
    response = worker.call(route.method, route.path, route.body)
    assert response.status == route.status, response
    return response


def freeze(worker: WorkerProcess) -> None:
    os.kill(worker.process.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, worker.process.pid, os.WSTOPPED | os.WNOWAIT)


def cut_connections(database: psycopg.Connection[Any], cache: redis_sync.Redis) -> None:
    ended = database.execute(
        "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE application_name = %s",
        [SERVICE],
    ).fetchall()
    assert ended == [(True,)]
    assert cache.client_kill_filter(_type="normal", skipme=True) >= 1


@rows(Row("frozen-read", CACHED, NOTHING, 2.0), Row("frozen-write", PATCH, NOTHING, 2.0))
def test_frozen(
    worker: WorkerProcess,
    database: psycopg.Connection[Any],
    cache: redis_sync.Redis,
    row: Row[Route],
) -> None:
    call(worker, POST)
    for turn in range(3):
        call(worker, CACHED)
        call(worker, READS[0])  # connects to PostgreSQL, too
        freeze(worker)
        cut_connections(database, cache)
        if turn == 1:  # Redis is asked, and has no page
            empty(cache)
        os.kill(worker.process.pid, signal.SIGCONT)
        started_at = perf_counter()
        call(worker, row.failure)

        assert row.maximum_seconds is not None
        assert perf_counter() - started_at < row.maximum_seconds
        (listed,) = call(worker, CACHED).body["data"]
        names = database.execute("SELECT name FROM writers").fetchall()
        assert names == [(listed["name"],)]


def test_a_worker_that_is_frozen_right_after_its_response_has_cleared(
    worker: WorkerProcess, cache: redis_sync.Redis, tmp_path: Path
) -> None:
    call(worker, POST)
    with running_worker(tmp_path / "other.log", SERVICE="blog-other") as other:
        call(other, CACHED)
        for name in ("first", "second", "third"):
            assert worker.call("PATCH", "/writers/1", {"name": name}).status == 200
            freeze(worker)
            until(lambda: not cache.exists("fences"))
            (listed,) = call(other, CACHED).body["data"]
            assert listed["name"] == name
            assert cache.exists("writers:1:10")
            os.kill(worker.process.pid, signal.SIGCONT)
