"""SQLAlchemy's pool of one, with a listener that checks it, instead of a connection that is kept.

It keeps the same promises: a connection that the server has closed is replaced without a round
trip, one that was idle for long is pinged, and what a block leaves open is rolled back in bounded
time.
"""

from time import monotonic
from typing import Any

from psycopg.pq import TransactionStatus
from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from shared.database import connection as database
from shared.database.driver import BoundedConnection

IDLE_SINCE = "idle since"


class PooledConnection(database.WorkerConnection):
    """From the pool, and back into it, for each block."""

    async def close(self) -> None:
        await self.engine.dispose()

    async def _healthy(self) -> None:
        return None

    async def _keep_or_close(self, connection: AsyncConnection, driver: BoundedConnection) -> None:
        await driver.end_transaction()
        if driver.info.transaction_status == TransactionStatus.IDLE:
            await connection.close()
        else:
            await self._drop(connection, driver)


def _check(adapted: Any, record: Any, _proxy: Any) -> None:
    """Raises DisconnectionError, upon which the pool connects again."""
    driver: BoundedConnection = adapted.driver_connection
    if IDLE_SINCE not in record.info:
        return
    idle_seconds = monotonic() - record.info[IDLE_SINCE]
    if driver.is_readable or (
        idle_seconds > database.PING_AFTER_SECONDS
        and not adapted.run_async(BoundedConnection.is_responding)
    ):
        raise DisconnectionError


def _note_return(_adapted: Any, record: Any) -> None:
    record.info[IDLE_SINCE] = monotonic()


def _create_engine(url: Any, **options: Any) -> AsyncEngine:
    options |= {"poolclass": AsyncAdaptedQueuePool, "pool_size": 1, "max_overflow": 0}
    engine = create_async_engine(url, **options, pool_reset_on_return=None)
    event.listen(engine.sync_engine, "checkout", _check)
    event.listen(engine.sync_engine, "checkin", _note_return)
    return engine


database.create_async_engine = _create_engine  # type: ignore[attr-defined]
database.WorkerConnection = PooledConnection  # type: ignore[misc]
