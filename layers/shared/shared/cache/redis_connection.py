"""Redis: the one connection of an execution environment, a redis-py connection.

An execution environment serves one request at a time, so it needs no pool. A call may be sent
without awaiting its response (`post`), which redis-py's client cannot do. A response takes no
longer than `timeout_seconds`, and connecting, which is rare and may need DNS, TLS and IAM, no
longer than `connect_timeout_seconds`.

A connection on which a command fails is closed, whatever the reason: the server ended it, was
demoted and rejects writes, has a new password, or sent something other than a response. The next
connection resolves the host name again, and uses the secret's current password.

A response that was not awaited is read before that of the next call. The environment may have been
frozen since, and the connection lost: a missing response, or an error, counts as a failed call.

Each response begins with its call's tag, so that none is mistaken for another's, even if a proxy
drops or repeats one.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from hashlib import sha1
from secrets import token_bytes
from time import monotonic
from typing import Any, NamedTuple

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import (
    AuthenticationError,
    InvalidResponse,
    NoScriptError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from shared.cache.redis_url import InvalidRedisUrl, new_connection
from shared.stored_secrets import SecretUnavailable, is_secret, secret_value

Argument = str | bytes | int
Command = tuple[Argument, ...]

CONNECTION_SECONDS = 60.0
"""Maximum lifetime of a connection, so that an environment that meets no error follows a host name
to another server."""
TAG_BYTES = 8
POSTED_BYTES = 16 * 1024
"""The largest command that is sent without awaiting its response: it fits into the buffer of a
socket at once, so an environment that is frozen then has sent all of it."""


def is_none(result: Any) -> bool:
    return result is None


@dataclass(frozen=True)
class Script:
    """A Lua script, which Redis keeps under its digest. `is_result` checks what it returns."""

    text: str
    is_result: Callable[[Any], bool] = is_none

    @cached_property
    def tagged(self) -> str:
        """The script that Redis runs: it returns its last argument, and then the result."""
        return f"local function run() {self.text} end return {{ARGV[#ARGV], run() or false}}"

    @cached_property
    def digest(self) -> str:
        return sha1(self.tagged.encode(), usedforsecurity=False).hexdigest()


@cache
def both(first: Script, second: Script) -> Script:
    """Return a script that runs both, each with its own keys and arguments."""

    def are_results(results: Any) -> bool:
        match results:
            case [result, other]:
                return first.is_result(result) and second.is_result(other)
        return False

    return Script(
        f"""
local function first(KEYS, ARGV) {first.text} end
local function second(KEYS, ARGV) {second.text} end
local keys, arguments = tonumber(ARGV[1]), tonumber(ARGV[2]) + 2
return {{first({{unpack(KEYS, 1, keys)}}, {{unpack(ARGV, 3, arguments)}}) or false,
    second({{unpack(KEYS, keys + 1)}}, {{unpack(ARGV, arguments + 1)}}) or false}}
""",
        are_results,
    )


class Call(NamedTuple):
    """A script to be run with these keys and arguments."""

    script: Script
    keys: Sequence[str]
    arguments: Sequence[Argument] = ()

    def before(self, other: "Call") -> "Call":
        """Return one call of both scripts, whose result is a list of both results."""
        sizes = (len(self.keys), len(self.arguments))
        return Call(
            both(self.script, other.script),
            [*self.keys, *other.keys],
            [*sizes, *self.arguments, *other.arguments],
        )

    def evalsha(self, tag: bytes) -> Command:
        return ("EVALSHA", self.script.digest, len(self.keys), *self.keys, *self.arguments, tag)

    def eval(self, tag: bytes) -> Command:
        return ("EVAL", self.script.tagged, len(self.keys), *self.keys, *self.arguments, tag)

    def result_in(self, response: Any, tag: bytes) -> Any:
        """Return the script's result. Raises `InvalidResponse` if it responds to another call."""
        match response:
            case [bytes() as sent, result] if sent == tag and self.script.is_result(result):
                return result
        raise InvalidResponse("not the response to this call")


class Owed(NamedTuple):
    """A call whose response has not been read; `failed` is called if it fails."""

    call: Call
    tag: bytes
    failed: Callable[[], None]


class PostedCallFailed(RedisError):
    """A call that was sent without awaiting its response has failed."""


class RedisConnection:
    """Connects at the first call, to a URL or to the URL in the secret with that ARN.

    Raises `RedisError` and `OSError` (a timeout), and no other error: for malformed responses
    redis-py's parser raises errors that may quote them.
    """

    def __init__(self, url_or_arn: str, timeout_seconds: float) -> None:
        self.timeout_seconds = timeout_seconds
        self.connect_timeout_seconds = timeout_seconds
        self.was_rejected = False
        """Whether the server has rejected a call, in any attempt, since this was set to False."""
        self._url_or_arn = url_or_arn
        self._url: str | None = None
        self._connection: AbstractConnection | None = None
        self._expires_at = 0.0
        self._owed: list[Owed] = []
        # Requests come one by one, but calls of one request may be made at the same time.
        self._in_use = asyncio.Lock()

    async def run(self, call: Call) -> Any:
        """Return the script's result, after one round trip; two if Redis has forgotten the script.

        A call that fails is retried once on a new connection, unless it timed out, and once more
        if the new connection was rejected for an outdated password. Raises `PostedCallFailed`,
        without a retry, if a call that was posted before has failed. redis-py's own scripts would
        need the right to SCRIPT LOAD, and two more round trips.
        """
        async with self._in_use:
            for error in (RedisError, AuthenticationError):
                try:
                    return await self._run(call)
                except (InvalidRedisUrl, PostedCallFailed):
                    raise
                except error:
                    continue
            return await self._run(call)

    async def post(self, call: Call, failed: Callable[[], None]) -> None:
        """Send a call without awaiting its response; `failed` is called if the response is an
        error, or missing.

        Raises the errors of `run` if the call cannot be sent, or is too large for that, and fails.
        """
        tag = token_bytes(TAG_BYTES)
        command = call.eval(tag)  # EVALSHA would tell too late that Redis lacks the script
        if sum(map(_size, command)) > POSTED_BYTES:
            await self.run(call)
            return
        async with self._in_use:
            try:
                await self._send(command)
            except InvalidRedisUrl:
                raise
            except RedisError:
                await self._send(command)
            self._owed.append(Owed(call, tag, failed))

    async def close(self) -> None:
        while self._owed:
            self._owed.pop().failed()
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                # TLS would wait for the server's close_notify, which may never come.
                await connection.disconnect(nowait=True)

    async def _run(self, call: Call) -> Any:
        tag = token_bytes(TAG_BYTES)
        try:
            connection = await self._connected()
            try:
                response = await self._execute(connection, call.evalsha(tag))
            except NoScriptError:
                response = await self._execute(connection, call.eval(tag))
            return call.result_in(response, tag)
        except BaseException as error:  # noqa: BLE001 - it is raised, translated
            raise await self._close_after(error) from None

    async def _send(self, command: Command) -> None:
        try:
            connection = await self._connected()
            async with asyncio.timeout(self.timeout_seconds):
                await connection.send_packed_command(connection.pack_commands([command]))
        except BaseException as error:  # noqa: BLE001 - it is raised, translated
            raise await self._close_after(error) from None

    async def _execute(self, connection: AbstractConnection, command: Command) -> Any:
        """Return the response, after one round trip."""
        async with asyncio.timeout(self.timeout_seconds):
            await connection.send_packed_command(connection.pack_commands([command]))
            await self._read_owed(connection)
            return await connection.read_response()

    async def _read_owed(self, connection: AbstractConnection) -> None:
        while self._owed:
            call, tag, _ = self._owed[0]
            call.result_in(await connection.read_response(), tag)
            del self._owed[0]

    async def _close_after(self, error: BaseException) -> BaseException:
        """Close the connection, and return the error to raise."""
        is_owed = bool(self._owed)
        if isinstance(error, (AuthenticationError, InvalidRedisUrl)):
            self._url = None  # the secret may hold another URL by now
        await self.close()
        self.was_rejected |= isinstance(error, ResponseError)
        kind = type(error).__name__
        if not isinstance(error, Exception):
            return error
        if is_owed:
            return PostedCallFailed(kind)
        if isinstance(error, (RedisError, OSError)) and not isinstance(error, InvalidResponse):
            return error
        return InvalidResponse(f"no valid response of a Redis ({kind})")

    async def _connected(self) -> AbstractConnection:
        if self._connection is not None and monotonic() > self._expires_at:
            async with asyncio.timeout(self.timeout_seconds):
                await self._read_owed(self._connection)
            await self.close()
        if self._connection is None:
            self._connection = self._new_connection()
            self._expires_at = monotonic() + CONNECTION_SECONDS
            try:
                async with asyncio.timeout(self.connect_timeout_seconds):
                    await self._connection.connect()  # type: ignore[no-untyped-call]
            except ResponseError as error:  # not a rejected write: none has been sent
                raise RedisConnectionError(str(error)) from error
        return self._connection

    def _new_connection(self) -> AbstractConnection:
        try:
            if self._url is None:
                given = self._url_or_arn
                self._url = secret_value(given) if is_secret(given) else given
        except SecretUnavailable as error:
            raise RedisConnectionError("the secret of REDIS_URL cannot be read") from error
        return new_connection(self._url)


def _size(part: Argument) -> int:
    return len(part) if isinstance(part, str | bytes) else len(str(part))
