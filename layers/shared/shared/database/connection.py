"""PostgreSQL: the one connection of an execution environment.

An execution environment serves one request at a time. Before its connection is used again it is
checked without a round trip (a connection that the server closed is readable), and pinged only
after a long idle time, as a frozen environment does not notice a lost connection. No wait outlasts
the request: a connection that does not respond by then is dropped.

Only a server that accepts writes is used: a connection that leads to a read-only one, as after a
failover that a pooler does not report, is closed. So is each after `CONNECTION_SECONDS`, so that an
environment that meets no error follows a host name to another server.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import URL, NullPool
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio.engine import AsyncConnection, AsyncEngine, create_async_engine

from shared.database.driver import BoundedConnection, PipelinedCursor
from shared.database.failures import (
    api_error,
    database_unavailable,
    is_rejected_password,
    log_failure,
    needs_new_connection,
)
from shared.database.server import database_url, provide_tokens, rejected_certificate
from shared.observability import database_time, logger
from shared.process import close_at_reset, per_process
from shared.request import Record
from shared.settings import settings
from shared.stored_secrets import SecretUnavailable

PING_AFTER_SECONDS = 30.0
CONNECTION_SECONDS = 300.0
"""Maximum lifetime of a connection."""
MIN_TCP_USER_TIMEOUT_SECONDS = 3
CERTIFICATE_REJECTED = "certificate verify failed"


class WorkerConnection:
    """The worker's one connection: made at the first query, kept while it is healthy."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self._kept: AsyncConnection | None = None
        self._idle_since = 0.0
        # Requests come one by one, but a request may read and check the server at the same time.
        self._in_use = asyncio.Lock()
        self._user: asyncio.Task[Any] | None = None

    @asynccontextmanager
    async def acquire(
        self, record: Record
    ) -> AsyncIterator[tuple[AsyncConnection, BoundedConnection]]:
        """Provide the connection, and the underlying driver connection.

        A transaction that the block leaves open is rolled back. The driver's errors are raised
        as `DatabaseUnavailable` or `InternalError`. Raises `RuntimeError` in such a block, which
        would wait for itself.
        """
        if self._in_use.locked() and self._user is asyncio.current_task():
            raise RuntimeError("the connection is in use: read by the transaction's look_up")
        async with self._in_use:
            self._user = asyncio.current_task()
            with database_time(record):
                connection = await self._healthy() or await self._connect()
            driver = driver_of(connection)
            try:
                await driver.set_session()
                yield connection, driver
            except (DBAPIError, psycopg.Error) as error:
                log_failure(error)
                driver.must_close = needs_new_connection(error)
                raise api_error(error, lost=driver.closed) from None
            finally:
                await self._keep_or_close(connection, driver)

    async def close(self) -> None:
        kept, self._kept = self._kept, None
        if kept is not None:
            await kept.close()

    async def _healthy(self) -> AsyncConnection | None:
        """Return the kept connection; None if there is none, or the server has closed it."""
        if self._kept is None:
            return None
        driver = driver_of(self._kept)
        idle_seconds = monotonic() - self._idle_since
        is_expired = monotonic() - driver.made_at > CONNECTION_SECONDS
        if not (is_expired or driver.is_readable) and (
            idle_seconds < PING_AFTER_SECONDS or await driver.is_responding()
        ):
            return self._kept
        await self._drop(self._kept, driver)
        return None

    async def _connect(self) -> AsyncConnection:
        try:
            return await self._connect_with_secret()
        except asyncio.CancelledError as cancelled:
            # The traceback refers to the half-made connection, which closes once it is collected.
            raise cancelled.with_traceback(None) from None
        except DBAPIError as error:
            log_failure(error, reason=await self._connection_failure(str(error.orig)))
            raise api_error(error, lost=False) from None

    async def _connection_failure(self, reason: str) -> str:
        """Return the driver's text and why TLS failed; no statement has been sent to be quoted."""
        if CERTIFICATE_REJECTED not in reason:
            return reason
        return f"{reason}: {await rejected_certificate(self.engine.url)}"

    async def _connect_with_secret(self) -> AsyncConnection:
        """Connect; if the password is rejected and the secret has a new URL, connect to that."""
        try:
            return await self.engine.connect()
        except DBAPIError as error:
            if not is_rejected_password(error) or (url := _readable_url()) == self.engine.url:
                raise
            logger().warning("password rejected; connecting with the secret's new one")
            self.engine = _engine(url)
            return await self.engine.connect()

    async def _keep_or_close(self, connection: AsyncConnection, driver: BoundedConnection) -> None:
        await driver.end_transaction()
        is_idle = driver.info.transaction_status == TransactionStatus.IDLE
        if is_idle and not driver.must_close:
            self._kept, self._idle_since = connection, monotonic()
        else:
            await self._drop(connection, driver)

    async def _drop(self, connection: AsyncConnection, driver: BoundedConnection) -> None:
        self._kept = None
        driver.pgconn.finish()
        await connection.invalidate()
        await connection.close()


@per_process
def worker_connection() -> WorkerConnection:
    """Return the worker's connection. Raises `DatabaseUnavailable` if its secret cannot be read."""
    connection = WorkerConnection(_engine(_readable_url()))
    close_at_reset(connection.close)
    return connection


def _readable_url() -> URL:
    try:
        return database_url()
    except SecretUnavailable as error:
        logger().error("the database's secret cannot be read", reason=str(error))
        raise database_unavailable() from None


def _engine(url: URL) -> AsyncEngine:
    """Return an engine in AUTOCOMMIT; `transaction` begins and ends transactions itself."""
    connect_seconds = settings().database_connect_timeout_seconds
    connect_arguments = {
        "connect_timeout": connect_seconds,
        "tcp_user_timeout": 1000 * max(MIN_TCP_USER_TIMEOUT_SECONDS, connect_seconds),
        "target_session_attrs": "read-write",
        "client_encoding": "utf8",
        "application_name": settings().service,
        "async_creator_fn": BoundedConnection.connect,
        "cursor_factory": PipelinedCursor,
        # Poolers in transaction mode give a session with its prepared statements to other clients.
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
    # Saves the first connection four round trips for facts that only DDL depends on.
    engine.dialect.initialize = lambda _connection: None  # type: ignore[assignment]
    return engine


def driver_of(connection: AsyncConnection) -> BoundedConnection:
    """Return the underlying driver connection."""
    assert connection.sync_connection is not None
    driver = connection.sync_connection.connection.driver_connection
    assert isinstance(driver, BoundedConnection)
    return driver
