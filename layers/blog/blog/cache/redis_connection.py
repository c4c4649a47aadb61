"""Redis: the one connection of an execution environment, by redis-py's client.

An execution environment serves one request at a time, so it needs no pool. Neither connecting nor
a response takes longer than `timeout_seconds`.

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

from redis.asyncio.client import Redis
from redis.exceptions import AuthenticationError, NoScriptError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError

from blog.cache.access import redis_client
from blog.secrets import SecretUnavailable, is_secret, secret_value

Argument = str | bytes | int

CONNECTION_SECONDS = 60.0
"""A connection's longest life: an environment that met no error follows a name that was pointed to
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
        self._client: Redis | None = None
        self._expires_at = 0.0
        # Requests come one by one; only the health check asks from beside them.
        self._in_use = asyncio.Lock()

    async def command(self, *arguments: Argument) -> Any:
        """The response. A command that fails is retried once on a new connection, unless it came
        too late, and once more if that one was rejected for an outdated password."""
        async with self._in_use:
            for error in (RedisError, AuthenticationError):
                try:
                    return await self._execute(arguments)
                except NoScriptError:
                    raise
                except error:
                    continue
            return await self._execute(arguments)

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        """The script's response; one more round trip if Redis has forgotten the script.

        redis-py's own scripts would need the right to SCRIPT LOAD, and two round trips more.
        """
        try:
            return await self.command("EVALSHA", script.digest, len(keys), *keys, *arguments)
        except NoScriptError:
            return await self.command("EVAL", script.text, len(keys), *keys, *arguments)

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is None:
            return
        if client.connection is not None:
            # TLS would wait for the server's farewell, which may never come.
            await client.connection.disconnect(nowait=True)
        await client.aclose()

    async def _execute(self, arguments: Sequence[Argument]) -> Any:
        try:
            client = await self._connected()
            async with asyncio.timeout(self.timeout_seconds):
                return await client.execute_command(*arguments)  # type: ignore[no-untyped-call]
        except NoScriptError:
            raise
        except BaseException as error:
            if isinstance(error, AuthenticationError):
                self._url = None  # the secret may hold another by now
            await self.close()
            raise

    async def _connected(self) -> Redis:
        if monotonic() > self._expires_at:
            await self.close()
        if self._client is None:
            self._client = self._new_client()
            self._expires_at = monotonic() + CONNECTION_SECONDS
            async with asyncio.timeout(self.timeout_seconds):
                await self._client.initialize()
        return self._client

    def _new_client(self) -> Redis:
        try:
            if self._url is None:
                given = self._url_or_arn
                self._url = secret_value(given) if is_secret(given) else given
        except SecretUnavailable as error:
            raise RedisConnectionError("the secret of REDIS_URL cannot be read") from error
        return redis_client(self._url)
