"""Limits: a caller's reads and writes are counted apart, over all workers, on Redis's clock."""

import asyncio
import gc
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import Any

import psycopg
import pytest
import redis
from pydantic import BaseModel

from local.services import Services
from shared.auth.limits import (
    COUNT_REQUEST,
    Limit,
    Limits,
    limits,
    network_of,
    rejected_until,
    within_limit,
)
from shared.cache.health import check_redis
from shared.cache.pages import Loaded, PageCache
from shared.cache.redis_connection import Call, RedisConnection
from shared.request import ApiRequest
from shared.settings import SettingsError
from tests.auth.claims import REQUIRED
from tests.conftest import ApiOf, Worker
from tests.in_process import client_of
from tests.properties import given, settings, st
from tests.resources import RESOURCES, ROOT, insert_rows

ADA = {"name": "Ada", "email": "ada@example.org"}
LIMITED = {
    "READ_LIMIT": "6",
    "READ_BURST": "3",
    "WRITE_LIMIT": "4",
    "WRITE_BURST": "2",
    "REDIS_TIMEOUT_SECONDS": "1",  # a busy machine lets none through uncounted
}
# An item of RFC 9651 with integer parameters, as both headers have one.
ITEM = re.compile(r'"(?P<name>[a-z]+)"(?P<parameters>(;[a-z]+=\d+)+)')
WORKERS = 8


@pytest.fixture
def limited(worker: Worker, emptied: None, cache: object) -> None:
    worker.restart(**LIMITED, LIMIT_WINDOW_SECONDS="600")


def parameters(header: str, name: str) -> dict[str, int]:
    """The parameters of the header's one item, which has this name."""
    item = ITEM.fullmatch(header)
    assert item, header
    assert item["name"] == name
    pairs = [pair.split("=") for pair in item["parameters"][1:].split(";")]
    return {key: int(value) for key, value in pairs}


@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize(
    "path", ["/writers", "/writers/1", "/writers/stats", "/writers/search?name=ada"]
)
def test_reads_beyond_the_burst_are_429_and_the_headers_say_so(path: str) -> None:
    with client_of() as api:
        responses = [api.get(path) for _ in range(5)]
    assert [response.status_code == 429 for response in responses] == [False] * 3 + [True] * 2
    for remaining, response in zip((2, 1, 0, 0, 0), responses, strict=True):
        assert parameters(response.headers["RateLimit-Policy"], "read") == {"q": 6, "w": 600}
        state = parameters(response.headers["RateLimit"], "read")
        assert state["r"] == remaining
        assert 190 <= state["t"] <= 200  # 600 seconds for the 3 that follow the burst
    rejected = responses[-1]
    assert int(rejected.headers["Retry-After"]) >= state["t"]
    assert rejected.headers["Cache-Control"] == "no-store"
    assert rejected.headers["Content-Type"] == "application/problem+json"
    assert rejected.json()["type"] == "/problems#too-many-requests"
    assert rejected.json()["violated-policies"] == ["read"]


@pytest.mark.usefixtures("limited")
def test_a_write_beyond_the_burst_is_429_and_changes_nothing(
    database: psycopg.Connection[Any], cache: redis.Redis
) -> None:
    with client_of() as api:
        assert api.post("/writers", json=ADA).status_code == 201
        assert api.put("/writers/1", json=ADA | {"name": "Ada Lovelace"}).status_code == 200
        before = api.get("/writers")
        statuses = [
            api.post("/writers", json=ADA | {"email": "other@example.org"}).status_code,
            api.patch("/writers/1", json={"name": "Countess"}).status_code,
            api.delete("/writers/1").status_code,
        ]
        assert statuses == [429] * 3
        assert api.get("/writers").json() == before.json()
    assert database.execute("SELECT name FROM writers").fetchall() == [("Ada Lovelace",)]
    assert database.execute("SELECT count(*) FROM audit_log").fetchone() == (2,)
    assert not cache.exists("fences")


def test_a_rejected_write_is_rolled_back_also_where_the_worker_learns_it_last(
    worker: Worker, database: psycopg.Connection[Any], cache: redis.Redis
) -> None:
    """A new worker remembers no rejection, so it has sent the statement when Redis rejects."""
    for number in range(5):
        worker.restart(**LIMITED)
        with client_of() as api:
            body = {"name": "Ada", "email": f"{number}@example.org"}
            status = api.post("/writers", json=body).status_code
        assert status == (201 if number < 2 else 429)
    assert database.execute("SELECT count(*) FROM writers").fetchone() == (2,)
    assert not cache.exists("fences")


def test_a_request_for_anothers_is_counted_and_one_without_the_permission_is_not(
    worker: Worker, api_of: ApiOf, emptied: None, cache: object
) -> None:
    """Only its statement finds the other's row, so the first costs as much as any request."""
    worker.restart(**REQUIRED, **LIMITED)
    assert api_of("admin", subject="ada").post("/writers", json=ADA).status_code == 201
    author, reader = api_of("author", subject="bob"), api_of("reader", subject="carl")
    body = {"name": "Mine"}
    assert [author.patch("/writers/1", json=body).status_code for _ in range(3)] == [403, 403, 429]
    assert [reader.patch("/writers/1", json=body).status_code for _ in range(3)] == [403] * 3


@pytest.mark.usefixtures("limited")
def test_reads_and_writes_are_counted_apart() -> None:
    with client_of() as api:
        while api.get("/writers").status_code == 200:
            pass
        assert api.post("/writers", json=ADA).status_code == 201


def test_callers_are_counted_apart_by_issuer_and_subject(worker: Worker, api_of: ApiOf) -> None:
    worker.restart(**REQUIRED, **LIMITED)
    ada, same, bob = api_of(subject="ada"), api_of("admin", subject="ada"), api_of(subject="bob")
    assert [ada.get("/writers").status_code for _ in range(4)] == [200] * 3 + [429]
    assert same.get("/writers").status_code == 429
    assert bob.get("/writers").status_code == 200
    other = "https://other.example.org/"
    worker.restart(**REQUIRED | {"TOKEN_ISSUER": other})
    assert api_of(subject="ada", iss=other).get("/writers").status_code == 200


@pytest.mark.usefixtures("limited")
def test_a_forwarded_address_means_nothing() -> None:
    with client_of() as api:
        statuses = [
            api.get("/writers", headers={"X-Forwarded-For": f"192.0.2.{n}"}).status_code
            for n in range(4)
        ]
    assert statuses == [200] * 3 + [429]


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
    ],
)
def test_an_ipv6_caller_is_its_network(one: str, other: str, *, is_same: bool) -> None:
    assert (network_of(one) == network_of(other)) is is_same


@pytest.mark.usefixtures("limited")
def test_a_request_that_fails_counts_and_has_the_headers() -> None:
    with client_of() as api:
        paths = ["/writers?limit=0", "/writers/7", "/writers?cursor=-"]
        responses = [api.get(path) for path in paths]
        assert [response.status_code for response in responses] == [422, 404, 422]
        remaining = [parameters(one.headers["RateLimit"], "read")["r"] for one in responses]
        assert remaining == [2, 1, 0]
        assert api.get("/writers?limit=0").status_code == 429


@pytest.mark.usefixtures("database", "cache")
@pytest.mark.parametrize("resource", sorted(RESOURCES))
def test_no_limit_is_set_by_default(resource: str, worker: Worker) -> None:
    worker.restart()
    with client_of() as api:
        headers = api.get(f"/{resource}").headers
    assert not [name for name in headers if name.startswith("ratelimit")]


@pytest.mark.usefixtures("database")
def test_without_redis_there_is_no_limit(worker: Worker, capfd: pytest.CaptureFixture[str]) -> None:
    worker.restart(**LIMITED, REDIS_URL=None)
    with client_of() as api:
        assert {api.get("/writers").status_code for _ in range(5)} == {200}
    assert "LimitUnavailable" not in capfd.readouterr().out


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("path", ["/writers", "/writers/stats"])
def test_while_redis_is_unavailable_all_are_let_through_and_counted(
    path: str,
    worker: Worker,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    worker.restart(**LIMITED, REDIS_URL="redis://127.0.0.1:1/0")
    with client_of() as api:
        responses = [api.get(path) for _ in range(5)]
        responses.append(api.post("/writers", json=ADA))
    assert [response.status_code for response in responses] == [200] * 5 + [201]
    assert not any("RateLimit" in response.headers for response in responses)
    assert capfd.readouterr().out.count('"LimitUnavailable":1') == 6
    gc.collect()  # asyncio logs an exception of a task that nothing awaited
    assert "asyncio" not in {record.name for record in caplog.records}


@pytest.mark.usefixtures("limited")
def test_no_count_outlives_a_request_that_was_cancelled(worker: Worker) -> None:
    async def cancelled(*, counts: bool) -> set[asyncio.Task[Any]]:
        request = ApiRequest(source_address="192.0.2.1")
        with suppress(TimeoutError):
            async with asyncio.timeout(0), within_limit(request):
                if counts:
                    request.begin_counting()
                await asyncio.sleep(60)
        return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}

    assert not worker.run(cancelled(counts=True))
    assert not worker.run(cancelled(counts=False))


@pytest.mark.usefixtures("limited")
def test_a_cached_page_is_found_and_counted_once_however_often_redis_is_asked(
    worker: Worker, cache: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.cache.pages.LEASE_WAIT_SECONDS", 0.05)
    cache.set("things:1:lease", b"another reader")

    async def load() -> Loaded:
        return Loaded(b"page", {"things": ""})

    async def read() -> tuple[str | None, int]:
        request = ApiRequest()
        async with within_limit(request):
            assert await PageCache("things", BaseModel).fetch(request, "1", load) == b"page"
        limit = parameters(dict(request.limit_headers)[b"ratelimit"].decode(), "read")
        return request.record.cache, limit["r"]

    assert worker.run(read()) == ("bypass", 2)
    cache.delete("things:1:lease")
    assert worker.run(read()) == ("miss", 1)
    assert worker.run(read()) == ("hit", 0)


@pytest.mark.usefixtures("limited")
def test_rejections_are_counted(capfd: pytest.CaptureFixture[str]) -> None:
    with client_of() as api:
        for _ in range(5):
            api.get("/writers")
    assert capfd.readouterr().out.count('"LimitRejected":1') == 2


@pytest.mark.usefixtures("limited")
def test_a_rejected_caller_is_not_looked_up_again_until_it_may_call(cache: redis.Redis) -> None:
    with client_of() as api:
        while api.get("/writers/1").status_code != 429:
            pass
        before = commands(cache)
        assert {api.get("/writers/1").status_code for _ in range(3)} == {429}
        assert commands(cache) == before + 1  # the count itself


@pytest.mark.usefixtures("limited")
def test_a_flood_of_callers_takes_no_more_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.auth.limits.MAX_REMEMBERED", 2)
    remembered = []
    for number in range(4):
        with client_of(source_ip=f"192.0.2.{number}") as api:
            while api.get("/writers/1").status_code != 429:
                pass
        remembered.append(len(rejected_until()))
    assert remembered == [1, 2, 1, 2]


def commands(cache: redis.Redis) -> int:
    """How many commands there were, beside the client's own PINGs."""
    statistics = cache.info("commandstats").items()
    return sum(one["calls"] for name, one in statistics if name != "cmdstat_ping")


def test_a_caller_may_call_again_when_the_limit_said_so(
    worker: Worker, emptied: None, cache: object
) -> None:
    worker.restart(READ_LIMIT="4", READ_BURST="2", LIMIT_WINDOW_SECONDS="2")
    with client_of() as api:
        while (response := api.get("/writers")).status_code != 429:
            pass
        time.sleep(int(response.headers["Retry-After"]))
        assert api.get("/writers").status_code == 200


def test_limits_contain_no_names_and_forget_callers(
    api_of: ApiOf, worker: Worker, cache: Any
) -> None:
    worker.restart(
        **REQUIRED,
        **LIMITED | {"READ_LIMIT": "1000"},
        LIMIT_WINDOW_SECONDS="1",
        CACHE_KEY_PREFIX="one:",
    )
    api_of(subject="ada@example.org").get("/writers/1")
    assert cache.keys("one:limit:*") == [b"one:limit:read"]
    (ada,) = cache.zrange("one:limit:read", 0, -1)
    assert re.fullmatch(rb"[0-9a-f]{32}", ada)
    time.sleep(0.01)  # of which the interval is a tenth
    api_of(subject="bob").get("/writers/1")
    (bob,) = cache.zrange("one:limit:read", 0, -1)
    assert bob != ada


@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/writers", {}),
        ("GET", "/writers/1", {}),
        ("POST", "/writers", {}),
        ("POST", "/writers", {"Idempotency-Key": "key-1"}),
        ("PATCH", "/writers/1", {}),
        ("PATCH", "/writers/4711", {}),
    ],
)
def test_a_request_is_counted_with_its_look_up_or_its_fence(
    worker: Worker,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    path: str,
    headers: dict[str, str],
) -> None:
    run, counts = RedisConnection.run, []

    async def watched(self: RedisConnection, call: Call) -> Any:
        counts.append(COUNT_REQUEST.text in call.script.text)
        return await run(self, call)

    with client_of() as api:
        api.post("/writers", json=ADA)
        api.get("/writers")
        worker.run(check_redis())  # what was sent without awaiting it has arrived
        monkeypatch.setattr(RedisConnection, "run", watched)
        body = None if method == "GET" else {"name": "Bob"}
        if method == "POST":
            body = {"name": "Bob", "email": "bob@example.org"}
        api.request(method, path, json=body, headers=headers)
    assert counts == [True]


@pytest.mark.parametrize("burst", ["4", "5"])
def test_a_burst_of_the_whole_limit_is_an_error(burst: str, worker: Worker) -> None:
    worker.restart(WRITE_LIMIT="4", WRITE_BURST=burst)
    with pytest.raises(SettingsError, match=r"^WRITE_BURST must be less than WRITE_LIMIT$"):
        limits()


@pytest.mark.parametrize(("quota", "burst"), [(2, 1), (5, 2), (100, 50)])
def test_half_of_a_limit_may_come_at_once_by_default(
    quota: int, burst: int, worker: Worker
) -> None:
    worker.restart(READ_LIMIT=str(quota))
    assert limits() == Limits(Limit("read", quota, 60, burst), None)


@pytest.mark.parametrize(("quota", "burst", "microseconds"), [(6, 3, 3_333_334), (5, 1, 2_500_000)])
def test_requests_after_the_burst_are_spread_evenly_over_the_window(
    quota: int, burst: int, microseconds: int
) -> None:
    assert Limit("read", quota, 10, burst).interval_microseconds == microseconds


@settings(max_examples=25, deadline=None)
@given(
    burst=st.integers(1, 5),
    steady=st.integers(1, 5),
    pauses_milliseconds=st.lists(st.integers(0, 12), min_size=1, max_size=20),
)
def test_the_script_decides_as_the_algorithms_definition(
    services: Services, burst: int, steady: int, pauses_milliseconds: list[int]
) -> None:
    """Redis has one time for a whole transaction, which is read beside the script."""
    cache = redis.Redis.from_url(services.redis_url)
    limit = Limit("read", burst + steady, 1, burst)
    interval = 10_000 // steady  # microseconds, so that pauses matter
    cache.delete("limit")
    due = 0
    for pause in pauses_milliseconds:
        time.sleep(pause / 1000)
        transaction = cache.pipeline(transaction=True)
        transaction.time()
        transaction.eval(COUNT_REQUEST.text, 1, "limit", interval, limit.burst, "ada")
        transaction.zscore("limit", "ada")
        (seconds, microseconds), decided, stored = transaction.execute()
        now = seconds * 1_000_000 + microseconds
        wait = max(due, now) - now - (burst - 1) * interval
        if wait <= 0:
            due = max(due, now) + interval
        assert decided == (-wait if wait > 0 else due - now)
        assert stored == due


@given(quota=st.integers(2, 60), data=st.data())
def test_no_window_lets_more_than_the_quota_through(quota: int, data: st.DataObject) -> None:
    limit = Limit("read", quota, 60, data.draw(st.integers(1, quota - 1)))
    admitted, due, now = [], 0, 0
    for pause in data.draw(st.lists(st.integers(0, 10_000_000), min_size=1, max_size=150)):
        now += pause
        if max(due, now) - now <= (limit.burst - 1) * limit.interval_microseconds:
            due = max(due, now) + limit.interval_microseconds
            admitted.append(now)
    for start in admitted:
        assert sum(start <= one < start + 60_000_000 for one in admitted) <= quota


@pytest.fixture
def workers(emptied: None, cache: object, worker: Worker) -> Iterator[list[Any]]:
    """Processes of a worker each; a line to one of them is a number of requests to make."""
    limit = {"READ_LIMIT": "300", "READ_BURST": "40", "LIMIT_WINDOW_SECONDS": "86400"}
    worker.restart(**limit, REDIS_TIMEOUT_SECONDS="1")  # so many workers make each other wait
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "tests.auth.limited_worker"],
                    cwd=ROOT,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for _ in range(WORKERS)
        ]


def test_the_limit_is_exact_over_workers_at_the_same_time(workers: list[Any]) -> None:
    def admitted(process: Any) -> int:
        return int(process.communicate("25\n")[0].splitlines()[-1])

    with ThreadPoolExecutor(WORKERS) as threads:
        assert sum(threads.map(admitted, workers)) == 40


def test_the_same_rows_are_read_under_a_limit(
    worker: Worker, database: psycopg.Connection[Any], cache: object
) -> None:
    insert_rows(database, 1, 3)
    with client_of() as api:
        worker.restart()
        unlimited = api.get("/articles").content
        worker.restart(READ_LIMIT="100")
        assert api.get("/articles").content == unlimited
        assert api.get("/articles").content == unlimited
