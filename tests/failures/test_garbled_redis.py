"""Redis, or what stands before it, responds with what is no response to the command, at each step
of a request: the database's response comes all the same, and what is committed is acknowledged."""

from collections.abc import Callable
from itertools import count

import pytest

from shared.cache import scripts
from tests.failures.conftest import CACHED, DELETE, HEALTH, PATCH, POST, ProxiedApi, Route
from tests.failures.proxy import Change
from tests.failures.rows import Outcome, Row, rows
from tests.failures.test_redis import HEALTHY_SECONDS, assert_list_is_current
from tests.in_process import LambdaTransport

LEFT = Outcome("nothing: the connection is closed")
LIMITS = {"READ_LIMIT": "100000", "WRITE_LIMIT": "100000"}


def always(response: bytes) -> Change:
    return lambda _: response


GARBLED: dict[str, Change] = {
    "nonsense": always(b"\x00\xff\r\n\r\n"),
    "http": always(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
    "no-number": always(b"*x\r\n"),
    "no-integer": always(b":\xff\r\n"),
    "negative-length": always(b"$-7\r\n"),
    "huge-length": always(b"$999999999999999999999\r\nabc\r\n"),
    "huge-array": always(b"*999999999999999999999\r\n:1\r\n"),
    "nested": always(b"*1\r\n" * 5000),
    "empty-line": always(b"\r\n"),
    "error-of-bytes": always(b"-\xff\xfe\r\n"),
    "null": always(b"$-1\r\n"),
    "integer": always(b":1\r\n"),
    "ok": always(b"+OK\r\n"),
    "array": always(b"*2\r\n:1\r\n*1\r\n:7\r\n"),
    "resp3": always(b"%1\r\n+a\r\n,1.5\r\n"),
    "inverted": lambda response: bytes(255 - byte for byte in response),
    "cut": lambda response: response[: len(response) // 2],
    "lost": always(b""),
    "one-too-many": lambda response: b":1\r\n" + response,
    "one-too-many-error": lambda response: b"-NOSCRIPT none\r\n" + response,
    "twice": lambda response: response + response,
    "reversed": lambda response: response[::-1],
}


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis is called at each step, whatever failed before."""
    monkeypatch.setattr(scripts, "BREAKER_PAUSE_SECONDS", 0.0)


def uncached(proxied: ProxiedApi) -> None:
    proxied.cache.delete("writers:1:10")


def cached(proxied: ProxiedApi) -> None:
    proxied.call(CACHED)


STEPS: tuple[tuple[Callable[[ProxiedApi], None], Route], ...] = (
    (cached, CACHED),
    (uncached, CACHED),
    *((cached, route) for route in (POST, PATCH, DELETE)),
    (cached, HEALTH),
)


@pytest.mark.parametrize(
    "once", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["one", "all"]
)
@rows(*(Row(f"redis-{name}", change, LEFT, 1.0, added=True) for name, change in GARBLED.items()))
def test_garbled(proxied: ProxiedApi, row: Row[Change], *, once: bool) -> None:
    assert row.maximum_seconds is not None
    proxied.worker.restart(**LIMITS)
    proxied.transport = LambdaTransport()  # a lease whose reader does not know of it lasts 1 s
    proxied.start()
    for prepare, route in STEPS:
        for number in count(1):
            proxied.fill()
            prepare(proxied)
            proxied.redis.garble(number, row.failure, once=once)
            timed = proxied.call(route)
            assert timed.response.status_code == route.status, (route, number)
            assert timed.seconds < HEALTHY_SECONDS + row.maximum_seconds, (route, number)
            was_reached = proxied.redis.has_garbled
            proxied.heal()
            assert_list_is_current(proxied)
            if not was_reached:
                break
