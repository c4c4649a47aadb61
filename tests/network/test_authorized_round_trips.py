"""Tokens, ownership, limits and the audit log cost no round trip.

An author's requests make as many as those of tests/network/test_round_trips.py.
"""

import httpx
import pytest

from tests.auth.claims import REQUIRED, claims_of
from tests.conftest import Worker
from tests.in_process import client_of
from tests.network.slow_network import SlowNetwork
from tests.network.test_round_trips import (
    ADA,
    KEY,
    NEW,
    NOTES,
    PATIENT,
    ROUND_TRIP_SECONDS,
    Case,
)

pytestmark = pytest.mark.usefixtures("owners", "cache")


def another(api: httpx.Client) -> None:
    assert api.post("/writers", json=NEW).status_code == 409


def with_a_key(api: httpx.Client) -> None:
    another_key = {"Idempotency-Key": "another"}
    assert api.post("/articles", json=NOTES, headers=another_key).status_code == 201


def without_a_writer(api: httpx.Client) -> None:
    assert api.delete("/writers/1").status_code == 204


# The first request of a kind may load a script, in one round trip more: of some it is made before.
CASES = (
    Case("cached list of writers", 1, "GET", "/writers"),
    Case("one writer", 1, "GET", "/writers/1", before=lambda api: api.get("/writers/1")),
    Case("search", 1, "GET", "/writers/search?name=ada"),
    Case("statistics", 1, "GET", "/writers/stats"),
    Case("uncached list of articles", 2, "GET", "/articles"),
    Case("create an article", 2, "POST", "/articles", 201, NOTES),
    Case("create one with a key", 3, "POST", "/articles", 201, NOTES, KEY, before=with_a_key),
    Case("create another", 2, "POST", "/writers", 409, NEW, before=another),
    Case("update a writer", 2, "PUT", "/writers/1", 200, NEW),
    Case("update an article", 2, "PUT", "/articles/1", 200, NOTES),
    Case("delete an article", 2, "DELETE", "/articles/1", 204),
    Case("delete a writer", 2, "DELETE", "/writers/1", 204),
    Case("create a writer", 2, "POST", "/writers", 201, NEW, before=without_a_writer),
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
    with client_of(claims=claims_of("author")) as api:
        assert api.post("/writers", json=ADA).status_code == 201
        assert api.post("/articles", json=NOTES).status_code == 201
        assert api.get("/writers").status_code == 200
        if case.before:
            case.before(api)
        network.set_round_trip(ROUND_TRIP_SECONDS)
        network.reset_count()
        response = api.request(case.method, case.path, json=case.body, headers=case.headers)
        assert response.status_code == case.status, response.text
        assert "RateLimit" in response.headers
        assert network.sequential_round_trips() == case.round_trips
    network.set_round_trip(0)
