"""Redis is unavailable, stops responding or ends connections, at each step of a request; and
recovers."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from shared.cache import fences, pages, scripts
from tests.failures.conftest import CACHED, HEALTH, READS, WRITES, ProxiedApi, Route
from tests.failures.proxy import Failure
from tests.failures.rows import Outcome, Row, each, rows
from tests.failures.test_postgresql import COMMIT
from tests.valkey import ValkeyServer

PAUSE_SECONDS = 0.6
SETTLING_SECONDS = 0.03
HEALTHY_SECONDS = 0.25
"""The longest time of a request when nothing fails, on a busy machine."""
PATCH = WRITES[1]

SKIPPED = Outcome("nothing; readers skip Redis for 2 s and probe it, writers always try it")
FOLLOWED = Outcome("nothing: the new primary is used at once")
RECOVERED = Outcome(
    "nothing: the cache is used again, but no page from before a write that it missed"
)
DOWN = each(
    "redis-unavailable",
    [failure for failure in Failure if failure is not Failure.NONE],
    SKIPPED,
    0.7,
    added=True,
)


@dataclass(frozen=True)
class Rejection:
    """The server rejects writes between the two calls."""

    begin: Callable[[ValkeyServer], None]
    end: Callable[[ValkeyServer], None]


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The breaker's, and that of a fence that could not be removed: the cache waits for both."""
    monkeypatch.setattr(scripts, "BREAKER_PAUSE_SECONDS", PAUSE_SECONDS)
    for module in (fences, pages):
        monkeypatch.setattr(module, "FENCE_SECONDS", PAUSE_SECONDS)


def assert_responds(proxied: ProxiedApi, row: Row[Any], route: Route) -> None:
    assert row.maximum_seconds is not None
    timed = proxied.call(route)
    assert timed.response.status_code == route.status
    assert timed.seconds < HEALTHY_SECONDS + row.maximum_seconds


def _asked_when_settled(proxied: ProxiedApi) -> tuple[int, int]:
    """The proxy counts on a thread of its own, which may see a request after its timeout."""
    asked = (-1, -1)
    while asked != (proxied.redis.requests, proxied.redis.accepted):
        asked = proxied.redis.requests, proxied.redis.accepted
        time.sleep(SETTLING_SECONDS)
    return asked


def assert_redis_is_skipped(proxied: ProxiedApi) -> None:
    asked = _asked_when_settled(proxied)
    assert proxied.call(CACHED).response.status_code == 200
    assert (proxied.redis.requests, proxied.redis.accepted) == asked


def assert_list_is_current(proxied: ProxiedApi) -> None:
    listed = proxied.call(CACHED).response.json()["data"]
    assert [
        (writer["id"], writer["name"], writer["email"]) for writer in listed
    ] == proxied.writers()


def assert_recovered(proxied: ProxiedApi) -> None:
    """After the breaker's pause, and perhaps a quarantine, the list is correct, then served without
    PostgreSQL."""
    proxied.heal()
    for _ in range(2):
        time.sleep(PAUSE_SECONDS)
        assert_list_is_current(proxied)
    proxied.postgresql.failure = Failure.REFUSE
    assert_list_is_current(proxied)
    proxied.heal()


@rows(*DOWN)
def test_unavailable(proxied: ProxiedApi, row: Row[Failure]) -> None:
    proxied.start()
    proxied.redis.failure = row.failure
    for route in (CACHED, *READS, *WRITES, HEALTH):
        assert_responds(proxied, row, route)
    assert_list_is_current(proxied)
    assert_recovered(proxied)


@rows(*DOWN)
def test_a_write_is_the_first_to_find_it_unavailable(
    proxied: ProxiedApi, row: Row[Failure]
) -> None:
    proxied.start()
    proxied.redis.failure = row.failure
    assert_responds(proxied, row, PATCH)
    assert_redis_is_skipped(proxied)
    assert_recovered(proxied)


@rows(*each("redis-mid-query", (Failure.RESET, Failure.BLACKHOLE), SKIPPED, 0.3, added=True))
def test_mid_query(proxied: ProxiedApi, row: Row[Failure]) -> None:
    for route in (CACHED, *WRITES):
        proxied.start()
        proxied.redis.when_client_sends(b"generations", row.failure)
        assert_responds(proxied, row, route)
        assert_redis_is_skipped(proxied)
        assert_recovered(proxied)


@rows(
    *each(
        "redis-at-commit",
        (Failure.REFUSE, Failure.RESET, Failure.BLACKHOLE),
        SKIPPED,
        0.3,
        added=True,
    )
)
def test_at_commit(proxied: ProxiedApi, row: Row[Failure]) -> None:
    def fail() -> None:
        proxied.redis.failure = row.failure

    for route in WRITES:
        proxied.start()
        proxied.postgresql.call_when_client_sends(COMMIT, fail)
        assert_responds(proxied, row, route)
        assert_responds(proxied, row, CACHED)  # learns that what was sent has not arrived
        assert_redis_is_skipped(proxied)
        assert_recovered(proxied)


@pytest.fixture
def primary(proxied: ProxiedApi, tmp_path: Path) -> Iterator[ValkeyServer]:
    """The worker's Redis, of this test only."""
    with ValkeyServer(tmp_path / "primary") as server:
        proxied.redis.server_path = server.socket
        yield server


@rows(
    Row(
        "redis-rejects-demoted",
        Rejection(ValkeyServer.demote, ValkeyServer.promote),
        SKIPPED,
        0.3,
        added=True,
    ),
    Row(
        "redis-rejects-acl",
        Rejection(ValkeyServer.deny_writes, ValkeyServer.allow_writes),
        SKIPPED,
        0.3,
        added=True,
    ),
)
def test_rejects(proxied: ProxiedApi, primary: ValkeyServer, row: Row[Rejection]) -> None:
    proxied.start()
    row.failure.begin(primary)
    for route in (PATCH, CACHED, *READS, WRITES[0], WRITES[2], HEALTH):
        assert_responds(proxied, row, route)
        assert_list_is_current(proxied)
    assert proxied.call(HEALTH).response.json()["redis"] == "read-only"
    row.failure.end(primary)
    assert_recovered(proxied)


@rows(Row("redis-fails-over", None, FOLLOWED, 0.3, added=True))
def test_fails_over(
    proxied: ProxiedApi, primary: ValkeyServer, tmp_path: Path, row: Row[None]
) -> None:
    with ValkeyServer(tmp_path / "replica") as replica:
        replica.follow(primary)
        proxied.start()
        replica.demote()
        assert_responds(proxied, row, PATCH)  # which is not replicated
        primary.demote()
        replica.promote()
        proxied.redis.server_path = replica.socket
        assert_responds(proxied, row, CACHED)
        assert_list_is_current(proxied)
        assert_responds(proxied, row, WRITES[0])
        assert_list_is_current(proxied)


@rows(Row("redis-recovered", Failure.BLACKHOLE, RECOVERED, 0.3, added=True))
def test_recovered(proxied: ProxiedApi, row: Row[Failure]) -> None:
    """The page from before the write is still there, and was valid when Redis failed."""
    proxied.start()
    proxied.redis.failure = row.failure
    assert_responds(proxied, row, PATCH)
    before = proxied.cache.hmget("generations", "writers", "writers|all")
    assert None not in before
    assert_recovered(proxied)
    assert proxied.cache.hmget("generations", "writers", "writers|all") != before
