"""SQLAlchemy's pool of one, with a listener that checks, instead of `SandboxConnection`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import cache
from time import monotonic
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from blog import database
from blog.database import BoundedConnection
from blog.observability import database_time
from blog.settings import settings

POOL_SECONDS = 10.0
RESTED_FROM = "rested from"


class PooledConnection:
    """The same methods, over the pool."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine

    @asynccontextmanager
    async def borrowed(self) -> AsyncIterator[tuple[AsyncConnection, BoundedConnection]]:
        with database_time():
            connection = await database.SandboxConnection._connect(self)  # type: ignore[arg-type]
        driver = database.driver_of(connection)
        try:
            yield connection, driver
        except (DBAPIError, psycopg.Error) as error:
            database._log_fault(error)
            raise database._api_error(error, lost=driver.closed) from None
        finally:
            await _give_back(connection, driver)

    async def close(self) -> None:
        await self.engine.dispose()


async def _give_back(connection: AsyncConnection, driver: BoundedConnection) -> None:
    if driver.info.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
        with suppress(psycopg.Error):
            await driver.rollback()
    if driver.info.transaction_status != TransactionStatus.IDLE:
        driver.pgconn.finish()
        await connection.invalidate()
    await connection.close()


def _check(adapted: Any, record: Any, _proxy: Any) -> None:
    """Raises DisconnectionError, upon which the pool connects again."""
    driver: BoundedConnection = adapted.driver_connection
    if RESTED_FROM not in record.info:
        return
    rested_seconds = monotonic() - record.info[RESTED_FROM]
    if database._is_readable(driver) or (
        rested_seconds > database.PING_AFTER_SECONDS
        and not adapted.run_async(BoundedConnection.is_answering)
    ):
        raise DisconnectionError


def _note_rest(_adapted: Any, record: Any) -> None:
    record.info[RESTED_FROM] = monotonic()


def _engine() -> AsyncEngine:
    connect_arguments = {
        "connect_timeout": settings().database_connect_timeout_seconds,
        "tcp_user_timeout": database.TCP_USER_TIMEOUT_MILLISECONDS,
        "application_name": settings().service,
        "async_creator_fn": BoundedConnection.connect,
        "prepare_threshold": None,
    }
    engine = create_async_engine(
        database.database_url(),
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
        poolclass=AsyncAdaptedQueuePool,
        pool_size=1,
        max_overflow=0,
        pool_timeout=POOL_SECONDS,
        pool_reset_on_return=None,  # what a block leaves open is rolled back below
        hide_parameters=True,
        use_native_hstore=False,
        connect_args=connect_arguments,
    )
    event.listen(engine.sync_engine, "checkout", _check)
    event.listen(engine.sync_engine, "checkin", _note_rest)
    return engine


def _sandbox_connection() -> Any:
    return PooledConnection(_engine())


database._engine = _engine
database.sandbox_connection = cache(_sandbox_connection)
