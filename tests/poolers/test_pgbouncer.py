"""Workers share the few server connections of a real PgBouncer in transaction mode."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import psycopg
import pytest
import redis

from local.services import Services
from tests.failures.conftest import FUNCTION_SECONDS
from tests.in_process import client_of
from tests.poolers.conftest import StartPooler, StartWorkers
from tests.poolers.routes import take_the_tour
from tests.valkey import empty
from tests.worker_process import Response, WorkerProcess

WORKERS = 4
ROUNDS = 8
SERVER_CONNECTIONS = 2
KILL_EVERY_SECONDS = 0.05
WAIT_SECONDS = 10.0
# What PgBouncer itself sets, so that a client finds what it asked for when it connected.
SET_BY_PGBOUNCER = {
    "application_name",
    "client_encoding",
    "DateStyle",
    "TimeZone",
    "standard_conforming_strings",
}
SERVER_PIDS = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""


def server_pids(database: psycopg.Connection[Any], condition: str = "true") -> list[int]:
    """The connections at PostgreSQL but for `database` itself."""
    # The conditions are the tests' own and no input.
    rows = database.execute(f"{SERVER_PIDS} AND {condition}".encode()).fetchall()
    return [pid for (pid,) in rows]


def kill(database: psycopg.Connection[Any], pids: list[int]) -> None:
    database.execute("SELECT pg_terminate_backend(pid, 1000) FROM unnest(%s::int[]) pid", [pids])


@contextmanager
def repeating(step: Callable[[], None], every_seconds: float) -> Iterator[None]:
    """Calls `step` on another thread, again and again for the time of the block."""
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(every_seconds):
            step()

    with ThreadPoolExecutor(1) as pool:
        repeated = pool.submit(repeat)
        try:
            yield
        finally:
            ended.set()
            repeated.result()


@pytest.mark.usefixtures("pooled_url")
def test_every_route_works_through_one_server_connection(api: httpx.Client) -> None:
    take_the_tour(api)


def test_nothing_is_left_in_the_session(api: httpx.Client, pooled_url: str) -> None:
    take_the_tour(api)
    with psycopg.connect(pooled_url, autocommit=True, prepare_threshold=None) as session:
        rows = session.execute("SELECT name FROM pg_settings WHERE source = 'session'").fetchall()
        assert {name for (name,) in rows} <= SET_BY_PGBOUNCER
        for nothing in (
            "SELECT name FROM pg_prepared_statements WHERE name <> ''",
            "SELECT name FROM pg_cursors WHERE is_holdable",
            "SELECT objid FROM pg_locks WHERE locktype = 'advisory'",
            "SELECT pg_listening_channels()",
            "SELECT oid FROM pg_class WHERE relpersistence = 't'",
        ):
            assert session.execute(nothing).fetchall() == [], nothing


@pytest.mark.slow
def test_workers_share_the_server_connections_and_see_what_they_wrote(
    start_pooler: StartPooler,
    start_workers: StartWorkers,
    database: psycopg.Connection[Any],
    cache: object,
) -> None:
    of_earlier_tests = set(server_pids(database))  # PostgreSQL may be about to close some
    workers = start_workers(WORKERS, start_pooler(SERVER_CONNECTIONS))
    most = 0

    def count_connections() -> None:
        nonlocal most
        most = max(most, len(set(server_pids(database)) - of_earlier_tests))

    def work(worker: WorkerProcess) -> None:
        for turn in range(ROUNDS):
            email = f"{worker.process.pid}.{turn}@example.org"
            writer = worker.call("POST", "/writers", {"name": "Ada", "email": email})
            assert writer.status == 201
            path = f"/writers/{writer.body['id']}"
            assert worker.call("PATCH", path, {"name": email}).body["name"] == email
            assert worker.call("GET", path).body["name"] == email
            article = {"writer_id": writer.body["id"], "title": "T", "content": "C"}
            assert worker.call("POST", "/articles", article).status == 201
            listed = worker.call("GET", f"/articles?writer_id={article['writer_id']}")
            assert listed.body["total"] == 1
            found = worker.call("GET", f"/writers/search?name={worker.process.pid}.{turn}@")
            assert [one["email"] for one in found.body["data"]] == [email]
            assert worker.call("GET", "/writers").body["total"] >= turn + 1

    with repeating(count_connections, 0.02), ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(work, workers))
    assert 1 <= most <= SERVER_CONNECTIONS
    totals = {worker.call("GET", "/writers").body["total"] for worker in workers}
    assert totals == {WORKERS * ROUNDS}


@pytest.mark.slow
def test_a_key_creates_once_whatever_connections_the_retries_get(
    start_pooler: StartPooler,
    start_workers: StartWorkers,
    database: psycopg.Connection[Any],
    cache: object,
) -> None:
    workers = start_workers(WORKERS, start_pooler(SERVER_CONNECTIONS))

    def create(worker: WorkerProcess, turn: int) -> Response:
        body = {"name": "Ada", "email": f"ada.{turn}@example.org"}
        return worker.call("POST", "/writers", body, key=f"key-{turn}")

    for turn in range(ROUNDS):
        with ThreadPoolExecutor(WORKERS) as pool:
            responses = list(pool.map(create, workers, [turn] * WORKERS))
        assert {response.status for response in responses} <= {201, 409}
        # The key is free again, on whatever connection it was locked.
        bodies = [create(worker, turn).body for worker in workers]
        bodies += [response.body for response in responses if response.status == 201]
        assert all(body == bodies[0] for body in bodies)
    assert database.execute("SELECT count(*) FROM writers").fetchone() == (ROUNDS,)


@pytest.mark.usefixtures("pooled_url")
def test_idle_server_connections_that_died_fail_no_request(
    api: httpx.Client, database: psycopg.Connection[Any]
) -> None:
    assert api.get("/writers?skip=1").status_code == 200
    for method, path, status in (
        ("GET", "/writers?skip=1", 200),
        ("POST", "/writers", 201),
        ("GET", "/writers/1", 200),
    ):
        kill(database, server_pids(database))
        body = {"name": "Ada", "email": "ada@example.org"} if method == "POST" else None
        assert api.request(method, path, json=body).status_code == status


@pytest.mark.usefixtures("pooled_url")
def test_a_server_connection_that_dies_in_a_write_means_a_retry_or_a_503(
    api: httpx.Client, services: Services, database: psycopg.Connection[Any]
) -> None:
    database.execute("INSERT INTO writers (name, email) VALUES ('Ada', 'ada@example.org')")
    with psycopg.connect(services.database_url) as other:
        other.execute("SELECT 1 FROM writers FOR UPDATE")

        def kill_the_waiting() -> None:
            deadline = time.monotonic() + WAIT_SECONDS
            while not (waiting := server_pids(database, "wait_event_type = 'Lock'")):
                assert time.monotonic() < deadline
                time.sleep(0.01)
            kill(database, waiting)
            other.rollback()

        with ThreadPoolExecutor(1) as pool:
            killed = pool.submit(kill_the_waiting)
            response = api.patch("/writers/1", json={"name": "Countess"})
            killed.result()
    (name,) = database.execute("SELECT name FROM writers").fetchall()[0]
    assert (response.status_code, name) in [(200, "Countess"), (503, "Ada")]
    assert api.patch("/writers/1", json={"name": "Lovelace"}).json()["name"] == "Lovelace"


@pytest.mark.slow
def test_while_server_connections_are_killed_there_are_503s_and_no_500(
    start_pooler: StartPooler,
    start_workers: StartWorkers,
    database: psycopg.Connection[Any],
    cache: object,
) -> None:
    workers = start_workers(WORKERS, start_pooler(SERVER_CONNECTIONS))
    killed = 0

    def kill_all() -> None:
        nonlocal killed
        pids = server_pids(database)
        kill(database, pids)
        killed += len(pids)

    def work(worker: WorkerProcess) -> list[Response]:
        responses = []
        for turn in range(5 * ROUNDS):
            body = {"name": "Ada", "email": f"{worker.process.pid}.{turn}@example.org"}
            responses.append(worker.call("POST", "/writers", body))
            reading = worker.call("GET", "/writers?skip=1&limit=3")
            assert reading.status in (200, 503), reading
        return responses

    with repeating(kill_all, KILL_EVERY_SECONDS), ThreadPoolExecutor(WORKERS) as pool:
        creations = [response for responses in pool.map(work, workers) for response in responses]
    assert killed > 0
    assert {response.status for response in creations} <= {201, 503}
    created = [response for response in creations if response.status == 201]
    in_doubt = [
        response
        for response in creations
        if response.status == 503 and response.body["type"] == "/problems#outcome-unknown"
    ]
    row = database.execute("SELECT count(*) FROM writers").fetchone()
    assert row is not None
    assert len(created) <= row[0] <= len(created) + len(in_doubt)
    for worker in workers:
        listed = worker.call("GET", "/writers")
        assert listed.status == 200
        assert listed.body["total"] == row[0]


def test_a_request_that_gets_no_server_connection_is_a_503_in_time(
    pooled_url: str, database: psycopg.Connection[Any], cache: object
) -> None:
    with (
        client_of(seconds=FUNCTION_SECONDS) as api,
        psycopg.connect(pooled_url, prepare_threshold=None) as other,
    ):
        assert api.get("/writers?skip=1").status_code == 200
        other.execute("SELECT 1")  # in a transaction, and so on the only server connection
        body = {"name": "Ada", "email": "ada@example.org"}
        for response in (api.get("/writers/1"), api.post("/writers", json=body)):
            assert response.status_code == 503
            assert response.json()["type"] == "/problems#deadline-exceeded"
        other.rollback()
        assert api.post("/writers", json=body).status_code == 201
        assert database.execute("SELECT count(*) FROM writers").fetchone() == (1,)


def test_a_read_behind_a_pooler_notices_that_the_server_takes_no_writes(
    api: httpx.Client, pooled_url: str, database: psycopg.Connection[Any], cache: redis.Redis
) -> None:
    """The pooler tells nobody that it has another server: each read takes the question along."""
    created = api.post("/writers", json={"name": "Ada", "email": "ada@example.org"})
    assert created.status_code == 201
    assert api.get("/writers").json()["total"] == 1
    empty(cache)
    database.execute("ALTER DATABASE blog SET default_transaction_read_only = on")
    try:
        database.execute(
            "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND datname = 'blog'"
        )
        for path in ("/writers", "/writers/1", "/writers/search?name=ada"):
            assert api.get(path).status_code == 503, path
        assert api.patch("/writers/1", json={"name": "B"}).status_code == 503
        assert not cache.exists("writers:1:10")
        assert api.get("/health").json()["postgresql"] == "read-only"
    finally:
        database.execute("ALTER DATABASE blog RESET default_transaction_read_only")
        database.execute(
            "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND datname = 'blog'"
        )
    assert api.get("/writers").json()["total"] == 1
    assert api.patch("/writers/1", json={"name": "B"}).status_code == 200
