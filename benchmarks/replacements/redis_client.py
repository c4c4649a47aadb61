"""redis-py's client and its scripts instead of `blog.cache.redis_connection.RedisConnection`.

It keeps the same promises: one time-out for a whole command, and a connection that the server has
closed is replaced once.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

from blog.cache import redis_connection
from blog.cache.redis_connection import Argument, Script

SINGLE_CONNECTION = False
"""Whether the client keeps one connection instead of a pool of them."""


class RedisClient:
    def __init__(self, url: str, timeout_seconds: float) -> None:
        self.timeout_seconds = timeout_seconds
        self._client: Any = Redis.from_url(
            url,
            single_connection_client=SINGLE_CONNECTION,
            socket_timeout=None,
            socket_connect_timeout=None,
            retry=Retry(NoBackoff(), 1, (RedisConnectionError,)),
            protocol=2,
            driver_info=None,
        )
        self._scripts: dict[Script, Any] = {}

    async def command(self, *arguments: Argument) -> Any:
        async with asyncio.timeout(self.timeout_seconds):
            return await self._client.execute_command(*arguments)

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        if script not in self._scripts:
            self._scripts[script] = self._client.register_script(script.text)
        async with asyncio.timeout(self.timeout_seconds):
            return await self._scripts[script](keys=keys, args=arguments)

    async def close(self) -> None:
        await self._client.aclose()


redis_connection.RedisConnection = RedisClient  # type: ignore[misc, assignment]
