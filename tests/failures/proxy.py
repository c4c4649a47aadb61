"""A TCP proxy before a server's Unix socket that fails on command.

    with FailingProxy("/dir/server.sock") as proxy:
        proxy.failure = Failure.BLACKHOLE        # from now on, for old and new connections
        proxy.failure = Failure.NONE             # healed; what a blackhole swallowed stays lost
        proxy.when_client_sends(b"COMMIT", Failure.RESET)
    proxy.garble(2, lambda response: b"nonsense")

It runs in a thread with an event loop of its own; its methods may be called from any thread, and
have taken effect when they return. A connection that met a blackhole stays silent.
"""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self, TypeVar

CHUNK_BYTES = 64 * 1024
LATENCY_SECONDS = 1.0
DRIP_SECONDS = 0.05
START_SECONDS = 5.0
# Linger on, for 0 seconds: close() sends RST.
RESET_ON_CLOSE = struct.pack("ii", 1, 0)

R = TypeVar("R")
Change = Callable[[bytes], bytes]


class Failure(StrEnum):
    NONE = "none"
    REFUSE = "refuse"
    """No new connections, and the old ones closed: the server has ended."""
    RESET = "reset"
    """Each connection, old and new, is reset."""
    BLACKHOLE = "blackhole"
    """Connections are accepted; nothing passes, in either direction."""
    LATENCY = "latency"
    """Each response comes `LATENCY_SECONDS` later."""
    DRIP = "drip"
    """Responses come a byte at a time, one each `DRIP_SECONDS`."""
    HALF_CLOSE = "half-close"
    """The server's side is closed in order, the client's is still read."""


@dataclass
class Trigger:
    """An action at the next request that contains `pattern`: before the server has it, or when it
    has `responded`."""

    pattern: bytes
    strike: Callable[[], None]
    responded: bool


@dataclass
class Garbling:
    change: Change
    number: int
    once: bool

    def of(self, response: bytes) -> bytes:
        self.number -= 1
        is_changed = self.number == 0 or (self.number < 0 and not self.once)
        return self.change(response) if is_changed else response


class Connection:
    """One client's connection, with the server's behind it."""

    def __init__(self, client: asyncio.StreamWriter) -> None:
        self.client = client
        self.silent = False
        self.striking: Trigger | None = None

    def reset(self) -> None:
        self.client.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE
        )
        self.client.transport.abort()
        self.silent = True

    def half_close(self) -> None:
        if not self.client.is_closing() and self.client.can_write_eof():
            self.client.write_eof()
        self.silent = True


class FailingProxy:
    def __init__(self, server_path: str) -> None:
        self.server_path = server_path
        self.accepted = 0
        self.requests = 0
        self._failure = Failure.NONE
        self._trigger: Trigger | None = None
        self._garbling: Garbling | None = None
        self._connections: set[Connection] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._wait_for(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._wait_for(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def failure(self) -> Failure:
        return self._failure

    @failure.setter
    def failure(self, failure: Failure) -> None:
        self._trigger = self._garbling = None
        self._wait_for(self._set(failure))

    def when_client_sends(
        self, pattern: bytes, failure: Failure, *, responded: bool = False, once: bool = False
    ) -> None:
        """Turn proxied at the next request with `pattern`, which is lost.

        `responded`: it reaches the server, and its response is lost. `once`: connections made later
        are healthy.
        """

        def strike() -> None:
            self._apply(failure)
            if once:
                self._failure = Failure.NONE

        self._trigger = Trigger(pattern, strike, responded)

    def call_when_client_sends(self, pattern: bytes, strike: Callable[[], None]) -> None:
        """Call `strike` before the next request with `pattern` is passed to the server."""
        self._trigger = Trigger(pattern, strike, responded=False)

    def garble(self, number: int, change: Change, *, once: bool = True) -> None:
        """Change the server's responses from this number on (1: the next one), or only this one."""
        self._garbling = Garbling(change, number, once)

    @property
    def has_garbled(self) -> bool:
        return self._garbling is not None and self._garbling.number <= 0

    def _wait_for(self, step: Coroutine[Any, Any, R]) -> R:
        return asyncio.run_coroutine_threadsafe(step, self._loop).result(START_SECONDS)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _end(self) -> None:
        if self._server is not None:
            self._server.close()
        for connection in self._connections:
            connection.client.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _set(self, failure: Failure) -> None:
        self._apply(failure)
        if failure is not Failure.REFUSE and self._server is None:
            await self._listen()

    def _apply(self, failure: Failure) -> None:
        """As of now, also for the connections that exist."""
        self._failure = failure
        if failure is Failure.REFUSE and self._server is not None:
            self._server.close()
            self._server = None
        for connection in self._connections:
            self._strike(connection)

    def _strike(self, connection: Connection) -> None:
        if self._failure in (Failure.REFUSE, Failure.RESET):
            connection.reset()
        elif self._failure is Failure.HALF_CLOSE:
            connection.half_close()
        elif self._failure is Failure.BLACKHOLE:
            connection.silent = True

    async def _serve(self, requests: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self._keep(asyncio.current_task())
        connection = Connection(client)
        self._connections.add(connection)
        self._strike(connection)
        try:
            await self._relay(connection, requests)
        finally:
            self._connections.discard(connection)
            client.transport.abort()

    def _keep(self, task: asyncio.Task[None] | None) -> None:
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _relay(self, connection: Connection, requests: asyncio.StreamReader) -> None:
        try:
            server_reader, server = await asyncio.open_unix_connection(self.server_path)
        except OSError:  # the server itself is away
            return
        responses = asyncio.create_task(self._pass_responses(connection, server_reader))
        self._keep(responses)
        try:
            await self._pass_requests(connection, requests, server)
        finally:
            responses.cancel()
            server.close()

    async def _pass_requests(
        self, connection: Connection, client: asyncio.StreamReader, server: asyncio.StreamWriter
    ) -> None:
        with suppress(OSError):
            while request := await client.read(CHUNK_BYTES):
                self.requests += 1
                self._pull_trigger(connection, request)
                if not connection.silent:
                    server.write(request)
                    await server.drain()

    def _pull_trigger(self, connection: Connection, request: bytes) -> None:
        trigger = self._trigger
        if trigger is None or trigger.pattern not in request:
            return
        self._trigger = None
        if trigger.responded:
            connection.striking = trigger
        else:
            trigger.strike()

    async def _pass_responses(self, connection: Connection, server: asyncio.StreamReader) -> None:
        with suppress(OSError):
            while response := await server.read(CHUNK_BYTES):
                if connection.striking is not None:
                    connection.striking.strike()
                    connection.striking = None
                if not connection.silent:
                    await self._pass_response(connection, response)
        if not connection.silent:
            connection.client.close()

    async def _pass_response(self, connection: Connection, response: bytes) -> None:
        if self._garbling is not None:
            response = self._garbling.of(response)
        if self._failure is Failure.LATENCY:
            await asyncio.sleep(LATENCY_SECONDS)
        step = 1 if self._failure is Failure.DRIP else len(response)
        for start in range(0, len(response), step):
            connection.client.write(response[start : start + step])
            await connection.client.drain()
            if step < len(response):
                await asyncio.sleep(DRIP_SECONDS)
