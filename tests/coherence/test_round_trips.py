"""What the cache costs in round trips to Redis, counted on the wire.

A hit is one, a miss two, a write two whatever it invalidates: one more than the textbook's delete
after COMMIT. Scripts are called by their hash; a Redis that forgot them is taught again, once a
script, and the client sees nothing of it.

A round trip is a turn: bytes to the server that follow bytes from it. They are counted by a proxy
between the functions and Redis, when the connection is warm.
"""

import asyncio
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from local.services import Services
from tests.conftest import Sandbox

CHUNK_BYTES = 65_536
TEXTBOOK_TURNS_OF_A_WRITE = 1
TURNS_OF_TEACHING = 2
"""The answer that the script is unknown, and loading it."""

Client = Any


class CountingProxy:
    """A TCP proxy before a Unix socket, which runs while the loop that started it runs."""

    def __init__(self, upstream_path: str) -> None:
        self.turns = 0
        self.sent = b""
        self._is_servers_turn = False
        self._upstream_path = upstream_path
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> str:
        """The Redis URL of the proxy."""
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        return f"redis://127.0.0.1:{port}/0"

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def forget(self) -> None:
        self.turns = 0
        self.sent = b""

    async def _relay(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        server, to_server = await asyncio.open_unix_connection(self._upstream_path)
        answers = asyncio.create_task(self._pass_answers(server, to_client))
        try:
            await self._pass_questions(client, to_server, answers)
        except asyncio.CancelledError:
            pass  # the end of the test
        finally:
            answers.cancel()
            to_server.close()
            to_client.close()

    async def _pass_questions(
        self,
        client: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
        answers: asyncio.Task[None],
    ) -> None:
        while not answers.done() and (question := await client.read(CHUNK_BYTES)):
            # One sandbox has one request under way, so all that it sends before an answer is
            # one turn, however many packets it comes in.
            self._count(question)
            to_server.write(question)
            await to_server.drain()

    async def _pass_answers(
        self, server: asyncio.StreamReader, to_client: asyncio.StreamWriter
    ) -> None:
        while answer := await server.read(CHUNK_BYTES):
            self._is_servers_turn = False
            to_client.write(answer)
            await to_client.drain()

    def _count(self, question: bytes) -> None:
        if not self._is_servers_turn:
            self.turns += 1
        self._is_servers_turn = True
        self.sent += question


@pytest.fixture
def proxy(sandbox: Sandbox, services: Services) -> Iterator[CountingProxy]:
    """The way of this sandbox to Redis."""
    proxy = CountingProxy(urlsplit(services.redis_url).path)
    sandbox.restart(REDIS_URL=sandbox.run(proxy.start()), REDIS_TIMEOUT_SECONDS="1")
    yield proxy
    sandbox.close()
    sandbox.run(proxy.stop())


@pytest.fixture
def warm_api(api: httpx.Client, proxy: CountingProxy) -> httpx.Client:
    """The API with connections open, scripts loaded, one user, and its list in the cache."""
    create_user(api, "ada")
    list_users(api)
    proxy.forget()
    return api


def create_user(api: httpx.Client, name: str) -> None:
    body = {"name": name, "email": f"{name}@example.com"}
    assert api.post("/users", json=body).status_code == 201


def list_users(api: httpx.Client) -> int:
    response = api.get("/users")
    assert response.status_code == 200
    return int(response.json()["total"])


def test_a_hit_is_one_round_trip(warm_api: httpx.Client, proxy: CountingProxy) -> None:
    list_users(warm_api)
    assert proxy.turns == 1


def test_a_miss_is_two_round_trips(
    warm_api: httpx.Client, proxy: CountingProxy, cache: Client
) -> None:
    cache.delete("users:generation")
    list_users(warm_api)
    assert proxy.turns == 2


def test_a_read_during_a_write_is_one_round_trip(
    warm_api: httpx.Client, proxy: CountingProxy, cache: Client
) -> None:
    cache.delete("users:generation")
    cache.zadd("users:fence", {"a writer": 1e15})
    list_users(warm_api)
    assert proxy.turns == 1


def test_a_write_is_one_round_trip_more_than_the_textbooks(
    warm_api: httpx.Client, proxy: CountingProxy
) -> None:
    create_user(warm_api, "bob")
    assert proxy.turns == TEXTBOOK_TURNS_OF_A_WRITE + 1


def test_a_write_that_ends_two_lists_costs_no_more(
    warm_api: httpx.Client, proxy: CountingProxy
) -> None:
    assert warm_api.delete("/users/1").status_code == 204
    assert proxy.turns == TEXTBOOK_TURNS_OF_A_WRITE + 1


def test_what_is_not_cached_does_not_ask_redis(
    warm_api: httpx.Client, proxy: CountingProxy
) -> None:
    warm_api.get("/users/1")
    warm_api.get("/users/search", params={"name": "ada"})
    warm_api.get("/users?skip=1&limit=10")
    assert proxy.turns == 0


def test_scripts_are_called_by_their_hash(
    warm_api: httpx.Client, proxy: CountingProxy, cache: Client
) -> None:
    cache.delete("users:generation")
    list_users(warm_api)
    create_user(warm_api, "bob")

    assert proxy.sent.count(b"EVALSHA\r\n") == proxy.turns == 4
    assert b"redis.call" not in proxy.sent


def test_a_redis_that_forgot_the_scripts_is_taught_them_once(
    warm_api: httpx.Client, proxy: CountingProxy, cache: Client
) -> None:
    cache.script_flush()
    create_user(warm_api, "bob")
    scripts = 2
    assert proxy.turns <= scripts * (1 + TURNS_OF_TEACHING)
    proxy.forget()
    create_user(warm_api, "eve")
    assert proxy.turns == scripts

    assert [list_users(warm_api), list_users(warm_api)] == [3, 3]
    proxy.forget()
    assert list_users(warm_api) == 3
    assert proxy.turns == 1
