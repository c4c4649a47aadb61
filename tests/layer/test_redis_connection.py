"""Calls on the worker's Redis connection: two scripts may share one, and what it may raise."""

import asyncio
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from shared.cache.redis_connection import Call, RedisConnection, Script
from shared.cache.redis_url import InvalidRedisUrl
from shared.cache.scripts import redis_scripts
from tests.certificates import make_certificate
from tests.conftest import Worker

SET = Script("redis.call('SET', KEYS[1], ARGV[1])")
ECHO = Script("return {KEYS[1], ARGV[1], #KEYS, #ARGV}", lambda result: len(result) == 4)


@pytest.mark.usefixtures("services")
def test_each_of_two_scripts_has_its_own_keys_and_arguments(
    worker: Worker, cache: redis.Redis
) -> None:
    both = Call(SET, ["one"], ["1"]).before(Call(ECHO, ["two"], ["2"]))
    results = worker.run(redis_scripts().connection.run(both))
    assert results == [None, [b"two", b"2", 1, 2]]  # the tag is an argument, too
    assert cache.get("one") == b"1"


@pytest.mark.usefixtures("services")
def test_the_first_of_three_scripts_has_its_result_beside_empty_ones(worker: Worker) -> None:
    echo, nothing = Call(ECHO, ["two"], ["2"]), Call(Script(""), [])
    both = echo.before(nothing).before(nothing)
    results = worker.run(redis_scripts().connection.run(both))
    assert results == [[[b"two", b"2", 1, 1], None], None]


@pytest.mark.usefixtures("services")
def test_an_impossible_result_of_one_of_two_scripts_is_an_invalid_response(worker: Worker) -> None:
    echo = Script(ECHO.text)  # may return only None
    both = Call(SET, ["one"], ["1"]).before(Call(echo, ["two"], ["2"]))
    with pytest.raises(redis.exceptions.InvalidResponse):
        worker.run(redis_scripts().connection.run(both))


@pytest.mark.parametrize("garbled", [b"s3cret\r\n", b":s3cret\r\n", b"$s3cret\r\n", b"+s3cret\r\n"])
def test_an_error_of_the_parser_is_an_invalid_response_that_is_not_quoted(
    worker: Worker, garbled: bytes
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(garbled)
        writer.close()

    async def ask() -> None:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            await RedisConnection(f"redis://127.0.0.1:{port}", 5).run(Call(SET, ["one"], ["1"]))

    with pytest.raises(redis.exceptions.InvalidResponse) as raised:
        worker.run(ask())
    assert "s3cret" not in str(raised.value)


def test_a_server_that_does_not_end_tls_is_not_waited_for(worker: Worker, tmp_path: Path) -> None:
    certificate = tmp_path / "certificate.pem"
    make_certificate(tmp_path / "authority.pem", certificate, "127.0.0.1", None)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)

    def answer(listener: socket.socket) -> list[ssl.SSLSocket]:
        """Answer another call than was made, and its retry; then read nothing."""
        accepted = []
        for _ in range(2):
            accepted.append(context.wrap_socket(listener.accept()[0], server_side=True))
            accepted[-1].send(b":1\r\n")
        return accepted

    async def ask(port: int) -> None:
        url = f"rediss://127.0.0.1:{port}?ssl_ca_certs={tmp_path}/authority.pem"
        async with asyncio.timeout(5):
            await RedisConnection(url, 5).run(Call(SET, ["one"], ["1"]))

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor() as server:
        listener.settimeout(5)
        answered = server.submit(answer, listener)
        with pytest.raises(redis.exceptions.InvalidResponse):
            worker.run(ask(listener.getsockname()[1]))
        for accepted in answered.result():
            accepted.close()


@pytest.mark.usefixtures("services")
def test_a_call_is_posted_on_a_new_connection_where_the_server_has_closed_the_one(
    worker: Worker, cache: redis.Redis
) -> None:
    connection, failed = redis_scripts().connection, []
    worker.run(connection.run(Call(SET, ["one"], ["1"])))
    cache.client_kill_filter(_type="normal", skipme=True)
    worker.run(connection.post(Call(SET, ["one"], ["2"]), lambda: failed.append("2")))
    worker.run(connection.run(Call(SET, ["two"], ["1"])))
    assert (cache.get("one"), failed) == (b"2", [])


@pytest.mark.usefixtures("services")
def test_pending_responses_are_read_before_an_old_connection_is_replaced(
    worker: Worker, cache: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connections() -> int:
        return int(cache.info("stats")["total_connections_received"])

    monkeypatch.setattr("shared.cache.redis_connection.CONNECTION_SECONDS", 0.0)
    connection, failed = redis_scripts().connection, []
    worker.run(connection.post(Call(SET, ["one"], ["1"]), lambda: failed.append("1")))
    before = connections()
    worker.run(connection.run(Call(SET, ["two"], ["1"])))
    assert (connections() - before, failed) == (1, [])


def test_a_url_that_cannot_be_used_is_an_error_of_whatever_is_called(worker: Worker) -> None:
    connection = RedisConnection("redis://127.0.0.1:1/nix", 1)
    with pytest.raises(InvalidRedisUrl):
        worker.run(connection.run(Call(SET, ["one"], ["1"])))
    with pytest.raises(InvalidRedisUrl):
        worker.run(connection.post(Call(SET, ["one"], ["1"]), lambda: None))
