"""PostgreSQL's faults: what is repeated, what is answered, and that nothing is written twice."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from time import monotonic
from typing import Any
from urllib.parse import quote

import httpx
import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from blog.database import read, translate_violation, write
from blog.database.connection import TIMEOUTS, worker_connection
from blog.errors import ApiError, Conflict, DatabaseUnavailable, InternalError, NotFound
from local.services import Services
from tests.conftest import Sandbox, url_without_timeouts

Database = psycopg.Connection[Any]

INSERT = "INSERT INTO users (name, email) VALUES ('Ada', 'ada@example.org')"
END_OWN_BACKEND = "SELECT pg_terminate_backend(pg_backend_pid())"
REFUSING_DATABASE = "postgresql://nobody@127.0.0.1:1/blog"


def with_options(services: Services, options: str) -> str:
    """The database's URL, with settings for its sessions."""
    return f"{services.database_url}&options={quote(options)}"


def users(database: Database) -> int:
    (count,) = database.execute("SELECT count(*) FROM users").fetchall()[0]
    return int(count)


def backends(database: Database, sandbox: Sandbox) -> list[int]:
    """The sandbox's connections, as the server sees them."""
    rows = database.execute(
        "SELECT pid FROM pg_stat_activity WHERE application_name = %s", [sandbox.service]
    )
    return [row[0] for row in rows]


def end_backends(database: Database, sandbox: Sandbox) -> None:
    (pid,) = backends(database, sandbox)
    database.execute("SELECT pg_terminate_backend(%s, 1000)", [pid])


class Query:
    """Runs the statement; the first `breaks` times its connection ends instead."""

    def __init__(self, statement: str = "SELECT 42", breaks: int = 0) -> None:
        self.statement = statement
        self.breaks = breaks
        self.calls = 0

    async def __call__(self, connection: AsyncConnection) -> Any:
        self.calls += 1
        if self.calls <= self.breaks:
            await connection.execute(text(END_OWN_BACKEND))
        result = await connection.execute(text(self.statement))
        return result.scalar() if result.returns_rows else None


@asynccontextmanager
async def nothing() -> AsyncIterator[None]:
    yield


def test_a_read_is_repeated_once_when_its_connection_breaks(sandbox: Sandbox) -> None:
    query = Query(breaks=1)
    assert sandbox.run(read(query)) == 42
    assert query.calls == 2


def test_a_read_is_not_repeated_for_ever(sandbox: Sandbox) -> None:
    query = Query(breaks=9)
    with pytest.raises(DatabaseUnavailable):
        sandbox.run(read(query))
    assert query.calls == 2


def test_a_write_is_repeated_when_its_connection_breaks_before_commit(
    sandbox: Sandbox, database: Database
) -> None:
    query = Query(INSERT, breaks=1)
    sandbox.run(write(nullcontext(), query))
    assert query.calls == 2
    assert users(database) == 1


def test_a_write_that_goes_on_failing_writes_nothing(sandbox: Sandbox, database: Database) -> None:
    query = Query(INSERT, breaks=9)
    with pytest.raises(DatabaseUnavailable):
        sandbox.run(write(nullcontext(), query))
    assert query.calls == 2
    assert users(database) == 0


@pytest.mark.parametrize("end", ["terminated", "restarted twice"])
def test_a_connection_that_the_server_closed_is_replaced_without_a_failure(
    sandbox: Sandbox, database: Database, end: str
) -> None:
    for _ in range(1 if end == "terminated" else 2):
        sandbox.run(read(Query()))
        end_backends(database, sandbox)
        query = Query()
        assert sandbox.run(read(query)) == 42
        assert query.calls == 1  # noticed before the query, not by it


def test_a_write_finds_a_closed_connection_replaced(sandbox: Sandbox, database: Database) -> None:
    sandbox.run(read(Query()))
    end_backends(database, sandbox)
    query = Query(INSERT)
    sandbox.run(write(nullcontext(), query))

    assert (query.calls, users(database)) == (1, 1)


def test_a_sandbox_keeps_one_connection(sandbox: Sandbox, database: Database) -> None:
    for _ in range(3):
        sandbox.run(read(Query()))
        sandbox.run(write(nullcontext(), Query()))
    assert len(backends(database, sandbox)) == 1


def test_a_read_leaves_no_transaction_and_says_nothing_after_its_statement(
    sandbox: Sandbox, database: Database
) -> None:
    sandbox.run(read(Query("SELECT 4711")))
    activity = database.execute(
        "SELECT state, query FROM pg_stat_activity WHERE application_name = %s", [sandbox.service]
    )
    assert activity.fetchall() == [("idle", "SELECT 4711")]


def test_a_read_after_a_write_is_in_autocommit_again(sandbox: Sandbox, database: Database) -> None:
    sandbox.run(write(nullcontext(), Query(INSERT)))
    sandbox.run(read(Query("SELECT 4711")))
    state = database.execute(
        "SELECT state FROM pg_stat_activity WHERE application_name = %s", [sandbox.service]
    )
    assert state.fetchall() == [("idle",)]


def test_a_statement_is_not_prepared_on_the_server(sandbox: Sandbox) -> None:
    for _ in range(10):
        sandbox.run(read(Query("SELECT 4711")))
    assert sandbox.run(read(Query("SELECT count(*) FROM pg_prepared_statements"))) == 0


def test_a_write_enters_around_commit_after_the_query_and_before_the_commit(
    sandbox: Sandbox, database: Database
) -> None:
    seen: list[tuple[int, int]] = []
    query = Query(INSERT)

    @asynccontextmanager
    async def watch() -> AsyncIterator[None]:
        seen.append((query.calls, users(database)))
        yield
        seen.append((query.calls, users(database)))

    sandbox.run(write(watch(), query))
    assert seen == [(1, 0), (1, 1)]


def test_a_refused_write_is_rolled_back_and_enters_nothing(
    sandbox: Sandbox, database: Database
) -> None:
    entered: list[int] = []

    @asynccontextmanager
    async def watch() -> AsyncIterator[None]:
        entered.append(1)
        yield

    async def refuse(connection: AsyncConnection) -> None:
        await connection.execute(text(INSERT))
        raise NotFound("nothing of that")

    with pytest.raises(NotFound):
        sandbox.run(write(watch(), refuse))
    assert (users(database), entered) == (0, [])
    sandbox.run(write(nullcontext(), Query(INSERT)))
    assert users(database) == 1


def test_a_violation_becomes_the_error_of_its_constraint_alone(
    sandbox: Sandbox, database: Database
) -> None:
    database.execute(INSERT)

    async def insert(connection: AsyncConnection, constraint: str) -> None:
        with translate_violation(constraint, Conflict("taken")):
            await connection.execute(text(INSERT))

    with pytest.raises(Conflict):
        sandbox.run(write(nullcontext(), insert, "users_email_key"))
    with pytest.raises(InternalError):
        sandbox.run(write(nullcontext(), insert, "users_pkey"))


def test_violation_of_lets_other_errors_pass() -> None:
    with pytest.raises(LookupError), translate_violation("any", Conflict("taken")):
        raise LookupError
    assert not issubclass(ApiError, IntegrityError)


FAULTS: dict[str, tuple[str, str]] = {
    "statement timeout": ("-c statement_timeout=30", "SELECT pg_sleep(5)"),
    "lock timeout": ("-c lock_timeout=30", "SELECT * FROM users FOR UPDATE"),
    "read-only": ("-c default_transaction_read_only=on", INSERT),
    "transaction timeout": ("-c transaction_timeout=30", "SELECT pg_sleep(5)"),
}


@pytest.mark.parametrize(("options", "statement"), FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_that_passes_is_service_unavailable(
    sandbox: Sandbox, services: Services, database: Database, options: str, statement: str
) -> None:
    database.execute(INSERT)
    sandbox.restart(DATABASE_URL=with_options(services, options))
    with database.transaction():
        database.execute("LOCK TABLE users IN ROW EXCLUSIVE MODE")
        database.execute("SELECT * FROM users FOR UPDATE")
        with pytest.raises(DatabaseUnavailable):
            sandbox.run(write(nullcontext(), Query(statement)))

    assert users(database) == 1


def test_a_wrong_statement_is_our_bug(sandbox: Sandbox) -> None:
    query = Query("SELECT nonsense")
    with pytest.raises(InternalError):
        sandbox.run(read(query))
    assert query.calls == 1


SESSION_TIMEOUTS = ", ".join(f"'{name}', current_setting('{name}')" for name in TIMEOUTS)
SHOW_TIMEOUTS = f"SELECT json_build_object({SESSION_TIMEOUTS})"


def test_each_write_has_the_timeouts_that_the_database_lacks_and_its_session_stays_as_it_was(
    sandbox: Sandbox, services: Services, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sandbox.run(write(nullcontext(), Query(SHOW_TIMEOUTS))) == TIMEOUTS
    assert "lack" not in capsys.readouterr().out
    sandbox.restart(DATABASE_URL=url_without_timeouts(services))
    for _ in range(2):
        assert sandbox.run(write(nullcontext(), Query(SHOW_TIMEOUTS))) == TIMEOUTS
        assert sandbox.run(read(Query(SHOW_TIMEOUTS))) == dict.fromkeys(TIMEOUTS, "0")

    logged = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    warnings = [line["lacking"] for line in logged if line["level"] == "WARNING"]
    assert warnings == [list(TIMEOUTS)]


def test_a_stricter_timeout_stays_and_a_longer_one_does_not(
    sandbox: Sandbox, services: Services
) -> None:
    options = "-c statement_timeout=1min -c lock_timeout=1500ms"
    sandbox.restart(DATABASE_URL=with_options(services, options))
    timeouts = sandbox.run(write(nullcontext(), Query(SHOW_TIMEOUTS)))
    assert timeouts == TIMEOUTS | {"lock_timeout": "1500ms"}


def test_a_locked_table_costs_a_write_its_lock_timeout_in_a_database_that_lacks_it(
    sandbox: Sandbox, services: Services, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TIMEOUTS, "lock_timeout", "50ms")
    sandbox.restart(DATABASE_URL=url_without_timeouts(services))
    with database.transaction():
        database.execute("LOCK TABLE users IN SHARE MODE")
        started_at = monotonic()
        with pytest.raises(DatabaseUnavailable):
            sandbox.run(write(nullcontext(), Query(INSERT)))
        assert monotonic() - started_at < 2


def hold_lock(database: Database) -> None:
    database.execute("SELECT * FROM users FOR UPDATE")


ANSWERED_503: dict[str, Callable[[Services], str]] = {
    "refusing": lambda _: REFUSING_DATABASE,
    "wrong database": lambda services: services.database_url.replace("/blog", "/nix"),
    "lock timeout": lambda services: with_options(services, "-c lock_timeout=30"),
    "read-only": lambda services: with_options(services, "-c default_transaction_read_only=on"),
}


@pytest.mark.parametrize("url", ANSWERED_503.values(), ids=ANSWERED_503.keys())
def test_a_database_that_cannot_is_answered_503_without_its_text(
    sandbox: Sandbox,
    api: httpx.Client,
    services: Services,
    database: Database,
    url: Callable[[Services], str],
) -> None:
    database.execute(INSERT)
    sandbox.restart(DATABASE_URL=url(services))
    with database.transaction():
        database.execute("SELECT * FROM users FOR UPDATE")
        answer = api.patch("/users/1", json={"name": "Bob Secret"})

    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "/problems#database-unavailable"
    assert set(answer.json()) == {"type", "title", "status", "detail"}
    for word in ("psycopg", "SQL", "UPDATE", "lock", "127.0.0.1", "refused", "Bob Secret"):
        assert word not in answer.text
    assert database.execute("SELECT name FROM users").fetchall() == [("Ada",)]


def test_a_fault_is_logged_with_its_state_and_without_the_clients_values(
    sandbox: Sandbox, api: httpx.Client, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    database.execute("ALTER TABLE users ADD CONSTRAINT no_bob CHECK (name <> 'Bob Secret')")
    try:
        body = {"name": "Bob Secret", "email": "bob.secret@example.org"}
        answer = api.post("/users", json=body)
    finally:
        database.execute("ALTER TABLE users DROP CONSTRAINT no_bob")
    printed = "".join(capsys.readouterr())
    faults = [json.loads(line) for line in printed.splitlines() if "database error" in line]

    assert answer.status_code == 500
    assert answer.json()["type"] == "/problems#internal-error"
    assert "no_bob" not in answer.text
    assert [(fault["sqlstate"], fault["constraint"]) for fault in faults] == [("23514", "no_bob")]
    assert "INSERT INTO users" in faults[0]["statement"]
    assert "secret" not in printed.lower()


def test_the_engines_own_text_hides_parameters(sandbox: Sandbox) -> None:
    assert worker_connection().engine.sync_engine.hide_parameters
