"""Redis: the sandbox's one connection, and commands on it, each one round trip.

A sandbox serves one request at a time, so it needs no pool, and the client above a connection of
redis-py is half of a command's time. No answer takes longer than `timeout_seconds`, and nor does
connecting.

A connection on which a command fails is closed, whatever the reason: the server ended it, rejects
writes since it was demoted, or has another password. The next one is made to wherever the name
leads by then, with the password that the secret holds by then.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha1
from time import monotonic
from typing import Any

from redis.asyncio.connection import Connection, parse_url
from redis.exceptions import AuthenticationError, NoScriptError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError

from blog.secrets import SecretUnavailable, is_secret, secret_value

Argument = str | bytes | int

CONNECTION_SECONDS = 60.0
"""A connection's longest life: a sandbox that met no error follows a name that was pointed to
another server. It costs a new connection a minute."""


@dataclass(frozen=True)
class Script:
    """A Lua script, which Redis keeps under its digest."""

    text: str

    @cached_property
    def digest(self) -> str:
        return sha1(self.text.encode(), usedforsecurity=False).hexdigest()


class RedisConnection:
    """Connects at the first command, to a URL or to the one that a secret of this ARN holds.

    Commands raise `RedisError` and `OSError` (too late).
    """

    def __init__(self, url_or_arn: str, timeout_seconds: float) -> None:
        self.timeout_seconds = timeout_seconds
        self._url_or_arn = url_or_arn
        self._url: str | None = None
        self._connection: Connection | None = None
        self._expires_at = 0.0
        # A sandbox's requests come one by one; only its health check asks from beside them.
        self._in_use = asyncio.Lock()

    async def command(self, *arguments: Argument) -> Any:
        """The answer. What fails is done once more on a new connection, unless it came too late,
        and once more where that one was rejected for an outdated password."""
        async with self._in_use:
            for fault in (RedisError, AuthenticationError):
                try:
                    return await self._answer(arguments)
                except NoScriptError:
                    raise
                except fault:
                    continue
            return await self._answer(arguments)

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        """The script's answer; one more round trip where Redis has forgotten it."""
        try:
            return await self.command("EVALSHA", script.digest, len(keys), *keys, *arguments)
        except NoScriptError:
            return await self.command("EVAL", script.text, len(keys), *keys, *arguments)

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)

    async def _answer(self, arguments: Sequence[Argument]) -> Any:
        try:
            connection = await self._connected()
            async with asyncio.timeout(self.timeout_seconds):
                await connection.send_command(*arguments)
                return await connection.read_response()
        except NoScriptError:
            raise
        except BaseException as error:
            if isinstance(error, AuthenticationError):
                self._url = None  # the secret may hold another by now
            await self.close()
            raise

    async def _connected(self) -> Connection:
        if monotonic() > self._expires_at:
            await self.close()
        if self._connection is None:
            self._connection = self._new_connection()
            self._expires_at = monotonic() + CONNECTION_SECONDS
            async with asyncio.timeout(self.timeout_seconds):
                await self._connection.connect()  # type: ignore[no-untyped-call]
        return self._connection

    def _new_connection(self) -> Connection:
        try:
            if self._url is None:
                given = self._url_or_arn
                self._url = secret_value(given) if is_secret(given) else given
            options: dict[str, Any] = dict(parse_url(self._url))
        except (SecretUnavailable, ValueError) as error:
            raise RedisConnectionError("REDIS_URL leads to no URL of a Redis") from error
        # Timeouts are kept here, one for a whole command. RESP 2, as nothing is to be pushed.
        options |= {
            "socket_timeout": None,
            "socket_connect_timeout": None,
            "protocol": 2,
            "driver_info": None,
        }
        connection: Connection = options.pop("connection_class", Connection)(**options)
        return connection
