"""PostgreSQL's failures: what is retried, what is returned, and that nothing is written twice."""

import asyncio
import json
from collections.abc import Callable, Mapping, Set
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any
from urllib.parse import quote

import httpx
import psycopg
import pytest
from fastapi import Request
from psycopg import errors
from sqlalchemy import bindparam, exists, insert, update

from local.services import Services
from shared.database import Reader, Transaction, read
from shared.database.connection import worker_connection
from shared.database.driver import TIMEOUTS, BoundedConnection
from shared.errors import (
    AlreadyTaken,
    ApiError,
    DatabaseUnavailable,
    InternalError,
    InvalidReference,
    NotFound,
    OutcomeUnknown,
)
from shared.http.application import create_app, lambda_handler
from shared.http.route import PERMISSION, api_router
from shared.request import request_of
from shared.settings import LOCAL_STAGE
from tests.conftest import Worker, url_without_timeouts
from tests.example.models import articles
from tests.example.models import writers as writers_table
from tests.in_process import LambdaTransport, client_of
from tests.transactions import (
    REQUEST,
    NothingInvalidated,
    statement_of,
    wait_for_a_lock,
    write,
)

Database = psycopg.Connection[Any]

INSERT = "INSERT INTO writers (name, email) VALUES ('Ada', 'ada@example.org')"
INSERT_BOB = "INSERT INTO writers (name, email) VALUES ('Bob', 'bob@example.org')"
END_OWN_BACKEND = "SELECT pg_terminate_backend(pg_backend_pid())"
NO_DATABASE = "postgresql://nobody@127.0.0.1:1/blog"


def with_options(services: Services, options: str) -> str:
    """The database's URL, with settings for its sessions."""
    return f"{services.database_url}&options={quote(options)}"


def writers(database: Database) -> int:
    (count,) = database.execute("SELECT count(*) FROM writers").fetchall()[0]
    return int(count)


def backends(database: Database, worker: Worker) -> list[int]:
    """The worker's connections, as the server sees them."""
    rows = database.execute(
        "SELECT pid FROM pg_stat_activity WHERE application_name = %s", [worker.service]
    )
    return [row[0] for row in rows]


def end_backends(database: Database, worker: Worker) -> None:
    (pid,) = backends(database, worker)
    database.execute("SELECT pg_terminate_backend(%s, 1000)", [pid])


class Query:
    """Runs the statement; the first `breaks` times its connection ends instead."""

    def __init__(self, statement: str = "SELECT 42", breaks: int = 0) -> None:
        self.statement = statement
        self.breaks = breaks
        self.calls = 0

    async def __call__(self, connection: Reader | Transaction) -> Any:
        self.calls += 1
        if self.calls <= self.breaks:
            await connection.execute(statement_of(END_OWN_BACKEND))
        result = await connection.execute(statement_of(self.statement))
        return result.scalar() if result.returns_rows else None


@pytest.fixture
def ask(worker: Worker) -> Callable[[Query], int]:
    """Runs the query by a route that reads or, if it inserts, writes; returns the status."""

    def ask(query: Query) -> int:
        router = api_router("queries")

        @router.get("/queries", openapi_extra={PERMISSION: "queries:read"})
        async def run_query(http: Request) -> None:
            request = request_of(http.scope)
            is_write = query.statement == INSERT
            await (write(query, request=request) if is_write else read(request, query))

        with httpx.Client(
            transport=LambdaTransport(handler=lambda_handler(create_app(router)))
        ) as client:
            return client.get("http://api.test/queries").status_code

    return ask


@pytest.mark.parametrize(("statement", "rows"), [("SELECT 42", 0), (INSERT, 1)])
def test_a_request_is_retried_once_if_its_connection_breaks_before_commit(
    ask: Callable[[Query], int], database: Database, statement: str, rows: int
) -> None:
    query = Query(statement, breaks=1)
    assert ask(query) == 200
    assert (query.calls, writers(database)) == (2, rows)


@pytest.mark.parametrize("statement", ["SELECT 42", INSERT])
def test_a_request_is_retried_only_once(
    ask: Callable[[Query], int], database: Database, statement: str
) -> None:
    query = Query(statement, breaks=9)
    assert ask(query) == 503
    assert (query.calls, writers(database)) == (2, 0)


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize(("seconds", "connection_lost"), [(10.0, False), (0.6, True)])
def test_a_request_is_not_retried_in_vain(seconds: float, connection_lost: bool) -> None:
    """With its connection, or after its deadline, whose cancellation a driver may have lost."""
    router, calls = api_router("queries"), []

    @router.get("/queries", openapi_extra={PERMISSION: "queries:read"})
    async def fail() -> None:
        calls.append(connection_lost)
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(5 if connection_lost else 0)
        raise DatabaseUnavailable("It failed.", connection_lost=connection_lost)

    transport = LambdaTransport(seconds, lambda_handler(create_app(router)))
    with httpx.Client(transport=transport) as client:
        assert client.get("http://api.test/queries").status_code == 503
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("second", "seconds"), [(END_OWN_BACKEND, 30.0), ("SELECT pg_sleep(5)", 2.0)]
)
def test_a_request_that_has_committed_a_part_is_not_repeated_and_says_so(
    worker: Worker, database: Database, second: str, seconds: float
) -> None:
    router = api_router("writers")

    @router.post("/writers", status_code=204, openapi_extra={PERMISSION: "writers:write"})
    async def write_twice(http: Request) -> None:
        request = request_of(http.scope)
        await write(lambda block: block.execute(statement_of(INSERT)), request=request)
        await write(lambda block: block.execute(statement_of(second)), request=request)

    handler = lambda_handler(create_app(router))
    with client_of(seconds=seconds, handler=handler) as api:
        response = api.post("/writers")
    assert (response.status_code, writers(database)) == (503, 1)
    assert response.json()["type"] == "/problems#outcome-unknown"
    assert "check which before you retry" in response.json()["detail"]


@pytest.mark.parametrize("end", ["terminated", "restarted twice"])
def test_a_connection_that_the_server_closed_is_replaced_without_a_failure(
    worker: Worker, database: Database, end: str
) -> None:
    for _ in range(1 if end == "terminated" else 2):
        worker.run(read(REQUEST, Query()))
        end_backends(database, worker)
        query = Query()
        assert worker.run(read(REQUEST, query)) == 42
        assert query.calls == 1  # noticed before the query, not by it


@pytest.mark.parametrize(("after_seconds", "pings"), [(30.0, 0), (0.0, 1)])
def test_a_connection_is_pinged_only_if_it_was_idle_for_long(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, after_seconds: float, pings: int
) -> None:
    is_responding, called = BoundedConnection.is_responding, []

    async def watched(connection: BoundedConnection) -> bool:
        called.append(connection)
        return await is_responding(connection)

    monkeypatch.setattr(BoundedConnection, "is_responding", watched)
    monkeypatch.setattr("shared.database.connection.PING_AFTER_SECONDS", after_seconds)
    for _ in range(2):
        worker.run(read(REQUEST, Query()))
    assert len(called) == pings


def test_a_write_finds_a_closed_connection_replaced(worker: Worker, database: Database) -> None:
    worker.run(read(REQUEST, Query()))
    end_backends(database, worker)
    query = Query(INSERT)
    worker.run(write(query))

    assert (query.calls, writers(database)) == (1, 1)


async def look_up_only(block: Transaction) -> None:
    await block.look_up(statement_of("SELECT 42"))


async def reject(_: Transaction) -> None:
    raise NotFound("nothing of that")


async def insert_and_reject(block: Transaction) -> None:
    await block.execute(statement_of(INSERT))
    raise NotFound("nothing of that")


@pytest.mark.parametrize(
    "query",
    [Query(INSERT), look_up_only, reject, insert_and_reject],
    ids=["committed", "nothing to commit", "nothing sent", "rolled back"],
)
def test_a_worker_keeps_its_connection(worker: Worker, database: Database, query: Any) -> None:
    worker.run(write(Query()))  # a later BEGIN waits for the first statement
    (pid,) = backends(database, worker)
    with suppress(NotFound):
        worker.run(write(query))
    worker.run(read(REQUEST, Query("SELECT 4711")))
    activity = database.execute(
        "SELECT pid, query FROM pg_stat_activity WHERE application_name = %s", [worker.service]
    )
    assert activity.fetchall() == [(pid, "SELECT 4711")]


def test_a_read_leaves_no_transaction_and_sends_nothing_after_its_statement(
    worker: Worker, database: Database
) -> None:
    worker.run(read(REQUEST, Query("SELECT 4711")))
    activity = database.execute(
        "SELECT state, query FROM pg_stat_activity WHERE application_name = %s", [worker.service]
    )
    assert activity.fetchall() == [("idle", "SELECT 4711")]


def test_a_read_after_a_write_is_in_autocommit_again(worker: Worker, database: Database) -> None:
    worker.run(write(Query(INSERT)))
    worker.run(read(REQUEST, Query("SELECT 4711")))
    state = database.execute(
        "SELECT state FROM pg_stat_activity WHERE application_name = %s", [worker.service]
    )
    assert state.fetchall() == [("idle",)]


def test_a_statement_is_not_prepared_on_the_server(worker: Worker) -> None:
    for _ in range(10):
        worker.run(read(REQUEST, Query("SELECT 4711")))
    assert worker.run(read(REQUEST, Query("SELECT count(*) FROM pg_prepared_statements"))) == 0


def test_a_write_announces_itself_with_its_statement_and_invalidates_after_its_commit(
    worker: Worker, database: Database
) -> None:
    query = Query(INSERT)

    class Watch(NothingInvalidated):
        async def ready(self, scopes: Mapping[str, Set[str] | None]) -> None:
            assert (self.calls, query.calls, writers(database)) == (["start"], 1, 0)
            await super().ready(scopes)

        async def committed(self, scopes: Mapping[str, Set[str] | None]) -> None:
            assert writers(database) == 1
            assert scopes["writers"] is None
            await super().committed(scopes)

    watch = Watch()
    worker.run(write(query, watch))
    assert watch.calls == ["start", "ready", "committed"]


def test_an_error_after_commit_is_logged_and_the_write_stands(
    worker: Worker, database: Database, capfd: pytest.CaptureFixture[str]
) -> None:
    class Broken(NothingInvalidated):
        async def committed(self, scopes: Mapping[str, Set[str] | None]) -> None:
            raise RuntimeError("s3cret")

    worker.run(write(Query(INSERT), Broken()))
    assert writers(database) == 1
    line = json.loads(capfd.readouterr().out)
    assert (line["message"], line["error"]) == ("not invalidated after COMMIT", "RuntimeError")


@pytest.mark.parametrize("whole", ["", "before", "after"])
def test_the_changes_of_several_statements_are_invalidated_together(
    worker: Worker, database: Database, whole: str
) -> None:
    """Every scope of a table, or all of it if one statement does not say which."""
    database.execute(INSERT)
    database.execute(INSERT.replace("ada@", "bob@"))
    article = insert(articles).returning(articles.c.id)
    invalidated: dict[str, Set[str] | None] = {}

    class Watch(NothingInvalidated):
        async def committed(self, scopes: Mapping[str, Set[str] | None]) -> None:
            invalidated.update(scopes)

    async def insert_two(block: Transaction) -> None:
        if whole == "before":
            await block.execute(statement_of("UPDATE writers SET name = 'Ada'"))
        for writer_id in (1, 2):
            await block.insert(article, {"writer_id": writer_id, "title": "a", "content": "b"})
        if whole == "after":
            await block.execute(statement_of("UPDATE writers SET name = 'Ada'"))

    worker.run(write(insert_two, Watch()))
    assert invalidated["articles"] == (None if whole else {"1", "2"})


def test_an_update_finds_the_row_that_a_concurrent_one_has_just_moved(
    worker: Worker, services: Services, database: Database
) -> None:
    """Without another look, PostgreSQL would compare the row with the writer that it had before."""
    database.execute(INSERT)
    database.execute(INSERT_BOB)
    database.execute("INSERT INTO articles (writer_id, title, content) VALUES (1, 'a', 'b')")
    of_a_writer = exists().where(writers_table.c.id == articles.c.writer_id)
    retitle = update(articles).where(articles.c.id == 1, of_a_writer).returning(articles.c.title)

    async def change(block: Transaction) -> str:
        return str((await block.change(retitle, {"title": "new"})).title)

    async def change_beside(other: Database) -> str:
        other.execute("UPDATE articles SET writer_id = 2 WHERE id = 1")
        changing = asyncio.create_task(write(change))
        await wait_for_a_lock(database)
        other.commit()
        return await changing

    with psycopg.connect(services.database_url) as other:
        assert worker.run(change_beside(other)) == "new"


def test_a_row_that_moves_to_another_scope_waits_for_no_other_row(
    worker: Worker, database: Database
) -> None:
    for name in ("ada@", "bob@"):
        database.execute(INSERT.replace("ada@", name))
    database.execute(
        "INSERT INTO articles (writer_id, title, content) VALUES (1, 'a', 'b'), (1, 'c', 'd')"
    )
    article = update(articles).where(
        articles.c.id == bindparam("article_id"), writers_table.c.id == articles.c.writer_id
    )

    async def move(block: Transaction) -> Any:
        moving = article.returning(articles.c.id, articles.c.writer_id)
        return await block.change(moving, {"article_id": 1, "writer_id": 2})

    with database.transaction():
        database.execute("SELECT FROM articles WHERE id = 2 FOR UPDATE")
        database.execute("SELECT FROM writers WHERE id = 1 FOR UPDATE")
        database.execute("SELECT FROM articles WHERE id = 1 FOR KEY SHARE")  # as a new child does
        row = worker.run(write(move))
    assert (row.id, row.writer_id) == (1, 2)


def test_a_write_that_raises_is_rolled_back(worker: Worker, database: Database) -> None:
    async def insert_and_raise(block: Transaction) -> None:
        await block.execute(statement_of(INSERT))
        raise NotFound("nothing of that")

    watch = NothingInvalidated()
    with pytest.raises(NotFound):
        worker.run(write(insert_and_raise, watch))
    assert (writers(database), watch.calls) == (0, ["start", "rolled back"])
    worker.run(write(Query(INSERT)))
    assert writers(database) == 1


def test_a_violation_that_is_caught_is_not_acknowledged(worker: Worker, database: Database) -> None:
    """PostgreSQL rolls back a failed transaction at its COMMIT, and reports no error."""

    async def insert_twice(block: Transaction) -> None:
        await block.execute(statement_of(INSERT))
        with suppress(AlreadyTaken):
            await block.execute(statement_of(INSERT))

    watch = NothingInvalidated()
    with pytest.raises(InternalError):
        worker.run(write(insert_twice, watch))
    assert (writers(database), watch.calls[-1]) == (0, "rolled back")


def test_a_deferred_constraint_is_the_clients_error_at_commit(
    worker: Worker, database: Database
) -> None:
    database.execute(INSERT)
    constraint = "ALTER TABLE articles ALTER CONSTRAINT articles_writer_id_fkey"
    database.execute(f"{constraint} DEFERRABLE INITIALLY DEFERRED".encode())
    article = insert(articles).returning(articles.c.id)

    async def insert_two(block: Transaction) -> None:
        for writer_id in (1, 4711):
            await block.insert(article, {"writer_id": writer_id, "title": "a", "content": "b"})

    watch = NothingInvalidated()
    try:
        with pytest.raises(InvalidReference, match="writer_id: there is no such writer"):
            worker.run(write(insert_two, watch))
    finally:
        database.execute(f"{constraint} NOT DEFERRABLE".encode())
    assert "rolled back" in watch.calls
    assert database.execute("SELECT count(*) FROM articles").fetchone() == (0,)


def test_a_read_within_a_transaction_does_not_wait_for_itself(worker: Worker) -> None:
    async def read_within(_: Transaction) -> None:
        await read(REQUEST, Query())

    with pytest.raises(RuntimeError, match="the connection is in use"):
        worker.run(write(read_within))


def test_a_transaction_that_only_looked_up_invalidates_nothing(
    worker: Worker, database: Database
) -> None:
    async def look_up(block: Transaction) -> Any:
        return (await block.look_up(statement_of("SELECT 42"))).scalar()

    watch = NothingInvalidated()
    assert worker.run(write(look_up, watch)) == 42
    assert watch.calls == ["ready"]


def test_a_statement_that_is_sent_ahead_runs_first_and_the_last_one_with_commit(
    worker: Worker, database: Database
) -> None:
    async def insert_three(block: Transaction) -> Any:
        ahead = block.driver.send_ahead("SELECT count(*) FROM writers", [])
        await block.execute(statement_of(INSERT))
        block.execute_with_commit(INSERT_BOB, [])
        return await ahead.fetchone()

    assert worker.run(write(Query())) == 42  # the connection's first transaction
    assert worker.run(write(insert_three)) == (0,)
    assert writers(database) == 2


def test_a_last_statement_that_fails_leaves_nothing(worker: Worker, database: Database) -> None:
    async def insert_twice(block: Transaction) -> None:
        await block.execute(statement_of(INSERT))
        block.execute_with_commit(INSERT, [])

    watch = NothingInvalidated()
    with pytest.raises(AlreadyTaken):
        worker.run(write(insert_twice, watch))
    assert (writers(database), watch.calls) == (0, ["start", "ready", "rolled back"])
    assert worker.run(read(REQUEST, Query())) == 42


def test_a_connection_that_ends_with_its_commit_has_an_unknown_outcome_whatever_it_said_last(
    worker: Worker, services: Services, database: Database
) -> None:
    async def insert_and_time_out(block: Transaction) -> None:
        await block.execute(statement_of(INSERT))
        block.execute_with_commit("SELECT pg_sleep(9)", [])

    watch = NothingInvalidated()
    worker.restart(DATABASE_URL=with_options(services, "-c transaction_timeout=1s"))
    with pytest.raises(OutcomeUnknown):
        worker.run(write(insert_and_time_out, watch))
    assert watch.calls == ["start", "ready"]
    assert worker.run(read(REQUEST, Query())) == 42


def test_a_violation_that_the_models_explain_is_the_clients(
    worker: Worker, database: Database
) -> None:
    database.execute(INSERT)

    async def run(statement: str, block: Transaction) -> None:
        await block.execute(statement_of(statement))

    article = (
        "INSERT INTO articles (writer_id, title, content) VALUES (4711, 'a', 'b') RETURNING id"
    )
    same_id = "INSERT INTO writers OVERRIDING SYSTEM VALUE SELECT * FROM writers RETURNING id"
    with pytest.raises(AlreadyTaken, match="email: another writer has"):
        worker.run(write(partial(run, INSERT)))
    with pytest.raises(InvalidReference, match="writer_id: there is no such writer"):
        worker.run(write(partial(run, article)))
    with pytest.raises(InternalError):
        worker.run(write(partial(run, same_id)))


def test_a_wrong_statement_is_an_internal_error(worker: Worker) -> None:
    query = Query("SELECT nonsense")
    with pytest.raises(InternalError):
        worker.run(read(REQUEST, query))
    assert query.calls == 1


ELSEWHERE: dict[type[psycopg.Error], type[ApiError]] = {
    errors.ConnectionFailure: DatabaseUnavailable,
    errors.AdminShutdown: DatabaseUnavailable,
    errors.IoError: DatabaseUnavailable,
    errors.ReadOnlySqlTransaction: DatabaseUnavailable,
    errors.FeatureNotSupported: InternalError,
    errors.ObjectNotInPrerequisiteState: InternalError,
    errors.InternalError_: InternalError,
}
"""Errors of a server that is not, or no longer, the one to use."""

HERE: dict[type[psycopg.Error], type[ApiError]] = {
    errors.TooManyConnections: DatabaseUnavailable,
    errors.QueryCanceled: DatabaseUnavailable,
    errors.LockNotAvailable: DatabaseUnavailable,
    errors.DeadlockDetected: DatabaseUnavailable,
    errors.SerializationFailure: DatabaseUnavailable,
    errors.IdleInTransactionSessionTimeout: DatabaseUnavailable,
    errors.TransactionTimeout: DatabaseUnavailable,
    errors.InvalidPassword: DatabaseUnavailable,
    errors.InvalidCatalogName: DatabaseUnavailable,
    errors.ObjectInUse: InternalError,
    errors.NoActiveSqlTransaction: InternalError,
    errors.InsufficientPrivilege: InternalError,
    errors.DivisionByZero: InternalError,
}

CONCURRENT = {errors.LockNotAvailable, errors.DeadlockDetected, errors.SerializationFailure}
"""Errors of a transaction that met another one."""


@pytest.mark.parametrize("error", [*ELSEWHERE, *HERE])
def test_a_transient_failure_is_503_and_leads_elsewhere_if_it_is_the_servers(
    worker: Worker, database: Database, error: type[psycopg.Error]
) -> None:
    worker.run(read(REQUEST, Query()))
    before = backends(database, worker)
    with pytest.raises(ELSEWHERE.get(error) or HERE[error]) as raised:
        worker.run(read(REQUEST, Query(f"DO $$ BEGIN RAISE SQLSTATE '{error.sqlstate}'; END $$")))
    assert raised.value.__suppress_context__
    if isinstance(raised.value, DatabaseUnavailable):
        assert raised.value.connection_lost is (error in ELSEWHERE)
        assert raised.value.read_only is (error is errors.ReadOnlySqlTransaction)
        assert ("accepts no changes" in raised.value.detail) is raised.value.read_only
        assert ("is changing the same" in raised.value.detail) is (error in CONCURRENT)
    worker.run(read(REQUEST, Query()))
    assert (backends(database, worker) != before) is (error in ELSEWHERE)


SESSION_TIMEOUTS = ", ".join(f"'{name}', current_setting('{name}')" for name in TIMEOUTS)
SHOW_TIMEOUTS = f"SELECT json_build_object({SESSION_TIMEOUTS})"


def test_each_write_has_the_timeouts_that_the_database_lacks_and_its_session_stays_as_it_was(
    worker: Worker, services: Services, capsys: pytest.CaptureFixture[str]
) -> None:
    assert worker.run(write(Query(SHOW_TIMEOUTS))) == TIMEOUTS
    assert "lack" not in capsys.readouterr().out
    worker.restart(DATABASE_URL=url_without_timeouts(services))
    for _ in range(2):
        assert worker.run(write(Query(SHOW_TIMEOUTS))) == TIMEOUTS
        assert worker.run(read(REQUEST, Query(SHOW_TIMEOUTS))) == dict.fromkeys(TIMEOUTS, "0")

    logged = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    warnings = [line["lacking"] for line in logged if line["level"] == "WARNING"]
    assert warnings == [list(TIMEOUTS)]


def test_a_stricter_timeout_stays_and_a_longer_one_does_not(
    worker: Worker, services: Services
) -> None:
    options = "-c statement_timeout=1min -c lock_timeout=1500ms"
    worker.restart(DATABASE_URL=with_options(services, options))
    timeouts = worker.run(write(Query(SHOW_TIMEOUTS)))
    assert timeouts == TIMEOUTS | {"lock_timeout": "1500ms"}


def test_a_locked_table_costs_a_write_its_lock_timeout_in_a_database_that_lacks_it(
    worker: Worker, services: Services, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TIMEOUTS, "lock_timeout", "50ms")
    worker.restart(DATABASE_URL=url_without_timeouts(services))
    with database.transaction():
        database.execute("LOCK TABLE writers IN SHARE MODE")
        started_at = monotonic()
        with pytest.raises(DatabaseUnavailable):
            worker.run(write(Query(INSERT)))
        assert monotonic() - started_at < 2


@pytest.mark.parametrize("stage", ["dev", LOCAL_STAGE])
def test_a_failure_is_logged_with_its_state_and_only_locally_with_the_clients_values(
    worker: Worker,
    api: httpx.Client,
    database: Database,
    capsys: pytest.CaptureFixture[str],
    stage: str,
) -> None:
    worker.restart(STAGE=stage)
    database.execute("ALTER TABLE writers ADD CONSTRAINT no_bob CHECK (name <> 'Bob Secret')")
    try:
        body = {"name": "Bob Secret", "email": "bob.secret@example.org"}
        response = api.post("/writers", json=body)
    finally:
        database.execute("ALTER TABLE writers DROP CONSTRAINT no_bob")
    printed = "".join(capsys.readouterr())
    failures = [json.loads(line) for line in printed.splitlines() if "database error" in line]

    assert response.status_code == 500
    assert response.json()["type"] == "/problems#internal-error"
    assert "no_bob" not in response.text
    assert [(failure["sqlstate"], failure["constraint"]) for failure in failures] == [
        ("23514", "no_bob")
    ]
    assert "INSERT INTO writers" in failures[0]["statement"]
    assert ("secret" in printed.lower()) == (stage == LOCAL_STAGE)
    assert ("violates check constraint" in failures[0].get("text", "")) == (stage == LOCAL_STAGE)


def test_the_engines_own_text_hides_parameters(worker: Worker) -> None:
    assert worker_connection().engine.sync_engine.hide_parameters
