"""PostgreSQL goes away, falls silent or breaks off, at each moment of a request."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from blog.database import connection as blog_database
from local.services import postgresql, running_services
from migrations.handler import handler as migrate
from tests.faults.conftest import (
    CACHED,
    HEALTH,
    READS,
    WRITES,
    FaultyApi,
    Route,
    assert_in_time,
    assert_problem,
)
from tests.faults.proxy import Fault
from tests.faults.rows import Row, rows
from tests.in_process import LambdaTransport

UNAVAILABLE = ("database-unavailable", "deadline-exceeded")
POST, PATCH, _ = WRITES
COMMIT = b"COMMIT\0"
"""Not the one of READ COMMITTED."""
ABSENT = Route("PATCH", "/users/4711", 404, b"UPDATE", {"name": "Nobody"})
SERIALIZATION_FAILURE = """
CREATE FUNCTION fail_at_commit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'psycopg SQL' USING ERRCODE = 'serialization_failure'; END $$;
CREATE CONSTRAINT TRIGGER failing_commit AFTER UPDATE ON users DEFERRABLE INITIALLY DEFERRED
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


def fault_of(row: Row) -> Fault:
    return next(fault for fault in Fault if row.name.endswith(f"-{fault}"))


def codes_of(row: Row) -> list[str]:
    """The types of problems that the row names, or all that it may mean."""
    named = [code for code in UNAVAILABLE if f"`{code}`" in row.client_sees]
    return named or list(UNAVAILABLE)


def assert_works_again(faulty: FaultyApi, route: Route) -> None:
    """The next request, on whatever connection, and the list tells what is in the database."""
    faulty.heal()
    assert faulty.call(route).answer.status_code == route.status
    listed = faulty.call(CACHED).answer.json()["data"]
    assert [(user["id"], user["name"], user["email"]) for user in listed] == faulty.users()


def assert_unavailable(faulty: FaultyApi, row: Row, route: Route) -> None:
    before = faulty.users()
    timed = faulty.call(route)
    assert_problem(timed, *codes_of(row))
    assert_in_time(row, timed)
    assert faulty.users() == before


@pytest.mark.slow
@rows("postgresql-away")
def test_away(faulty: FaultyApi, row: Row) -> None:
    for route in (*READS, *WRITES):
        faulty.start()
        faulty.postgresql.fault = fault_of(row)
        assert faulty.call(CACHED).answer.status_code == CACHED.status
        assert_unavailable(faulty, row, route)
        assert_works_again(faulty, route)


@rows("postgresql-away")
def test_health_is_503_while_it_is_away(faulty: FaultyApi, row: Row) -> None:
    faulty.start()
    faulty.postgresql.fault = fault_of(row)
    timed = faulty.call(HEALTH)

    assert timed.answer.status_code == 503
    assert timed.answer.headers["retry-after"] == "1"
    assert_in_time(row, timed)
    assert_works_again(faulty, HEALTH)


@pytest.mark.slow
@rows("postgresql-slow")
def test_slow(faulty: FaultyApi, row: Row) -> None:
    faulty.start()
    faulty.transport = LambdaTransport()
    faulty.postgresql.fault = fault_of(row)
    for route in (READS[0], PATCH):
        timed = faulty.call(route)
        assert timed.answer.status_code == route.status
        assert_in_time(row, timed)


@rows("postgresql-new-connection")
def test_new_connection(faulty: FaultyApi, row: Row) -> None:
    for route in (READS[0], POST):
        faulty.start()
        faulty.sandbox.restart()
        faulty.postgresql.fault = fault_of(row)
        assert faulty.call(CACHED).answer.status_code == CACHED.status
        assert_unavailable(faulty, row, route)
        assert_works_again(faulty, route)


@pytest.mark.slow
@rows("postgresql-mid-query")
def test_mid_query(faulty: FaultyApi, row: Row) -> None:
    for route in (*READS, *WRITES):
        faulty.start()
        faulty.postgresql.when_client_sends(route.statement, fault_of(row))
        assert_unavailable(faulty, row, route)
        assert_works_again(faulty, route)


@rows("postgresql-connection-lost")
def test_a_connection_lost_mid_query(faulty: FaultyApi, row: Row) -> None:
    for route in (*READS, *WRITES):
        faulty.start()
        faulty.postgresql.when_client_sends(route.statement, fault_of(row), once=True)
        timed = faulty.call(route)

        assert timed.answer.status_code == route.status
        assert_in_time(row, timed)
        assert_works_again(faulty, READS[0])


@rows("postgresql-commit-lost")
def test_commit_lost(faulty: FaultyApi, row: Row) -> None:
    for route in WRITES:
        faulty.start()
        before = faulty.users()
        faulty.postgresql.when_client_sends(COMMIT, fault_of(row), once=True)
        assert_outcome_unknown(faulty, row, route)
        assert faulty.users() == before
        assert_works_again(faulty, route)


@rows("postgresql-commit-answer-lost")
def test_commit_answer_lost(faulty: FaultyApi, row: Row) -> None:
    for route in WRITES:
        faulty.start()
        before = faulty.users()
        faulty.postgresql.when_client_sends(COMMIT, fault_of(row), answered=True, once=True)
        assert_outcome_unknown(faulty, row, route)
        assert faulty.users() != before
        assert_works_again(faulty, READS[0])


def assert_outcome_unknown(faulty: FaultyApi, row: Row, route: Route) -> None:
    connections = faulty.postgresql.accepted
    timed = faulty.call(route)
    assert_problem(timed, "outcome-unknown")
    assert_in_time(row, timed)
    # psycopg may have asked on one more connection to cancel; a repetition would be seen below it.
    assert faulty.postgresql.accepted <= connections + 1
    # COMMIT may yet come through, so no reader may fill a page before it no longer can.
    assert faulty.cache.zcard("users:fence") == 1


@rows("postgresql-rollback")
def test_rollback(faulty: FaultyApi, row: Row) -> None:
    faulty.start()
    faulty.postgresql.when_client_sends(b"ROLLBACK", fault_of(row))
    timed = faulty.call(ABSENT)
    assert timed.answer.status_code == ABSENT.status
    assert_in_time(row, timed)
    assert_works_again(faulty, ABSENT)


@rows("postgresql-rested")
def test_rested(faulty: FaultyApi, row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blog_database, "PING_AFTER_SECONDS", 0.0)
    faulty.transport = LambdaTransport()
    for route in (READS[0], PATCH):
        faulty.start()
        faulty.postgresql.fault = fault_of(row)
        faulty.heal()
        timed = faulty.call(route)

        assert timed.answer.status_code == route.status
        assert_in_time(row, timed)


@rows("postgresql-terminated-mid-query")
def test_terminated_mid_query(faulty: FaultyApi, row: Row) -> None:
    for route in (READS[0], *WRITES):
        faulty.start()
        faulty.postgresql.call_when_client_sends(route.statement, faulty.end_backends)
        timed = faulty.call(route)

        assert timed.answer.status_code == route.status
        assert_in_time(row, timed)
        assert_works_again(faulty, READS[0])


@rows("postgresql-terminated-at-commit")
def test_terminated_at_commit(faulty: FaultyApi, row: Row) -> None:
    for route in WRITES:
        faulty.start()
        before = faulty.users()
        faulty.postgresql.call_when_client_sends(COMMIT, faulty.end_backends)
        assert_outcome_unknown(faulty, row, route)
        assert faulty.users() == before
        assert_works_again(faulty, route)


@rows("postgresql-too-many-connections")
def test_too_many_connections(faulty: FaultyApi, row: Row) -> None:
    faulty.start()
    faulty.database.execute("ALTER DATABASE blog CONNECTION LIMIT 0")
    faulty.database.execute("CREATE ROLE narrow LOGIN IN ROLE pg_read_all_data")
    try:
        faulty.sandbox.restart(DATABASE_URL=faulty.database_url("narrow"))
        for route in (READS[0], POST):
            assert_unavailable(faulty, row, route)
        faulty.database.execute("ALTER DATABASE blog CONNECTION LIMIT -1")
        assert_works_again(faulty, READS[0])
    finally:
        faulty.sandbox.close()
        faulty.database.execute("ALTER DATABASE blog CONNECTION LIMIT -1")
        faulty.database.execute("DROP ROLE narrow")


@rows("postgresql-restart")
def test_restart(faulty: FaultyApi, row: Row, own_postgresql: OwnPostgresql) -> None:
    faulty.sandbox.restart(DATABASE_URL=own_postgresql.url)
    migrate({}, None)
    assert faulty.call(POST).answer.status_code == POST.status
    for first, second in ((READS[0], PATCH), (PATCH, READS[0])):
        own_postgresql.stop()
        timed = faulty.call(first)
        assert_problem(timed, "database-unavailable")
        assert_in_time(row, timed)
        own_postgresql.start()
        for route in (second, first):
            assert faulty.call(route).answer.status_code == route.status
        own_postgresql.stop()
        own_postgresql.start()
        assert faulty.call(second).answer.status_code == second.status
    faulty.sandbox.close()


@contextmanager
def row_locked(faulty: FaultyApi) -> Iterator[None]:
    with faulty.database.transaction():
        faulty.database.execute("SELECT * FROM users FOR UPDATE")
        yield


@contextmanager
def failing_at_commit(faulty: FaultyApi) -> Iterator[None]:
    faulty.database.execute(SERIALIZATION_FAILURE)
    yield
    faulty.database.execute("DROP FUNCTION fail_at_commit CASCADE")


@contextmanager
def read_only(faulty: FaultyApi) -> Iterator[None]:
    """As after a failover: the sandbox's connection is to a server that is no primary any more."""
    faulty.database.execute("ALTER DATABASE blog SET default_transaction_read_only = on")
    faulty.end_backends()
    yield
    faulty.database.execute("ALTER DATABASE blog RESET default_transaction_read_only")
    faulty.end_backends()


REFUSALS: dict[str, tuple[str, Callable[[FaultyApi], AbstractContextManager[None]]]] = {
    "statement-timeout": ("-c statement_timeout=100", row_locked),
    "lock-timeout": ("-c lock_timeout=100", row_locked),
    "read-only": ("", read_only),
    "serialization-failure": ("", failing_at_commit),
}


@rows("postgresql-refuses")
def test_refuses(faulty: FaultyApi, row: Row) -> None:
    options, refusal = REFUSALS[row.name.removeprefix("postgresql-refuses-")]
    faulty.start(options)
    with refusal(faulty):
        timed = faulty.call(PATCH)
    assert_problem(timed, "database-unavailable")
    assert_in_time(row, timed)
    assert_works_again(faulty, PATCH)
