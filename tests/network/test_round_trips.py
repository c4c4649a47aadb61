"""How many sequential round trips a request makes, over PostgreSQL and Redis together.

In a VPC a round trip takes 0.3 to 1 ms, so this is most of a request's time. They are counted by a
network that delays (`benchmarks.slow_network`), so that what is under way at the same time counts
once, and what is sent but not awaited (a fence's clearing, a page) does not; connections are open
and scripts loaded.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg
import pytest
import redis

from benchmarks.slow_network import SlowNetwork
from local.services.valkey import end_quarantine
from tests.conftest import Worker

ROUND_TRIP_SECONDS = 0.05
"""Longer than what a request computes between two packets that it sends at the same time, and than
the test takes to ask for the count."""
PATIENT = {"REDIS_TIMEOUT_SECONDS": "1", "REDIS_CONNECT_TIMEOUT_SECONDS": "2"}
"""On a busy machine, too, Redis is not left for a while: reads would not ask it, and count less."""
USERS = 30
ADA = {"name": "Ada Lovelace", "email": "ada@example.org"}
NOTES = {"user_id": 1, "title": "Notes", "content": "On the Analytical Engine."}
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
    assert api.post("/users", json=body, headers=KEY).status_code == 201


def set_fence(cache: redis.Redis) -> None:
    """As a write of another worker does."""
    cache.zadd("fences", {"users|a writer": 1e15})


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
    Case("cached list of users", 1, "GET", "/users"),
    Case("cached list of posts", 1, "GET", "/posts?user_id=1"),
    Case("uncached list of users", 2, "GET", "/users", prepare=forget_pages),
    Case("uncached list of posts", 2, "GET", "/posts?user_id=1", prepare=forget_pages),
    Case("list of users in quarantine", 2, "GET", "/users", prepare=forget_all),
    Case("list of users while one is written", 2, "GET", "/users", prepare=set_fence),
    Case("list that is never cached", 1, "GET", "/users?skip=1&limit=10"),
    Case("one user", 1, "GET", "/users/1"),
    Case("one post", 1, "GET", "/posts/1"),
    Case("unknown user", 1, "GET", "/users/4711", 404),
    Case("search: a name that many have", 1, "GET", "/users/search?name=user&limit=10"),
    Case("search: a name that one has", 1, "GET", "/users/search?name=love"),
    Case("search: of the last week", 1, "GET", "/users/search?created_after=2000-01-01&limit=10"),
    Case("statistics of users", 1, "GET", "/users/stats"),
    Case("statistics of posts", 1, "GET", "/posts/stats"),
    Case("create a user", 2, "POST", "/users", 201, NEW),
    Case("create a post", 2, "POST", "/posts", 201, NOTES),
    Case("create a user with a key", 3, "POST", "/users", 201, NEW, KEY),
    Case("create a post with a key", 3, "POST", "/posts", 201, NOTES, KEY),
    Case("repeat it", 2, "POST", "/users", 201, NEW, KEY, before=create_with_key),
    Case("create a user that exists", 2, "POST", "/users", 409, ADA),
    Case("update a user", 2, "PUT", "/users/2", 200, NEW),
    Case("change a user", 2, "PATCH", "/users/2", 200, {"name": "Ada"}),
    Case("create a user, scripts forgotten", 3, "POST", "/users", 201, NEW, prepare=FORGET),
    Case("update a post", 2, "PUT", "/posts/1", 200, NOTES),
    Case("change a post", 2, "PATCH", "/posts/1", 200, {"title": "Notes"}),
    Case("move a post to another user", 3, "PUT", "/posts/1", 200, NOTES | {"user_id": 2}),
    Case("delete a user", 2, "DELETE", "/users/1", 204),
    Case("delete a post", 2, "DELETE", "/posts/1", 204),
    Case("cached list that the caller knows", 1, "GET", "/users", 304, headers=ANY_KNOWN),
    Case("one user whom the caller knows", 1, "GET", "/users/1", 304, headers=ANY_KNOWN),
    Case("change nothing of a user", 2, "PATCH", "/users/2", 200, {}),
    Case("change a user as known", 2, "PATCH", "/users/2", 200, {"name": "Ada"}, ANY_ETAG),
    Case("delete a post as known", 2, "DELETE", "/posts/1", 204, headers=ANY_ETAG),
    Case("change a user who was changed since", 3, "PATCH", "/users/2", 412, NEW, OLD_ETAG),
)


@pytest.fixture
def warm_api(
    network: SlowNetwork,
    worker: Worker,
    database: psycopg.Connection[Any],
    api: httpx.Client,
) -> Iterator[httpx.Client]:
    """A worker that has answered requests of each kind; one of the users is Ada."""
    network.set_round_trip(0)
    worker.restart(
        DATABASE_URL=network.database_url("blog"),
        REDIS_URL=network.redis_url(0),
        **PATIENT,
    )
    assert api.post("/users", json=ADA).status_code == 201
    assert api.post("/posts", json=NOTES).status_code == 201
    database.execute(
        "INSERT INTO users (name, email)"
        " SELECT 'User ' || n, 'user' || n || '@example.org' FROM generate_series(2, %s) n",
        [USERS],
    )
    assert api.post("/users", json=ADA).status_code == 409
    yield api
    network.set_round_trip(0)
    worker.close()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_request_makes_so_many_round_trips(
    case: Case, warm_api: httpx.Client, network: SlowNetwork, cache: redis.Redis
) -> None:
    for path in ("/users", "/posts?user_id=1"):
        assert warm_api.get(path).status_code == 200
    case.prepare(cache)
    if case.before:
        case.before(warm_api)
    network.set_round_trip(ROUND_TRIP_SECONDS)
    network.reset_count()
    response = warm_api.request(case.method, case.path, json=case.body, headers=case.headers)
    assert response.status_code == case.status, response.text
    assert network.sequential_round_trips() == case.round_trips
