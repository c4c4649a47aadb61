"""Tokens, ownership, limits and the audit log cost no round trip.

An author's requests make as many as those of tests/network/test_round_trips.py.
"""

import httpx
import pytest

from benchmarks.slow_network import SlowNetwork
from tests.auth.claims import REQUIRED, claims_of
from tests.conftest import Worker
from tests.in_process import LambdaTransport
from tests.network.test_round_trips import (
    ADA,
    KEY,
    NEW,
    PATIENT,
    ROUND_TRIP_SECONDS,
    Case,
)

pytestmark = pytest.mark.usefixtures("database", "cache")
NOTES = {"user_id": 1, "title": "Notes", "content": "On the Analytical Engine."}


def another(api: httpx.Client) -> None:
    assert api.post("/users", json=NEW).status_code == 409


def with_a_key(api: httpx.Client) -> None:
    another_key = {"Idempotency-Key": "another"}
    assert api.post("/posts", json=NOTES, headers=another_key).status_code == 201


# The first request of a kind may load a script, in one round trip more: of some it is made before.
CASES = (
    Case("cached list of users", 1, "GET", "/users"),
    Case("one user", 1, "GET", "/users/1", before=lambda api: api.get("/users/1")),
    Case("search", 1, "GET", "/users/search?name=ada"),
    Case("statistics", 1, "GET", "/users/stats"),
    Case("uncached list of posts", 2, "GET", "/posts"),
    Case("create a post", 2, "POST", "/posts", 201, NOTES),
    Case("create a post with a key", 3, "POST", "/posts", 201, NOTES, KEY, before=with_a_key),
    Case("create another", 2, "POST", "/users", 409, NEW, before=another),
    Case("update a user", 2, "PUT", "/users/1", 200, NEW),
    Case("update a post", 2, "PUT", "/posts/1", 200, NOTES),
    Case("delete a post", 2, "DELETE", "/posts/1", 204),
    Case("delete a user", 2, "DELETE", "/users/1", 204),
    Case("create a user", 2, "POST", "/users", 201, NEW, before=lambda api: api.delete("/users/1")),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_authors_request_makes_so_many_round_trips(
    case: Case, worker: Worker, network: SlowNetwork
) -> None:
    network.set_round_trip(0)
    worker.restart(
        DATABASE_URL=network.database_url("blog"),
        REDIS_URL=network.redis_url(0),
        READ_LIMIT="1000",
        WRITE_LIMIT="1000",
        **PATIENT,
        **REQUIRED,
    )
    transport = LambdaTransport(claims=claims_of("author"))
    with httpx.Client(transport=transport, base_url="http://api.test") as api:
        assert api.post("/users", json=ADA).status_code == 201
        assert api.post("/posts", json=NOTES).status_code == 201
        assert api.get("/users").status_code == 200
        if case.before:
            case.before(api)
        network.set_round_trip(ROUND_TRIP_SECONDS)
        network.reset_count()
        response = api.request(case.method, case.path, json=case.body, headers=case.headers)
        assert response.status_code == case.status, response.text
        assert "RateLimit" in response.headers
        assert network.sequential_round_trips() == case.round_trips
    network.set_round_trip(0)
