"""How many sequential round trips a request makes, over PostgreSQL and Redis together.

In a VPC a round trip takes 0.3 to 1 ms, so this is most of a request's time. They are counted by a
network that delays (`slow_network`), so that what is under way at the same time counts once, and
what is sent but not awaited (a fence's clearing, a page) does not; connections are open and scripts
loaded.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg
import pytest
import redis

from local.services.valkey import end_quarantine
from tests.conftest import Worker
from tests.network.slow_network import SlowNetwork

ROUND_TRIP_SECONDS = 0.05
"""Longer than what a request computes between two packets that it sends at the same time, and than
the test takes to ask for the count."""
PATIENT = {"REDIS_TIMEOUT_SECONDS": "1", "REDIS_CONNECT_TIMEOUT_SECONDS": "2"}
"""On a busy machine, too, Redis is not left for a while: reads would not ask it, and count less."""
USERS = 30
ADA = {"name": "Ada Lovelace", "email": "ada@example.org"}
NOTES = {"writer_id": 1, "title": "Notes", "content": "On the Analytical Engine."}
KEY = {"Idempotency-Key": "one"}


@dataclass(frozen=True)
class Case:
    """A request with its sequential round trips; `prepare` changes Redis before it."""

    name: str
    round_trips: int
    method: str
    path: str
    status: int = 200
    body: dict[str, Any] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    prepare: Callable[[redis.Redis], object] = redis.Redis.ping
    before: Callable[[httpx.Client], object] | None = None


def create_with_key(api: httpx.Client) -> None:
    body = ADA | {"email": "new@example.org"}
    assert api.post("/writers", json=body, headers=KEY).status_code == 201


def set_fence(cache: redis.Redis) -> None:
    """As a write of another worker does."""
    cache.zadd("fences", {"writers|a writer": 1e15})


def forget_pages(cache: redis.Redis) -> None:
    cache.flushdb()
    end_quarantine(cache)


def forget_all(cache: redis.Redis) -> None:
    """As a server that has restarted; a write may be in progress that it does not know."""
    cache.flushdb()


ANY_KNOWN = {"If-None-Match": "*"}
ANY_ETAG = {"If-Match": "*"}
OLD_ETAG = {"If-Match": '"1-1"'}
NEW = ADA | {"email": "new@example.org"}
FORGET = redis.Redis.script_flush
CASES = (
    Case("cached list of writers", 1, "GET", "/writers"),
    Case("cached list of articles", 1, "GET", "/articles?writer_id=1"),
    Case("uncached list of writers", 2, "GET", "/writers", prepare=forget_pages),
    Case("uncached list of articles", 2, "GET", "/articles?writer_id=1", prepare=forget_pages),
    Case("list of writers in quarantine", 2, "GET", "/writers", prepare=forget_all),
    Case("list of writers while one is written", 2, "GET", "/writers", prepare=set_fence),
    Case("list that is never cached", 1, "GET", "/writers?skip=1&limit=10"),
    Case("one writer", 1, "GET", "/writers/1"),
    Case("one article", 1, "GET", "/articles/1"),
    Case("unknown writer", 1, "GET", "/writers/4711", 404),
    Case("search: a name that many have", 1, "GET", "/writers/search?name=writer&limit=10"),
    Case("search: a name that one has", 1, "GET", "/writers/search?name=love"),
    Case("statistics of writers", 1, "GET", "/writers/stats"),
    Case("statistics of articles", 1, "GET", "/articles/stats"),
    Case("create a writer", 2, "POST", "/writers", 201, NEW),
    Case("create an article", 2, "POST", "/articles", 201, NOTES),
    Case("create a writer with a key", 3, "POST", "/writers", 201, NEW, KEY),
    Case("create an article with a key", 3, "POST", "/articles", 201, NOTES, KEY),
    Case("repeat it", 2, "POST", "/writers", 201, NEW, KEY, before=create_with_key),
    Case("create a writer that exists", 2, "POST", "/writers", 409, ADA),
    Case("update a writer", 2, "PUT", "/writers/2", 200, NEW),
    Case("change a writer", 2, "PATCH", "/writers/2", 200, {"name": "Ada"}),
    Case("create a writer, scripts forgotten", 3, "POST", "/writers", 201, NEW, prepare=FORGET),
    Case("update an article", 2, "PUT", "/articles/1", 200, NOTES),
    Case("change an article", 2, "PATCH", "/articles/1", 200, {"title": "Notes"}),
    Case(
        "move an article to another writer", 3, "PUT", "/articles/1", 200, NOTES | {"writer_id": 2}
    ),
    Case("delete a writer", 2, "DELETE", "/writers/1", 204),
    Case("delete an article", 2, "DELETE", "/articles/1", 204),
    Case("cached list that the caller knows", 1, "GET", "/writers", 304, headers=ANY_KNOWN),
    Case("one writer whom the caller knows", 1, "GET", "/writers/1", 304, headers=ANY_KNOWN),
    Case("change nothing of a writer", 2, "PATCH", "/writers/2", 200, {}),
    Case("change a writer as known", 2, "PATCH", "/writers/2", 200, {"name": "Ada"}, ANY_ETAG),
    Case("delete an article as known", 2, "DELETE", "/articles/1", 204, headers=ANY_ETAG),
    Case("change a writer who was changed since", 3, "PATCH", "/writers/2", 412, NEW, OLD_ETAG),
)


@pytest.fixture
def warm_api(
    network: SlowNetwork,
    worker: Worker,
    database: psycopg.Connection[Any],
    api: httpx.Client,
) -> Iterator[httpx.Client]:
    """A worker that has answered requests of each kind; one of the writers is Ada."""
    network.set_round_trip(0)
    worker.restart(
        DATABASE_URL=network.database_url("blog"),
        REDIS_URL=network.redis_url(0),
        **PATIENT,
    )
    assert api.post("/writers", json=ADA).status_code == 201
    assert api.post("/articles", json=NOTES).status_code == 201
    database.execute(
        "INSERT INTO writers (name, email)"
        " SELECT 'Writer ' || n, 'writer' || n || '@example.org' FROM generate_series(2, %s) n",
        [USERS],
    )
    assert api.post("/writers", json=ADA).status_code == 409
    yield api
    network.set_round_trip(0)
    worker.close()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_request_makes_so_many_round_trips(
    case: Case, warm_api: httpx.Client, network: SlowNetwork, cache: redis.Redis
) -> None:
    for path in ("/writers", "/articles?writer_id=1"):
        assert warm_api.get(path).status_code == 200
    case.prepare(cache)
    if case.before:
        case.before(warm_api)
    network.set_round_trip(ROUND_TRIP_SECONDS)
    network.reset_count()
    response = warm_api.request(case.method, case.path, json=case.body, headers=case.headers)
    assert response.status_code == case.status, response.text
    assert network.sequential_round_trips() == case.round_trips
