"""A deadline that expires during a write, before and after its change."""

import asyncio
from contextlib import AbstractContextManager, nullcontext
from time import monotonic
from typing import Any, Literal

import httpx
import psycopg
import pytest
import redis

from shared import observability
from shared.cache.fences import Fences
from shared.cache.health import check_redis
from shared.database import Reader, Transaction, read
from shared.database.connection import worker_connection
from shared.database.driver import BoundedConnection
from tests.conftest import Worker
from tests.transactions import REQUEST, NothingInvalidated, statement_of, write

INSERT = "INSERT INTO writers (name, email) VALUES ('Ada', 'ada@example.org')"
LATE_SECONDS = 5.0
ACTIVE = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s AND state = 'active'"


class Late(NothingInvalidated):
    """Keeps a request from responding: from its statement on, or after its COMMIT."""

    def __init__(self, moment: Literal["ready", "committed"]) -> None:
        super().__init__()
        self.moment = moment

    async def ready(self, _scopes: object) -> None:
        await self._wait("ready")

    async def committed(self, _scopes: object) -> None:
        await self._wait("committed")

    async def _wait(self, moment: str) -> None:
        if moment == self.moment:
            await asyncio.sleep(LATE_SECONDS)


class Broken(NothingInvalidated):
    async def committed(self, _scopes: object) -> None:
        raise KeyError("a bug of the cache")


@pytest.mark.parametrize(
    ("invalidation", "expected", "rows"),
    [
        (Late("ready"), pytest.raises(TimeoutError), 0),
        (Late("committed"), nullcontext(), 1),
        (Broken(), nullcontext(), 1),
    ],
)
def test_a_failure_after_commit_does_not_change_the_response(
    worker: Worker,
    database: psycopg.Connection[Any],
    invalidation: NothingInvalidated,
    expected: AbstractContextManager[Any],
    rows: int,
) -> None:
    """Nor does a deadline after COMMIT; one before it fails the request, which changes nothing."""

    async def insert(block: Transaction) -> None:
        await block.execute(statement_of(INSERT))

    async def connect(reader: Reader) -> None:
        await reader.execute(statement_of("SELECT 1"))

    async def request() -> None:
        async with asyncio.timeout(0.3):
            await write(insert, invalidation)

    worker.run(read(REQUEST, connect))  # the time is for the write only
    with expected:
        worker.run(asyncio.wait_for(request(), 2.0))
    assert database.execute("SELECT count(*) FROM writers").fetchall() == [(rows,)]


def test_a_deadline_while_redis_sets_the_fence_withdraws_it_and_keeps_the_connection(
    worker: Worker, database: psycopg.Connection[Any], cache: redis.Redis
) -> None:
    """Redis responds after the deadline, but in the time that a rollback has."""

    async def insert(block: Transaction) -> None:
        await block.execute(statement_of(INSERT))

    async def request() -> None:
        async with asyncio.timeout(0.3):
            await write(insert, Fences(REQUEST))

    async def backend() -> int:
        async with worker_connection().acquire(REQUEST.record) as (_, driver):
            return driver.info.backend_pid

    worker.restart(REDIS_TIMEOUT_SECONDS="1")
    worker.run(check_redis())  # connects
    before = worker.run(backend())
    cache.client_pause(400)
    with pytest.raises(TimeoutError):
        worker.run(request())

    assert worker.run(backend()) == before
    assert database.execute("SELECT count(*) FROM writers").fetchall() == [(0,)]
    assert not cache.exists("fences")


def test_a_query_that_the_deadline_interrupts_is_stopped_at_the_server(
    worker: Worker, database: psycopg.Connection[Any]
) -> None:
    async def sleep(reader: Reader) -> None:
        await reader.execute(statement_of("SELECT pg_sleep(5)"))

    async def request() -> None:
        async with asyncio.timeout(0.3):
            await read(REQUEST, sleep)

    with pytest.raises(TimeoutError):
        worker.run(request())
    # The server hears of it beside the query, and may take a moment.
    stopped_by = monotonic() + 1.0
    while (active := database.execute(ACTIVE, [worker.service]).fetchall()) != [(0,)]:
        assert monotonic() < stopped_by, active


def test_the_workers_connection_is_bounded(worker: Worker) -> None:
    async def driver_connection() -> Any:
        async with worker_connection().acquire(REQUEST.record) as (connection, _):
            return (await connection.get_raw_connection()).driver_connection

    assert isinstance(worker.run(driver_connection()), BoundedConnection)


def test_a_log_line_that_cannot_be_written_changes_no_response(
    api: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(observability, "_print_metrics", fail)
    monkeypatch.setattr(observability, "_metrics", fail)
    created = api.post("/writers", json={"name": "Ada", "email": "ada@example.org"})
    assert created.status_code == 201
    assert api.get("/writers").json()["total"] == 1


@pytest.mark.parametrize("resource", ["writers", "articles"])
@pytest.mark.parametrize(("method", "item"), [("POST", ""), ("PUT", "/1"), ("PATCH", "/1")])
def test_a_response_that_cannot_be_made_is_not_committed(
    api: httpx.Client,
    database: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    item: str,
    resource: str,
) -> None:
    """Responses are made before COMMIT, so a 500 means that nothing was changed."""
    writer: dict[str, object] = {"name": "Ada", "email": "ada@example.org"}
    article = {"writer_id": 1, "title": "Notes", "content": "On the Analytical Engine."}
    bodies: dict[str, dict[str, object]] = {"writers": writer, "articles": article}
    for name, body in bodies.items():
        assert api.post(f"/{name}", json=body).status_code == 201
    before = database.execute("SELECT writers.*, articles.* FROM writers, articles").fetchall()

    def fail(*_: object, **__: object) -> None:
        raise RecursionError

    monkeypatch.setattr("shared.http.resource.json_response", fail)
    changed = {**bodies[resource], **({"email": "b@example.org"} if resource == "writers" else {})}
    assert api.request(method, f"/{resource}{item}", json=changed).status_code == 500
    assert (
        database.execute("SELECT writers.*, articles.* FROM writers, articles").fetchall() == before
    )
