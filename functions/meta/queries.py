"""SQL of the health check."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio.engine import AsyncConnection


async def ping(connection: AsyncConnection) -> None:
    await connection.execute(select(1))
