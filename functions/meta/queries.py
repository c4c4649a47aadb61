"""SQL of the health check."""

from sqlalchemy import select

from shared.database.reads import Reader


async def ping(reader: Reader) -> None:
    await reader.execute(select(1))
