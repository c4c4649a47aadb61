"""A full Redis with the template's policy evicts pages; limits, fences and generations stay."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from local.services.valkey import end_quarantine
from shared.cache.pages import MAX_PAGE_BYTES
from shared.http.fields import MAX_CONTENT_CHARACTERS
from tests.conftest import Worker
from tests.in_process import client_of
from tests.template.stacks import Stack
from tests.valkey import ValkeyServer

POLICY = Stack(Profile="standard").properties("Parameters")["Properties"]["maxmemory-policy"]
LIMITED = {"READ_LIMIT": "2000", "READ_BURST": "1000", "WRITE_LIMIT": "4", "WRITE_BURST": "2"}
WINDOW = {"LIMIT_WINDOW_SECONDS": "86400"}
ADA = {"name": "Ada", "email": "ada@example.org"}
MOST_CACHED = MAX_PAGE_BYTES // (MAX_CONTENT_CHARACTERS + 200)
"""Rows of the largest page that is cached."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A server whose memory takes a few of the largest pages."""
    memory = ("--maxmemory", "3mb", "--maxmemory-policy", POLICY)
    with ValkeyServer(tmp_path / "valkey", "--save", "", *memory) as server:
        with server.client() as redis:
            end_quarantine(redis)
        yield server


@pytest.fixture
def api(
    database: psycopg.Connection[Any], worker: Worker, server: ValkeyServer
) -> Iterator[httpx.Client]:
    """The API with this Redis; an article is as large as one may be."""
    worker.restart(REDIS_URL=server.url, REDIS_TIMEOUT_SECONDS="1", **LIMITED, **WINDOW)
    database.execute(
        "INSERT INTO writers (name, email) SELECT 'A', n || '@a.org' FROM generate_series(1, 60) n"
    )
    database.execute(
        "INSERT INTO articles (writer_id, title, content) "
        "SELECT 1, 'T', repeat('x', %s) FROM generate_series(1, 100)",
        [MAX_CONTENT_CHARACTERS],
    )
    with client_of() as client:
        yield client


def fill(api: httpx.Client, limits: range) -> int:
    """Read a page of each of these sizes in both orders; return the number of pages."""
    for limit in limits:
        for order in ("oldest", "newest"):
            response = api.get(f"/articles?order={order}&limit={limit}")
            assert response.status_code == 200
            assert (len(response.content) <= MAX_PAGE_BYTES) == (limit <= MOST_CACHED)
    return 2 * len(limits)


def test_large_pages_reset_no_limit_and_evict_no_fence_and_no_generation(
    api: httpx.Client, worker: Worker, server: ValkeyServer
) -> None:
    other = client_of()
    api.get("/writers")
    with server.client() as redis:
        assert redis.hexists("generations", "writers")
    statuses = [
        api.post("/writers", json=ADA | {"email": f"{n}@b.org"}).status_code for n in range(3)
    ]
    assert statuses == [201, 201, 429]
    with server.client() as redis:
        redis.zadd("fences", {"writers|crashed": 2**52})  # a writer's that has crashed
        before = redis.zrange("limit:write", 0, -1, withscores=True)
        asked = fill(api, range(MOST_CACHED - 11, MOST_CACHED + 1))
        assert redis.info()["evicted_keys"] > asked / 4
        assert redis.zrange("limit:write", 0, -1, withscores=True) == before
        assert redis.zscore("fences", "writers|crashed") == 2**52
        assert {b"writers", b"articles", b"articles|all"} <= redis.hgetall("generations").keys()
        assert redis.ttl("generations") == redis.ttl("fences") == -1
    worker.restart()  # it remembers no rejection
    assert api.post("/writers", json=ADA).status_code == 429
    assert other.get("/writers").json()["total"] == 62


def test_no_page_above_the_maximum_size_evicts_others(
    api: httpx.Client, server: ValkeyServer
) -> None:
    api.get("/writers?limit=1")
    fill(api, range(80, 101))
    with server.client() as redis:
        assert redis.info()["evicted_keys"] == 0
        assert redis.exists("writers:1:1")
        assert max(redis.strlen(key) for key in redis.scan_iter("articles:all:*")) < MAX_PAGE_BYTES


def test_a_full_redis_that_evicts_nothing_limits_writes_and_lets_reads_through(
    api: httpx.Client, worker: Worker, server: ValkeyServer
) -> None:
    """The count's first command frees memory, after which a script may use some."""
    server.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
    writers = [ADA | {"email": f"{n}@b.org"} for n in range(6)]
    statuses = [api.post("/writers", json=writer).status_code for writer in writers[:3]]
    assert statuses == [201, 201, 429]
    server.command("CONFIG", "SET", "maxmemory", "1")
    worker.restart()  # it remembers no rejection
    assert api.post("/writers", json=writers[2]).status_code == 429
    with client_of(source_ip="192.0.2.1") as other_caller:
        statuses = [
            other_caller.post("/writers", json=writer).status_code for writer in writers[3:]
        ]
        assert statuses == [201, 201, 429]
        for _ in range(2):
            assert other_caller.get("/writers").json()["total"] == 64
