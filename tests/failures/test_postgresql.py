"""PostgreSQL is unavailable, stops responding or ends connections, at each step of a request."""

import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from local.services import postgresql, running_services
from migrations.handler import handler as migrate
from shared.database import connection as blog_database
from tests.example.models import create_tables
from tests.failures.conftest import (
    CACHED,
    HEALTH,
    READS,
    WRITES,
    ProxiedApi,
    Route,
    assert_in_time,
    assert_problem,
)
from tests.failures.proxy import Change, Failure
from tests.failures.rows import Outcome, Row, each, rows
from tests.in_process import LambdaTransport

POST, PATCH, _ = WRITES
ENDED = (Failure.RESET, Failure.HALF_CLOSE)
SILENT = (Failure.BLACKHOLE, Failure.DRIP)

UNAVAILABLE = Outcome(
    "cached pages; for the rest 503 `database-unavailable`, nothing changed",
    ("database-unavailable",),
)
LATE = Outcome(
    "cached pages; for the rest 503 `deadline-exceeded`, nothing changed", ("deadline-exceeded",)
)
LATE_OR_UNAVAILABLE = Outcome(
    "cached pages; for the rest 503, nothing changed",
    ("database-unavailable", "deadline-exceeded"),
)
SLOW = Outcome("the response, 1 s later for each round trip")
RETRIED = Outcome("nothing: retried on a fresh connection, written once")
UNKNOWN = Outcome("503 `outcome-unknown`, never retried", ("outcome-unknown",))
SILENT_REPLACED = Outcome("nothing: the silent connection is replaced")
DEAD_REPLACED = Outcome("nothing: the dead connection is replaced")
RESTARTING = Outcome(
    "503 `database-unavailable` until it has restarted, then nothing", ("database-unavailable",)
)
REJECTED = Outcome("503 `database-unavailable`, nothing changed", ("database-unavailable",))

DOWN = (
    *each("postgresql-unavailable", (Failure.REFUSE, *ENDED), UNAVAILABLE, 1.0),
    *each("postgresql-unavailable", SILENT, LATE),
)
COMMIT = b"COMMIT\0"
"""The statement, not the word in READ COMMITTED."""
ABSENT = Route("PATCH", "/writers/4711", 404, b"UPDATE", {"name": "Unknown"})
SERIALIZATION_FAILURE = """
CREATE FUNCTION fail_at_commit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'psycopg SQL' USING ERRCODE = 'serialization_failure'; END $$;
CREATE CONSTRAINT TRIGGER failing_commit AFTER UPDATE ON writers DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION fail_at_commit()
"""


class OwnPostgresql:
    """A PostgreSQL for one test, which may stop it."""

    def __init__(self, directory: Path, url: str) -> None:
        self.directory = directory
        self.url = url
        self.started: list[subprocess.Popen[bytes]] = []

    def stop(self) -> None:
        postgresql.stop(self.directory)

    def start(self) -> None:
        started = postgresql.start(self.directory, ephemeral=True)
        assert started
        self.started.append(started)


@pytest.fixture
def own_postgresql(tmp_path: Path) -> Iterator[OwnPostgresql]:
    with running_services(tmp_path.resolve(), ephemeral=True) as services:
        own = OwnPostgresql(tmp_path.resolve(), services.database_url)
        yield own
    for server in own.started:
        server.wait()


def assert_works_again(proxied: ProxiedApi, route: Route) -> None:
    """The next request works on any connection, and the list shows the database's rows."""
    proxied.heal()
    assert proxied.call(route).response.status_code == route.status
    listed = proxied.call(CACHED).response.json()["data"]
    assert [
        (writer["id"], writer["name"], writer["email"]) for writer in listed
    ] == proxied.writers()


def assert_unavailable(proxied: ProxiedApi, row: Row[Any], route: Route) -> None:
    before = proxied.writers()
    timed = proxied.call(route)
    assert_problem(timed, *row.outcome.problems)
    assert_in_time(row, timed)
    assert proxied.writers() == before


@pytest.mark.slow
@rows(*DOWN)
def test_unavailable(proxied: ProxiedApi, row: Row[Failure]) -> None:
    for route in (*READS, *WRITES):
        proxied.start()
        proxied.postgresql.failure = row.failure
        assert proxied.call(CACHED).response.status_code == CACHED.status
        assert_unavailable(proxied, row, route)
        assert_works_again(proxied, route)


@rows(*DOWN)
def test_health_is_503_while_it_is_unavailable(proxied: ProxiedApi, row: Row[Failure]) -> None:
    proxied.start()
    proxied.postgresql.failure = row.failure
    timed = proxied.call(HEALTH)

    assert timed.response.status_code == 503
    assert timed.response.headers["retry-after"] == "1"
    assert_in_time(row, timed)
    assert_works_again(proxied, HEALTH)


@pytest.mark.slow
@rows(Row("postgresql-slow", Failure.LATENCY, SLOW, 5.0))
def test_slow(proxied: ProxiedApi, row: Row[Failure]) -> None:
    proxied.start()
    proxied.transport = LambdaTransport()
    proxied.postgresql.failure = row.failure
    for route in (READS[0], PATCH):
        timed = proxied.call(route)
        assert timed.response.status_code == route.status
        assert_in_time(row, timed)


@rows(*each("postgresql-new-connection", SILENT, LATE_OR_UNAVAILABLE))
def test_new_connection(proxied: ProxiedApi, row: Row[Failure]) -> None:
    for route in (READS[0], POST):
        proxied.start()
        proxied.worker.restart()
        proxied.postgresql.failure = row.failure
        assert proxied.call(CACHED).response.status_code == CACHED.status
        assert_unavailable(proxied, row, route)
        assert_works_again(proxied, route)


@pytest.mark.slow
@rows(
    *each("postgresql-mid-query", (Failure.REFUSE, *ENDED), UNAVAILABLE, 1.0),
    Row("postgresql-mid-query-blackhole", Failure.BLACKHOLE, LATE),
)
def test_mid_query(proxied: ProxiedApi, row: Row[Failure]) -> None:
    for route in (*READS, *WRITES):
        proxied.start()
        proxied.postgresql.when_client_sends(route.statement, row.failure)
        assert_unavailable(proxied, row, route)
        assert_works_again(proxied, route)


@rows(*each("postgresql-connection-lost", ENDED, RETRIED, 1.0))
def test_a_connection_lost_mid_query(proxied: ProxiedApi, row: Row[Failure]) -> None:
    for route in (*READS, *WRITES):
        proxied.start()
        proxied.postgresql.when_client_sends(route.statement, row.failure, once=True)
        timed = proxied.call(route)

        assert timed.response.status_code == route.status
        assert_in_time(row, timed)
        assert_works_again(proxied, READS[0])


@rows(
    *each("postgresql-commit-lost", ENDED, UNKNOWN, 1.0),
    Row("postgresql-commit-lost-blackhole", Failure.BLACKHOLE, UNKNOWN),
)
def test_commit_lost(proxied: ProxiedApi, row: Row[Failure]) -> None:
    for route in WRITES:
        proxied.start()
        before = proxied.writers()
        proxied.postgresql.when_client_sends(COMMIT, row.failure, once=True)
        assert_outcome_unknown(proxied, row, route)
        assert proxied.writers() == before
        assert_works_again(proxied, route)


@rows(
    *each("postgresql-commit-response-lost", ENDED, UNKNOWN, 1.0),
    Row("postgresql-commit-response-lost-blackhole", Failure.BLACKHOLE, UNKNOWN),
)
def test_commit_response_lost(proxied: ProxiedApi, row: Row[Failure]) -> None:
    for route in WRITES:
        proxied.start()
        before = proxied.writers()
        proxied.postgresql.when_client_sends(COMMIT, row.failure, responded=True, once=True)
        assert_outcome_unknown(proxied, row, route)
        assert proxied.writers() != before
        assert_works_again(proxied, READS[0])


@rows(
    Row("postgresql-commit-in-doubt-connection-failure", "08006", UNKNOWN, 1.0),
    Row("postgresql-commit-in-doubt-transaction-resolution-unknown", "08007", UNKNOWN, 1.0),
    Row("postgresql-commit-in-doubt-statement-completion-unknown", "40003", UNKNOWN, 1.0),
    Row("postgresql-commit-in-doubt-shutdown", "57P01", UNKNOWN, 1.0),
)
def test_commit_in_doubt(proxied: ProxiedApi, row: Row[str]) -> None:
    """As of a pooler that lost its server, and keeps its client's connection."""
    assert_committed_and_unknown(proxied, row, COMPLETED)


@rows(
    Row("postgresql-commit-then-ended-shutdown", "57P01", UNKNOWN, 1.0),
    Row("postgresql-commit-then-ended-connection-failure", "08P01", UNKNOWN, 1.0),
)
def test_commit_then_ended(proxied: ProxiedApi, row: Row[str]) -> None:
    """As of a server that is ended after COMMIT, before it is ready for more."""
    assert_committed_and_unknown(proxied, row, READY)


def assert_committed_and_unknown(proxied: ProxiedApi, row: Row[str], message: bytes) -> None:
    """An error replaces this message, after a COMMIT that the server has executed."""
    proxied.start()
    before = proxied.writers()
    server = proxied.postgresql
    error = in_place_of(message, row.failure)
    server.call_when_client_sends(COMMIT, lambda: server.garble(1, error))
    assert_outcome_unknown(proxied, row, PATCH)
    assert server.has_garbled
    assert proxied.writers() != before
    assert_works_again(proxied, READS[0])


READY = struct.pack("!cI", b"Z", 5) + b"I"
COMPLETED = struct.pack("!cI", b"C", 4 + len(COMMIT)) + COMMIT


def in_place_of(message: bytes, state: str) -> Change:
    """Replaces a message by an error with this SQLSTATE."""
    fields = f"SERROR\0VERROR\0C{state}\0Mpsycopg SQL\0\0".encode()
    error = struct.pack("!cI", b"E", 4 + len(fields)) + fields

    def change(response: bytes) -> bytes:
        assert message in response
        return response.replace(message, error)

    return change


def assert_outcome_unknown(proxied: ProxiedApi, row: Row[Any], route: Route) -> None:
    connections = proxied.postgresql.accepted
    timed = proxied.call(route)
    assert_problem(timed, *row.outcome.problems)
    assert_in_time(row, timed)
    # psycopg may have asked on one more connection to cancel; a retry would be seen below it.
    assert proxied.postgresql.accepted <= connections + 1
    # COMMIT may yet come through, so no reader may fill a page before it no longer can.
    fences: Any = proxied.cache.zrange("fences", 0, -1)
    assert [member.partition(b"|")[0] for member in fences].count(b"writers") == 1


@rows(Row("postgresql-rollback", Failure.BLACKHOLE, SILENT_REPLACED, 1.0))
def test_rollback(proxied: ProxiedApi, row: Row[Failure]) -> None:
    proxied.start()
    proxied.postgresql.when_client_sends(b"ROLLBACK", row.failure)
    timed = proxied.call(ABSENT)
    assert timed.response.status_code == ABSENT.status
    assert_in_time(row, timed)
    assert_works_again(proxied, ABSENT)


@rows(Row("postgresql-idle", Failure.BLACKHOLE, DEAD_REPLACED, 2.0))
def test_idle(
    proxied: ProxiedApi,
    row: Row[Any],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(blog_database, "PING_AFTER_SECONDS", 0.0)
    proxied.transport = LambdaTransport()
    for route in (READS[0], PATCH):
        proxied.start()
        proxied.postgresql.failure = row.failure
        proxied.heal()
        timed = proxied.call(route)

        assert timed.response.status_code == route.status
        assert_in_time(row, timed)
        assert "database error" not in capfd.readouterr().out  # noticed before the statement


@rows(Row("postgresql-terminated-mid-query", None, RETRIED, 1.0))
def test_terminated_mid_query(proxied: ProxiedApi, row: Row[None]) -> None:
    for route in (READS[0], *WRITES):
        proxied.start()
        proxied.postgresql.call_when_client_sends(route.statement, proxied.end_backends)
        timed = proxied.call(route)

        assert timed.response.status_code == route.status
        assert_in_time(row, timed)
        assert_works_again(proxied, READS[0])


@rows(Row("postgresql-terminated-at-commit", None, UNKNOWN, 1.0))
def test_terminated_at_commit(proxied: ProxiedApi, row: Row[None]) -> None:
    for route in WRITES:
        proxied.start()
        before = proxied.writers()
        proxied.postgresql.call_when_client_sends(COMMIT, proxied.end_backends)
        assert_outcome_unknown(proxied, row, route)
        assert proxied.writers() == before
        assert_works_again(proxied, route)


@rows(Row("postgresql-too-many-connections", None, REJECTED, 1.0))
def test_too_many_connections(proxied: ProxiedApi, row: Row[None]) -> None:
    proxied.start()
    proxied.database.execute("ALTER DATABASE blog CONNECTION LIMIT 0")
    proxied.database.execute("CREATE ROLE narrow LOGIN IN ROLE pg_read_all_data")
    try:
        proxied.worker.restart(DATABASE_URL=proxied.database_url("narrow"))
        for route in (READS[0], POST):
            assert_unavailable(proxied, row, route)
        proxied.database.execute("ALTER DATABASE blog CONNECTION LIMIT -1")
        assert_works_again(proxied, READS[0])
    finally:
        proxied.worker.close()
        proxied.database.execute("ALTER DATABASE blog CONNECTION LIMIT -1")
        proxied.database.execute("DROP ROLE narrow")


@rows(Row("postgresql-unknown-database", None, REJECTED, 1.0))
def test_unknown_database(proxied: ProxiedApi, row: Row[None]) -> None:
    proxied.start()
    proxied.worker.restart(DATABASE_URL=proxied.database_url().replace("/blog?", "/nowhere?"))
    for route in (READS[0], PATCH):
        assert_unavailable(proxied, row, route)


@rows(Row("postgresql-restart", None, RESTARTING, 1.0))
def test_restart(proxied: ProxiedApi, row: Row[None], own_postgresql: OwnPostgresql) -> None:
    proxied.worker.restart(DATABASE_URL=own_postgresql.url)
    migrate({}, None)
    create_tables()
    assert proxied.call(POST).response.status_code == POST.status
    for first, second in ((READS[0], PATCH), (PATCH, READS[0])):
        own_postgresql.stop()
        timed = proxied.call(first)
        assert_problem(timed, *row.outcome.problems)
        assert_in_time(row, timed)
        own_postgresql.start()
        for route in (second, first):
            assert proxied.call(route).response.status_code == route.status
        own_postgresql.stop()
        own_postgresql.start()
        assert proxied.call(second).response.status_code == second.status
    proxied.worker.close()


@contextmanager
def row_locked(proxied: ProxiedApi) -> Iterator[None]:
    with proxied.database.transaction():
        proxied.database.execute("SELECT * FROM writers FOR UPDATE")
        yield


@contextmanager
def failing_at_commit(proxied: ProxiedApi) -> Iterator[None]:
    proxied.database.execute(SERIALIZATION_FAILURE)
    yield
    proxied.database.execute("DROP FUNCTION fail_at_commit CASCADE")


@contextmanager
def read_only(proxied: ProxiedApi) -> Iterator[None]:
    """As after a failover: the worker is connected to a server that is no longer the primary."""
    proxied.database.execute("ALTER DATABASE blog SET default_transaction_read_only = on")
    proxied.end_backends()
    yield
    proxied.database.execute("ALTER DATABASE blog RESET default_transaction_read_only")
    proxied.end_backends()


@dataclass(frozen=True)
class Rejection:
    """PostgreSQL rejects writes during `during`, in sessions with these options."""

    during: Callable[[ProxiedApi], AbstractContextManager[None]]
    session_options: str = ""


REJECTIONS = {
    "statement-timeout": Rejection(row_locked, "-c statement_timeout=100"),
    "lock-timeout": Rejection(row_locked, "-c lock_timeout=100"),
    "transaction-timeout": Rejection(row_locked, "-c transaction_timeout=100"),
    "read-only": Rejection(read_only),
    "serialization-failure": Rejection(failing_at_commit),
}


@rows(
    *(
        Row(f"postgresql-rejects-{what}", rejection, REJECTED, 1.0)
        for what, rejection in REJECTIONS.items()
    )
)
def test_rejects(proxied: ProxiedApi, row: Row[Rejection]) -> None:
    proxied.start(row.failure.session_options)
    with row.failure.during(proxied):
        timed = proxied.call(PATCH)
    assert_problem(timed, *row.outcome.problems)
    assert_in_time(row, timed)
    assert_works_again(proxied, PATCH)
