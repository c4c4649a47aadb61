"""PostgreSQL: the one connection of an execution environment.

An execution environment serves one request at a time. Before its connection is used again it is
checked without a round trip (a connection that the server closed is readable), and pinged only
after it was idle for long, as a frozen environment learns of nothing. Failures become errors of
`blog.errors`; what they say of the database is logged, and never in a response. No wait outlasts
the request: a connection that does not respond by then is dropped.

`TIMEOUTS` are the database's own settings, made by the migrations. The first write of a connection
reads them back with its BEGIN; where some are lacking, as after the restore of a dump, that is
logged and each transaction sets them for itself. So no transaction outlives the cache's fence.
"""

import asyncio
import select
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from time import monotonic
from typing import Any, LiteralString, Self, cast

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import URL, NullPool
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio.engine import AsyncConnection, AsyncEngine, create_async_engine

from blog.database.access import database_url, provide_tokens, rejected_certificate
from blog.errors import ApiError, DatabaseUnavailable, InternalError
from blog.observability import database_time, logger
from blog.process import close_at_reset, per_process
from blog.secrets import SecretUnavailable
from blog.settings import settings

PING_AFTER_SECONDS = 30.0
PING_SECONDS = 1.0
CANCEL_SECONDS = 0.1
ROLLBACK_SECONDS = 0.2
"""A server that takes longer forgets the transaction with the connection; with `CANCEL_SECONDS` it
fits into the margin that `blog.http.middleware` keeps of the request's time."""
TCP_USER_TIMEOUT_MILLISECONDS = 3000
CERTIFICATE_REJECTED = "certificate verify failed"
TIMEOUTS: dict[LiteralString, LiteralString] = {
    "statement_timeout": "8s",
    "transaction_timeout": "9s",
    "idle_in_transaction_session_timeout": "5s",
    "lock_timeout": "3s",
}
"""The longest that a session may have; `blog.cache.fences` relies on them."""
_NAMES_AND_VALUES = ", ".join(f"('{name}', '{longest}')" for name, longest in TIMEOUTS.items())
LACKING_TIMEOUTS = f"""
SELECT name FROM (VALUES {_NAMES_AND_VALUES}) AS timeouts (name, longest)
WHERE current_setting(name)::interval NOT BETWEEN '1ms' AND longest::interval
"""  # noqa: S608 - of constants
"""Names of those that the session has not, or longer ones."""
SentAhead = tuple[psycopg.AsyncCursor[Any], LiteralString, Sequence[object]]
# SQLSTATE classes of faults that pass: connection, resources, operator intervention (timeouts,
# shutdown), lock not available, serialization and deadlock, read-only or timed-out transaction.
# Source: PostgreSQL's appendix "Error Codes".
TRANSIENT_ERRORS = ("08", "53", "57", "58", "55P03", "40", "25006", "25P03", "25P04", "28", "3D")


class PipelinedCursor(psycopg.AsyncCursor[Any]):
    """A cursor whose statement takes along those that its connection is to send ahead."""

    async def execute(self, query: Any, params: Any = None, **options: Any) -> Self:
        connection = cast("BoundedConnection", self.connection)
        ahead = connection.take_ahead()
        if not ahead:
            return await super().execute(query, params, **options)
        async with connection.pipeline():
            for cursor, statement, values in ahead:
                await cursor.execute(statement, values)
            await super().execute(query, params, **options)
        return self


class BoundedConnection(psycopg.AsyncConnection[Any]):
    """A connection that fails fast, also when its server stops responding.

    psycopg's own waits up to 10 seconds for a cancelled query, and without end for a rollback.
    """

    _opening: Sequence[LiteralString] | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._ahead: list[SentAhead] = []

    async def begin(self) -> None:
        """Begin a transaction that has all of TIMEOUTS.

        BEGIN is sent with the first statement, but for the connection's first transaction.
        """
        if self._opening is None:
            self._opening = await self._begin_first()
            return
        for statement in self._opening:
            self.send_ahead(statement)

    def send_ahead(
        self, statement: LiteralString, values: Sequence[object] = ()
    ) -> psycopg.AsyncCursor[Any]:
        """Send this in one round trip with the next statement, and before it."""
        cursor: psycopg.AsyncCursor[Any] = psycopg.AsyncCursor(self)
        self._ahead.append((cursor, statement, values))
        return cursor

    def take_ahead(self) -> list[SentAhead]:
        taken, self._ahead = self._ahead, []
        return taken

    async def end_transaction(self) -> None:
        """Roll back what is open. Raises nothing: a connection that fails here is closed."""
        self._ahead.clear()
        if self.info.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
            with suppress(psycopg.Error):
                await self._within(ROLLBACK_SECONDS, self.rollback())

    async def cancel_safe(self, *, timeout: float = CANCEL_SECONDS) -> None:  # noqa: ASYNC109
        """Ask the server once to stop the query, and drop the connection whatever it says.

        The next request pays for a new connection; it never waits for the old one.
        """
        try:
            await super().cancel_safe(timeout=min(timeout, CANCEL_SECONDS))
        finally:
            self.pgconn.finish()

    async def is_responding(self) -> bool:
        try:
            await self._within(PING_SECONDS, self.execute(""))
        except psycopg.Error:
            return False
        return True

    async def _begin_first(self) -> list[LiteralString]:
        """Begin, and return what begins the connection's other transactions."""
        # In one message, and so one round trip.
        responses = await self.execute(f"BEGIN; {LACKING_TIMEOUTS}")
        responses.nextset()
        lacking = [name for (name,) in await responses.fetchall()]
        settings = [f"SET LOCAL {name} = '{TIMEOUTS[name]}'" for name in lacking]
        if lacking:
            _log_lacking(lacking)
            await self.execute("; ".join(settings))
        return ["BEGIN", *settings]

    async def _within(self, seconds: float, response: Awaitable[object]) -> None:
        try:
            async with asyncio.timeout(seconds):
                await response
        except TimeoutError:
            self.pgconn.finish()
            raise psycopg.OperationalError("no response in time") from None


class WorkerConnection:
    """The sandbox's one connection: made at the first query, kept while it is sound."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self._kept: AsyncConnection | None = None
        self._idle_since = 0.0
        # A sandbox's requests come one by one; only its health check asks from beside them.
        self._in_use = asyncio.Lock()

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[tuple[AsyncConnection, BoundedConnection]]:
        """The connection, and the driver's own below it.

        Whatever transaction the block leaves open is rolled back. The driver's errors are raised
        as `DatabaseUnavailable` or `InternalError`.
        """
        async with self._in_use:
            with database_time():
                connection = await self._healthy() or await self._connect()
            driver = driver_of(connection)
            try:
                yield connection, driver
            except (DBAPIError, psycopg.Error) as error:
                log_failure(error)
                raise _api_error(error, lost=driver.closed) from None
            finally:
                await self._keep_or_close(connection, driver)

    async def close(self) -> None:
        kept, self._kept = self._kept, None
        if kept is not None:
            await kept.close()

    async def _healthy(self) -> AsyncConnection | None:
        """The kept connection; None where there is none, or the server has closed it."""
        if self._kept is None:
            return None
        driver = driver_of(self._kept)
        idle_seconds = monotonic() - self._idle_since
        if not _is_readable(driver) and (
            idle_seconds < PING_AFTER_SECONDS or await driver.is_responding()
        ):
            return self._kept
        await self._drop(self._kept, driver)
        return None

    async def _connect(self) -> AsyncConnection:
        try:
            return await self._connect_as_known()
        except asyncio.CancelledError as cancelled:
            # Its traceback holds on to the half-made connection, which is closed when it goes.
            raise cancelled.with_traceback(None) from None
        except DBAPIError as error:
            log_failure(error, reason=await self._connection_failure(str(error.orig)))
            raise _api_error(error, lost=False) from None

    async def _connection_failure(self, reason: str) -> str:
        """The driver's text, in which no client's value is yet, with why TLS failed."""
        if CERTIFICATE_REJECTED not in reason:
            return reason
        return f"{reason}: {await rejected_certificate(self.engine.url)}"

    async def _connect_as_known(self) -> AsyncConnection:
        """Where the password is refused, with the secret's new URL, if it has one by now."""
        try:
            return await self.engine.connect()
        except DBAPIError as error:
            if not _refused_password(error) or (url := _readable_url()) == self.engine.url:
                raise
            logger().warning("password refused; connecting with the secret's new one")
            self.engine = _engine(url)
            return await self.engine.connect()

    async def _keep_or_close(self, connection: AsyncConnection, driver: BoundedConnection) -> None:
        await driver.end_transaction()
        if driver.info.transaction_status == TransactionStatus.IDLE:
            self._kept, self._idle_since = connection, monotonic()
        else:
            await self._drop(connection, driver)

    async def _drop(self, connection: AsyncConnection, driver: BoundedConnection) -> None:
        self._kept = None
        driver.pgconn.finish()
        await connection.invalidate()
        await connection.close()


@contextmanager
def translate_violation(constraint: str, error: ApiError) -> Iterator[None]:
    """Raise `error` where the block violates the constraint of that name."""
    try:
        yield
    except IntegrityError as violation:
        if _constraint_name(violation) == constraint:
            raise error from None
        raise


@per_process
def worker_connection() -> WorkerConnection:
    """The sandbox's connection. Raises `DatabaseUnavailable` where its secret cannot be read."""
    connection = WorkerConnection(_engine(_readable_url()))
    close_at_reset(connection.close)
    return connection


def _readable_url() -> URL:
    try:
        return database_url()
    except SecretUnavailable as error:
        logger().error("the database's secret cannot be read", reason=str(error))
        raise _unavailable() from None


def _engine(url: URL) -> AsyncEngine:
    """Connections in AUTOCOMMIT; `write` begins and ends its transactions itself."""
    connect_arguments = {
        "connect_timeout": settings().database_connect_timeout_seconds,
        "tcp_user_timeout": TCP_USER_TIMEOUT_MILLISECONDS,
        "application_name": settings().service,
        "async_creator_fn": BoundedConnection.connect,
        "cursor_factory": PipelinedCursor,
        # Poolers in transaction mode hand a session's prepared statements to others.
        "prepare_threshold": None,
    }
    engine = create_async_engine(
        url,
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
        poolclass=NullPool,
        hide_parameters=True,
        use_native_hstore=False,
        connect_args=connect_arguments,
    )
    provide_tokens(engine.sync_engine)
    # Saves the first connection four round trips, which ask for what only DDL depends on.
    engine.dialect.initialize = lambda _connection: None  # type: ignore[assignment]
    return engine


def driver_of(connection: AsyncConnection) -> BoundedConnection:
    """The driver's connection below SQLAlchemy's."""
    assert connection.sync_connection is not None
    driver = connection.sync_connection.connection.driver_connection
    assert isinstance(driver, BoundedConnection)
    return driver


def _api_error(error: DBAPIError | psycopg.Error, *, lost: bool) -> ApiError:
    state = sqlstate_of(error)
    if lost or state is None or state.startswith(TRANSIENT_ERRORS):
        return _unavailable(connection_lost=lost)
    return InternalError()


def _unavailable(*, connection_lost: bool = False) -> DatabaseUnavailable:
    return DatabaseUnavailable(
        "The database does not respond; nothing was changed.", connection_lost=connection_lost
    )


def log_failure(error: DBAPIError | psycopg.Error, reason: str | None = None) -> None:
    """What the operator needs; the driver's own text may quote a client's values."""
    logger().error(
        "database error",
        error=type(_driver_error(error)).__name__,
        sqlstate=sqlstate_of(error),
        constraint=_constraint_name(error),
        statement=error.statement if isinstance(error, DBAPIError) else None,
        reason=reason,
    )


def _log_lacking(names: list[str]) -> None:
    logger().warning(
        "the database lacks timeouts; run the migrations, which set them", lacking=names
    )


def _refused_password(error: DBAPIError) -> bool:
    """Whether the server asked for the password and then refused the connection.

    libpq tells no SQLSTATE of a failed connection, and its text is in the server's language.
    """
    driver_error = _driver_error(error)
    connection = driver_error.pgconn if isinstance(driver_error, psycopg.Error) else None
    return connection is not None and connection.used_password


def sqlstate_of(error: DBAPIError | psycopg.Error) -> str | None:
    state = getattr(_driver_error(error), "sqlstate", None)
    return None if state is None else str(state)


def _constraint_name(error: DBAPIError | psycopg.Error) -> str | None:
    diagnostic = getattr(_driver_error(error), "diag", None)
    return getattr(diagnostic, "constraint_name", None)


def _driver_error(error: DBAPIError | psycopg.Error) -> BaseException | None:
    return error.orig if isinstance(error, DBAPIError) else error


def _is_readable(driver: BoundedConnection) -> bool:
    """True where the server has closed the connection, or said something unasked."""
    socket_events = select.poll()
    socket_events.register(driver.pgconn.socket, select.POLLIN)
    return bool(socket_events.poll(0))
