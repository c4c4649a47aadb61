"""PostgreSQL: how a query is run, retried and committed.

A sandbox serves one request at a time and keeps one connection. Before it is used again it is
checked without a round trip (a connection that the server closed is readable), and pinged only
after a long rest, as a frozen sandbox learns of nothing.

`read` runs a query in AUTOCOMMIT, one round trip a statement, and once more on a fresh connection
when the first broke. `write` runs it in a transaction; it repeats only what cannot have been
committed. Faults become errors of `blog.errors`; what they say of the database is logged, never
answered. No wait outlasts the request: a connection that does not answer by then is dropped.
Timeouts of statements and transactions are the database's own (see the migrations).
"""

import asyncio
import select
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from contextvars import ContextVar
from functools import cache
from math import inf
from time import monotonic
from typing import Any, Concatenate, ParamSpec, TypeVar

import psycopg
from sqlalchemy import URL, event, make_url
from sqlalchemy.exc import DBAPIError, DisconnectionError, IntegrityError, InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from blog.errors import ApiError, DatabaseUnavailable, InternalError, OutcomeUnknown
from blog.observability import database_time, logger
from blog.settings import ARN_OF_SECRET, settings

PING_AFTER_SECONDS = 30.0
PING_SECONDS = 1.0
CANCEL_SECONDS = 0.1
ROLLBACK_GRACE_SECONDS = 0.2
"""What a rollback may take when the request's time is over; with `CANCEL_SECONDS` it fits into
the margin that `blog.application` keeps."""
TCP_USER_TIMEOUT_MILLISECONDS = 3000
# SQLSTATE classes of faults that pass: connection, resources, operator intervention (timeouts,
# shutdown), lock not available, serialization and deadlock, read-only or timed-out transaction.
# Source: PostgreSQL's appendix "Error Codes".
PASSING_FAULTS = ("08", "53", "57", "58", "55P03", "40", "25006", "25P03", "25P04", "28", "3D")
# transaction_resolution_unknown and statement_completion_unknown, as poolers answer a COMMIT.
UNKNOWN_OUTCOMES = ("08007", "40003")

P = ParamSpec("P")
R = TypeVar("R")
Query = Callable[Concatenate[AsyncConnection, P], Awaitable[R]]

answer_by: ContextVar[float] = ContextVar("answer_by", default=inf)
"""When the request's time is over (`monotonic`): set by the boundary of each request."""


class BoundedConnection(psycopg.AsyncConnection[Any]):
    """A connection on which giving up is quick, also when its server has gone silent.

    psycopg's own waits up to 10 seconds for a cancelled query, and without end for a rollback.
    """

    async def cancel_safe(self, *, timeout: float = CANCEL_SECONDS) -> None:  # noqa: ASYNC109
        """Ask the server once to stop the query, and drop the connection whatever it says.

        The next request pays for a new connection; it never waits for the old one.
        """
        try:
            await super().cancel_safe(timeout=min(timeout, CANCEL_SECONDS))
        finally:
            self.pgconn.finish()

    async def rollback(self) -> None:
        seconds_left = max(answer_by.get() - monotonic(), 0) + ROLLBACK_GRACE_SECONDS
        await self._within(seconds_left, super().rollback())

    async def ping(self) -> None:
        await self._within(PING_SECONDS, self.execute(""))

    async def _within(self, seconds: float, answer: Awaitable[object]) -> None:
        try:
            async with asyncio.timeout(None if seconds == inf else seconds):
                await answer
        except TimeoutError:
            self.pgconn.finish()
            raise psycopg.OperationalError("no answer in time") from None


class ConnectionLost(DatabaseUnavailable):
    """The connection broke before COMMIT: nothing was changed, and a fresh one may work."""


async def read(query: Query[P, R], *arguments: P.args, **named: P.kwargs) -> R:
    """The query's result, each of its statements on its own (AUTOCOMMIT).

    Raises `DatabaseUnavailable`, and what the query raises.
    """

    async def attempt() -> R:
        with database_time(), _translated_faults():
            async with engine().connect() as connection:
                return await query(connection, *arguments, **named)

    return await _repeated_once(attempt)


async def write(
    around_commit: AbstractAsyncContextManager[None],
    query: Query[P, R],
    *arguments: P.args,
    **named: P.kwargs,
) -> R:
    """The query's result, committed. `around_commit` is entered just before COMMIT.

    Raises `DatabaseUnavailable` (nothing was changed), `OutcomeUnknown` (perhaps it was), and
    what the query raises (nothing was changed).
    """

    async def attempt() -> R:
        commits = False
        try:
            with _translated_faults():
                async with _transactions().connect() as connection:
                    with database_time():
                        result = await query(connection, *arguments, **named)
                    commits = True
                    async with around_commit:
                        await _commit(connection)
                    return result
        except asyncio.CancelledError:  # the deadline, which may fall before or after the change
            if commits:
                raise _outcome_unknown() from None
            raise

    return await _repeated_once(attempt)


@contextmanager
def violation_of(constraint: str, error: ApiError) -> Iterator[None]:
    """Raise `error` where the block violates the constraint of that name."""
    try:
        yield
    except IntegrityError as violation:
        if _constraint_name(violation) == constraint:
            raise error from None
        raise


@cache
def engine() -> AsyncEngine:
    """The sandbox's engine, in AUTOCOMMIT; it connects at the first query."""
    connect_arguments = {
        "connect_timeout": settings().database_connect_timeout_seconds,
        "tcp_user_timeout": TCP_USER_TIMEOUT_MILLISECONDS,
        "application_name": settings().service,
        "async_creator_fn": BoundedConnection.connect,
        # Poolers in transaction mode hand a session's prepared statements to others.
        "prepare_threshold": None,
    }
    made = create_async_engine(
        database_url(),
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
        pool_size=1,
        max_overflow=0,
        hide_parameters=True,
        use_native_hstore=False,
        connect_args=connect_arguments,
    )
    event.listen(made.sync_engine, "checkin", _note_time)
    event.listen(made.sync_engine, "checkout", _replace_closed)
    return made


def database_url() -> URL:
    """`DATABASE_URL` for SQLAlchemy's psycopg dialect, fetched where it is a secret's ARN."""
    url = settings().database_url
    if url.startswith(ARN_OF_SECRET):
        # Imported here alone: boto3 costs a cold start 100 ms and more.
        from aws_lambda_powertools.utilities import parameters

        url = str(parameters.get_secret(url))
    return make_url(url).set(drivername="postgresql+psycopg")


@cache
def _transactions() -> AsyncEngine:
    return engine().execution_options(isolation_level="READ COMMITTED")


async def _commit(connection: AsyncConnection) -> None:
    try:
        with database_time():
            await connection.commit()
    except asyncio.CancelledError:  # `around_commit` is to hear of the doubt
        raise _outcome_unknown() from None
    except DBAPIError as error:
        if not error.connection_invalidated and _sqlstate(error) not in UNKNOWN_OUTCOMES:
            raise
        _log_fault(error)
        raise _outcome_unknown() from None


def _outcome_unknown() -> OutcomeUnknown:
    return OutcomeUnknown(
        "The answer was lost while the change was made final; look whether it is there."
    )


async def _repeated_once(attempt: Callable[[], Awaitable[R]]) -> R:
    try:
        return await attempt()
    except ConnectionLost:
        if monotonic() > answer_by.get():  # the deadline has struck, and strikes once only
            raise
        return await attempt()


@contextmanager
def _translated_faults() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        _log_fault(error)
        raise _api_error(error) from None
    except InvalidRequestError as error:
        if not isinstance(error.__cause__, DisconnectionError | None):
            raise
        raise _unavailable(DatabaseUnavailable) from None


def _api_error(error: DBAPIError) -> ApiError:
    if error.connection_invalidated:
        return _unavailable(ConnectionLost)
    state = _sqlstate(error)
    if state is None or state.startswith(PASSING_FAULTS):
        return _unavailable(DatabaseUnavailable)
    return InternalError("The server failed; the failure has been logged.")


def _unavailable(kind: type[DatabaseUnavailable]) -> DatabaseUnavailable:
    return kind("The database does not answer; nothing was changed.")


def _log_fault(error: DBAPIError) -> None:
    """What the operator needs; the driver's own text may quote a client's values."""
    logger().error(
        "database error",
        error=type(error.orig).__name__,
        sqlstate=_sqlstate(error),
        constraint=_constraint_name(error),
        statement=error.statement,
    )


def _sqlstate(error: DBAPIError) -> str | None:
    state = getattr(error.orig, "sqlstate", None)
    return None if state is None else str(state)


def _constraint_name(error: DBAPIError) -> str | None:
    diagnostic = getattr(error.orig, "diag", None)
    return getattr(diagnostic, "constraint_name", None)


def _note_time(_connection: object, entry: ConnectionPoolEntry) -> None:
    entry.info["rested_from"] = monotonic()


def _replace_closed(connection: Any, entry: ConnectionPoolEntry, _proxy: object) -> None:
    """Have the pool replace a connection that the server closed while the sandbox rested."""
    rested_from = entry.info.get("rested_from")
    if rested_from is None:
        return
    socket_events = select.poll()
    socket_events.register(connection.driver_connection.pgconn.socket, select.POLLIN)
    if socket_events.poll(0):
        raise DisconnectionError
    if monotonic() - rested_from > PING_AFTER_SECONDS:
        _ping(connection)


def _ping(connection: Any) -> None:
    try:
        connection.run_async(BoundedConnection.ping)
    except psycopg.Error as error:
        raise DisconnectionError from error
