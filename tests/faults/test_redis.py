"""Redis goes away, falls silent or breaks off, at each moment of a request; and comes back."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from blog.cache import pages as blog_cache
from tests.faults.conftest import CACHED, HEALTH, READS, WRITES, FaultyApi, Route
from tests.faults.proxy import Fault
from tests.faults.rows import Row, rows
from tests.faults.test_postgresql import COMMIT, fault_of
from tests.valkey import ValkeyServer

PAUSE_SECONDS = 0.6
SETTLING_SECONDS = 0.03
SOUND_SECONDS = 0.25
"""What a request takes at most when nothing is at fault, on a busy machine."""
PATCH = WRITES[1]


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of a fence that could not be taken down: the cache is back when both are over."""
    monkeypatch.setattr(blog_cache, "BREAKER_PAUSE_SECONDS", PAUSE_SECONDS)
    monkeypatch.setattr(blog_cache, "FENCE_SECONDS", PAUSE_SECONDS)


def assert_answered(faulty: FaultyApi, row: Row, route: Route) -> None:
    assert row.seconds_at_most is not None
    timed = faulty.call(route)
    assert timed.answer.status_code == route.status
    assert timed.seconds < SOUND_SECONDS + row.seconds_at_most


def _asked_when_settled(faulty: FaultyApi) -> tuple[int, int]:
    """The proxy counts on a thread of its own, which may see a request after its client gave up."""
    asked = (-1, -1)
    while asked != (faulty.redis.requests, faulty.redis.accepted):
        asked = faulty.redis.requests, faulty.redis.accepted
        time.sleep(SETTLING_SECONDS)
    return asked


def assert_redis_is_skipped(faulty: FaultyApi) -> None:
    asked = _asked_when_settled(faulty)
    assert faulty.call(CACHED).answer.status_code == 200
    assert (faulty.redis.requests, faulty.redis.accepted) == asked


def assert_list_is_true(faulty: FaultyApi) -> None:
    listed = faulty.call(CACHED).answer.json()["data"]
    assert [(user["id"], user["name"], user["email"]) for user in listed] == faulty.users()


def assert_back(faulty: FaultyApi) -> None:
    """After the breaker's pause the list is true, and then served without PostgreSQL."""
    faulty.heal()
    time.sleep(PAUSE_SECONDS)
    assert_list_is_true(faulty)
    faulty.postgresql.fault = Fault.REFUSE
    assert_list_is_true(faulty)
    faulty.heal()


@rows("redis-away")
def test_away(faulty: FaultyApi, row: Row) -> None:
    faulty.start()
    faulty.redis.fault = fault_of(row)
    for route in (CACHED, *READS, *WRITES, HEALTH):
        assert_answered(faulty, row, route)
    assert_list_is_true(faulty)
    assert_back(faulty)


@rows("redis-away")
def test_a_write_alone_while_it_is_away(faulty: FaultyApi, row: Row) -> None:
    faulty.start()
    faulty.redis.fault = fault_of(row)
    assert_answered(faulty, row, PATCH)
    assert_redis_is_skipped(faulty)
    assert_back(faulty)


@rows("redis-mid-query")
def test_mid_query(faulty: FaultyApi, row: Row) -> None:
    for route in (CACHED, *WRITES):
        faulty.start()
        faulty.redis.when_client_sends(b"users:generation", fault_of(row))
        assert_answered(faulty, row, route)
        assert_redis_is_skipped(faulty)
        assert_back(faulty)


@rows("redis-at-commit")
def test_at_commit(faulty: FaultyApi, row: Row) -> None:
    def strike() -> None:
        faulty.redis.fault = fault_of(row)

    for route in WRITES:
        faulty.start()
        faulty.postgresql.call_when_client_sends(COMMIT, strike)
        assert_answered(faulty, row, route)
        assert_redis_is_skipped(faulty)
        assert_back(faulty)


@pytest.fixture
def primary(faulty: FaultyApi, tmp_path: Path) -> Iterator[ValkeyServer]:
    """The sandbox's Redis, which is for this test alone."""
    with ValkeyServer(tmp_path / "primary") as server:
        faulty.redis.server_path = server.socket
        yield server


@rows("redis-rejects")
def test_rejects(faulty: FaultyApi, primary: ValkeyServer, row: Row) -> None:
    reject, accept = {
        "redis-rejects-demoted": (primary.demote, primary.promote),
        "redis-rejects-acl": (primary.deny_writes, primary.allow_writes),
    }[row.name]
    faulty.start()
    reject()
    for route in (PATCH, CACHED, *READS, WRITES[0], WRITES[2], HEALTH):
        assert_answered(faulty, row, route)
        assert_list_is_true(faulty)
    assert faulty.call(HEALTH).answer.json()["redis"] == "read-only"
    accept()
    assert_back(faulty)


@rows("redis-fails-over")
def test_fails_over(faulty: FaultyApi, primary: ValkeyServer, tmp_path: Path, row: Row) -> None:
    with ValkeyServer(tmp_path / "replica") as replica:
        replica.follow(primary)
        faulty.start()
        replica.demote()
        assert_answered(faulty, row, PATCH)  # which is not replicated
        primary.demote()
        replica.promote()
        faulty.redis.server_path = replica.socket
        assert_answered(faulty, row, CACHED)
        assert_list_is_true(faulty)
        assert replica.command("EXISTS", "users:1:10")
        assert_answered(faulty, row, WRITES[0])
        assert_list_is_true(faulty)


@rows("redis-back")
def test_back(faulty: FaultyApi, row: Row) -> None:
    """The page from before the write is still there, and was valid when Redis fell silent."""
    faulty.start()
    faulty.redis.fault = Fault.BLACKHOLE
    assert_answered(faulty, row, PATCH)
    before = faulty.cache.get("users:generation")
    assert before is not None
    assert_back(faulty)
    assert faulty.cache.get("users:generation") not in (None, before)
