"""SQL of the health check."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection


async def ping(connection: AsyncConnection) -> None:
    await connection.execute(select(1))
