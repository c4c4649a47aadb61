"""redis-py's client with a connection of its own, in place of a connection that is kept.

It has neither the longest life of a connection nor the URL from a secret, and awaits the response
to what the kept connection only sends.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from redis.asyncio.client import Redis

from shared.cache import redis_connection
from shared.cache.redis_connection import Call, Command


class ClientConnection(redis_connection.RedisConnection):
    """Sends each command by redis-py's client."""

    _client: Any = None

    async def post(self, call: Call, failed: Callable[[], None]) -> None:
        await self.run(call)

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _connected(self) -> Any:
        if self._client is None:
            self._client = Redis.from_url(
                self._url_or_arn, single_connection_client=True, protocol=2
            )
        return self._client

    async def _execute(self, connection: Any, command: Command) -> Any:
        async with asyncio.timeout(self.timeout_seconds):
            return await connection.execute_command(*command)


redis_connection.RedisConnection = ClientConnection  # type: ignore[misc]
