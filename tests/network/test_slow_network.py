"""The network that benchmarks and tests measure with: its delay, its TLS and its count."""

import asyncio
from time import perf_counter

import psycopg
import pytest
import redis
import trustme
from redis.asyncio import Redis

from tests.conftest import Worker
from tests.network.slow_network import SlowNetwork

ROUND_TRIP_SECONDS = 0.05


@pytest.fixture(autouse=True)
def delay(network: SlowNetwork) -> None:
    network.set_round_trip(ROUND_TRIP_SECONDS)


@pytest.mark.parametrize(
    ("negotiation", "round_trips"), [("postgres", 6), ("direct", 5)], ids=("asked", "direct")
)
def test_connecting_to_postgresql_takes_its_round_trips(
    network: SlowNetwork, negotiation: str, round_trips: int
) -> None:
    """One for TCP, one or two for TLS, three for the password."""
    url = f"{network.database_url('blog')}&sslnegotiation={negotiation}"
    quickest = min(_seconds_to_connect(url) for _ in range(5))
    assert quickest // ROUND_TRIP_SECONDS == round_trips


def test_a_command_takes_a_round_trip(network: SlowNetwork) -> None:
    with redis.Redis.from_url(network.redis_url(0)) as client:
        client.ping()
        started = perf_counter()
        client.ping()
        took_seconds = perf_counter() - started
    assert took_seconds >= ROUND_TRIP_SECONDS


def test_the_certificate_is_verified(
    network: SlowNetwork, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other") / "authority.pem"
    trustme.CA().cert_pem.write_to_path(other)
    wrong = network.redis_url(0).partition("?")[0] + f"?ssl_ca_certs={other}"
    with redis.Redis.from_url(wrong) as client, pytest.raises(redis.ConnectionError, match="SSL"):
        client.ping()
    wrong = network.database_url("blog").partition("&sslrootcert")[0] + f"&sslrootcert={other}"
    with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
        psycopg.connect(wrong)


def test_concurrent_round_trips_count_once(network: SlowNetwork, worker: Worker) -> None:
    async def count() -> tuple[int, int]:
        url = network.database_url("blog")
        async with (
            Redis.from_url(network.redis_url(0)) as cache,
            await psycopg.AsyncConnection.connect(url, autocommit=True) as database,
        ):
            await cache.ping()
            network.reset_count()
            await asyncio.gather(cache.ping(), database.execute("SELECT 1"))
            at_once = network.sequential_round_trips()
            network.reset_count()
            await cache.ping()
            await database.execute("SELECT 1")
            return at_once, network.sequential_round_trips()

    assert worker.run(count()) == (1, 2)


def test_a_response_that_nothing_waits_for_does_not_count(
    network: SlowNetwork, worker: Worker
) -> None:
    async def count() -> tuple[int, int]:
        async with Redis.from_url(network.redis_url(0), single_connection_client=True) as cache:
            await cache.ping()
            assert cache.connection is not None
            network.reset_count()
            await cache.ping()
            await cache.connection.send_command("PING")
            before = network.sequential_round_trips()
            await cache.connection.read_response()
            return before, network.sequential_round_trips()

    assert worker.run(count()) == (1, 2)


def test_a_response_to_what_was_sent_before_a_reset_does_not_count(
    network: SlowNetwork, worker: Worker
) -> None:
    async def count() -> int:
        async with Redis.from_url(network.redis_url(0), single_connection_client=True) as cache:
            await cache.ping()
            assert cache.connection is not None
            await cache.connection.send_command("PING")
            await asyncio.sleep(ROUND_TRIP_SECONDS / 5)  # it is on its way
            network.reset_count()
            await cache.connection.read_response()
            return network.sequential_round_trips()

    assert worker.run(count()) == 0


def _seconds_to_connect(url: str) -> float:
    started = perf_counter()
    with psycopg.connect(url) as connection:
        assert connection.pgconn.ssl_in_use
        return perf_counter() - started
