"""Redis: the sandbox's one connection, and commands on it, each one round trip.

A sandbox serves one request at a time, so it needs no pool, and the client above a connection of
redis-py is half of a command's time. No answer takes longer than `timeout_seconds`, and nor does
connecting.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha1
from typing import Any

from redis.asyncio.connection import Connection, parse_url
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError

Argument = str | bytes | int


@dataclass(frozen=True)
class Script:
    """A Lua script, which Redis keeps under its digest."""

    text: str

    @cached_property
    def digest(self) -> str:
        return sha1(self.text.encode(), usedforsecurity=False).hexdigest()


class RedisConnection:
    """Connects at the first command. Commands raise `RedisError` and `OSError` (too late)."""

    def __init__(self, url: str, timeout_seconds: float) -> None:
        self.timeout_seconds = timeout_seconds
        options: dict[str, Any] = dict(parse_url(url))
        kind = options.pop("connection_class", Connection)
        # Timeouts are kept here, one for a whole command. RESP 2, as nothing is to be pushed.
        self._connection: Connection = kind(
            socket_timeout=None,
            socket_connect_timeout=None,
            protocol=2,
            driver_info=None,
            **options,
        )
        # A sandbox's requests come one by one; only its health check asks from beside them.
        self._in_use = asyncio.Lock()

    async def command(self, *arguments: Argument) -> Any:
        """The answer. A connection that the server closed meanwhile is replaced once."""
        async with self._in_use:
            try:
                return await self._answer(arguments)
            except RedisConnectionError:
                if self._connection.is_connected:
                    raise
                return await self._answer(arguments)

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        """The script's answer; one more round trip where Redis has forgotten it."""
        try:
            return await self.command("EVALSHA", script.digest, len(keys), *keys, *arguments)
        except NoScriptError:
            return await self.command("EVAL", script.text, len(keys), *keys, *arguments)

    async def close(self) -> None:
        await self._connection.disconnect()

    async def _answer(self, arguments: Sequence[Argument]) -> Any:
        connection = self._connection
        if not connection.is_connected:
            async with asyncio.timeout(self.timeout_seconds):
                await connection.connect()  # type: ignore[no-untyped-call]
        async with asyncio.timeout(self.timeout_seconds):
            await connection.send_command(*arguments)
            return await connection.read_response()
