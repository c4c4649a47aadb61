"""A Redis that takes longer to connect to than to respond: DNS, TLS and IAM are needed once."""

import json
from collections.abc import Iterator

import httpx
import pytest
import redis

from tests.conftest import Worker
from tests.network.slow_network import SlowNetwork

RESPONSE_SECONDS = 0.3
ROUND_TRIP_SECONDS = 0.2
"""A response takes one, connecting several."""


@pytest.fixture
def slow(network: SlowNetwork, cache: redis.Redis) -> Iterator[SlowNetwork]:
    network.set_round_trip(ROUND_TRIP_SECONDS)
    yield network
    network.set_round_trip(0)


@pytest.mark.parametrize(
    ("connect_seconds", "outcomes"), [(2.0, ["miss", "hit"]), (RESPONSE_SECONDS, ["error"] * 2)]
)
def test_connecting_has_a_bound_of_its_own(
    connect_seconds: float,
    outcomes: list[str],
    slow: SlowNetwork,
    worker: Worker,
    api: httpx.Client,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shared.cache.scripts.BREAKER_PAUSE_SECONDS", 0.0)
    worker.restart(
        REDIS_URL=slow.redis_url(0),
        REDIS_TIMEOUT_SECONDS=str(RESPONSE_SECONDS),
        REDIS_CONNECT_TIMEOUT_SECONDS=str(connect_seconds),
    )
    for _ in outcomes:
        assert api.get("/writers").status_code == 200
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [line["cache"] for line in lines if line.get("message") == "request"] == outcomes
