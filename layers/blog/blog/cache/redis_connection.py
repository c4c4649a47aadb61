"""Redis: the one connection of an execution environment, a redis-py connection.

An execution environment serves one request at a time, so it needs no pool. Calls that are made at
the same time share a round trip, which redis-py's client cannot do on one connection. A response
takes no longer than `timeout_seconds`, and connecting, which is rare and may need DNS, TLS and IAM,
no longer than `connect_timeout_seconds`.

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
from typing import Any, NamedTuple

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import AuthenticationError, NoScriptError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from blog.cache.access import new_connection
from blog.secrets import SecretUnavailable, is_secret, secret_value

Argument = str | bytes | int
Command = tuple[Argument, ...]

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


class Call(NamedTuple):
    """A script to be run with these keys and arguments."""

    script: Script
    keys: Sequence[str]
    arguments: Sequence[Argument] = ()

    def by_digest(self) -> Command:
        return ("EVALSHA", self.script.digest, len(self.keys), *self.keys, *self.arguments)

    def by_text(self) -> Command:
        return ("EVAL", self.script.text, len(self.keys), *self.keys, *self.arguments)


class RedisConnection:
    """Connects at the first command, to a URL or to the one that a secret of this ARN holds.

    Commands raise `RedisError` and `OSError` (too late).
    """

    def __init__(self, url_or_arn: str, timeout_seconds: float) -> None:
        self.timeout_seconds = timeout_seconds
        self.connect_timeout_seconds = timeout_seconds
        self._url_or_arn = url_or_arn
        self._url: str | None = None
        self._connection: AbstractConnection | None = None
        self._expires_at = 0.0
        # Requests come one by one; only the health check asks from beside them.
        self._in_use = asyncio.Lock()

    async def run(self, *calls: Call) -> list[Any]:
        """Return the scripts' results, after one round trip; one more for each script that Redis
        has forgotten.

        redis-py's own scripts would need the right to SCRIPT LOAD, and two round trips more.
        """
        results = await self.execute(*(call.by_digest() for call in calls))
        for number, call in enumerate(calls):
            if isinstance(results[number], NoScriptError):
                (results[number],) = await self.execute(call.by_text())
        return results

    async def execute(self, *commands: Command) -> list[Any]:
        """Return the commands' results, after one round trip; `NoScriptError` is one of them.

        If one of them fails, all are retried once on a new connection, unless it came too late, and
        once more if that one was rejected for an outdated password.
        """
        async with self._in_use:
            for error in (RedisError, AuthenticationError):
                try:
                    return await self._execute(commands)
                except error:
                    continue
            return await self._execute(commands)

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            # TLS would wait for the server's farewell, which may never come.
            await connection.disconnect(nowait=True)

    async def _execute(self, commands: Sequence[Command]) -> list[Any]:
        try:
            connection = await self._connected()
            async with asyncio.timeout(self.timeout_seconds):
                await connection.send_packed_command(connection.pack_commands(commands))
                results = [await _response(connection) for _ in commands]
            return [_checked(result) for result in results]
        except BaseException as error:
            if isinstance(error, AuthenticationError):
                self._url = None  # the secret may hold another by now
            await self.close()
            raise

    async def _connected(self) -> AbstractConnection:
        if monotonic() > self._expires_at:
            await self.close()
        if self._connection is None:
            self._connection = self._new_connection()
            self._expires_at = monotonic() + CONNECTION_SECONDS
            async with asyncio.timeout(self.connect_timeout_seconds):
                await self._connection.connect()  # type: ignore[no-untyped-call]
        return self._connection

    def _new_connection(self) -> AbstractConnection:
        try:
            if self._url is None:
                given = self._url_or_arn
                self._url = secret_value(given) if is_secret(given) else given
        except SecretUnavailable as error:
            raise RedisConnectionError("the secret of REDIS_URL cannot be read") from error
        return new_connection(self._url)


async def _response(connection: AbstractConnection) -> Any:
    """Return the next one. An error is returned, so that those after it can be read."""
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error


def _checked(result: Any) -> Any:
    if isinstance(result, ResponseError) and not isinstance(result, NoScriptError):
        raise result
    return result
