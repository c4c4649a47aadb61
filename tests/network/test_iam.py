"""Tokens of IAM in place of passwords, over TLS: a new one for each new connection.

The servers know nothing of IAM: a user's password there is the token that botocore's rules make of
a given time (tests/aws). So a login succeeds with that token only.
"""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest
import redis
from psycopg import sql
from sqlalchemy import make_url

from migrations.handler import handler as migrate
from shared.aws.tokens import cache_token, database_token
from shared.cache import redis_connection
from tests.conftest import Worker
from tests.network.slow_network import PASSWORD, SlowNetwork

CACHE = "blog-cache"
CACHE_USER = "blog-functions"
DATABASE_USER = "remote"
START = datetime(2026, 1, 1, tzinfo=UTC)

Pass = Callable[[timedelta], None]


@pytest.fixture
def clock(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> Pass:
    """Sets the time since `START`, for a role that has credentials."""
    worker.restart(
        AWS_REGION="eu-west-1",
        AWS_ACCESS_KEY_ID="ASIAEXAMPLE",
        AWS_SECRET_ACCESS_KEY="secret",
        AWS_SESSION_TOKEN="session" * 50,
        TLS_REQUIRED="true",
    )

    def set_time(passed: timedelta) -> None:
        monkeypatch.setattr("shared.aws.signing.now", lambda: START + passed)

    set_time(timedelta())
    return set_time


class Database:
    """A database whose user has the current token as its password."""

    def __init__(self, url: str, admin: psycopg.Connection[Any]) -> None:
        self.url = url.replace(f":{PASSWORD}@", "@")
        self._admin = admin

    def accept_token(self) -> None:
        parts = make_url(self.url)
        assert parts.host is not None
        assert parts.port is not None
        self.accept(database_token(parts.host, parts.port, DATABASE_USER))

    def accept(self, password: str) -> None:
        """Accept only this password, and end the connections that were made with another."""
        self._admin.execute(
            sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(DATABASE_USER), password)
        )
        self._admin.execute(
            "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE usename = %s",
            [DATABASE_USER],
        )


@pytest.fixture
def by_iam(
    network: SlowNetwork, database: psycopg.Connection[Any], worker: Worker, clock: Pass
) -> Iterator[Database]:
    server = Database(network.database_url("blog"), database)
    worker.restart(DATABASE_URL=server.url, DATABASE_AUTH="iam")
    yield server
    worker.close()
    server.accept(PASSWORD)


def test_each_connection_to_postgresql_has_a_token_of_its_time(
    by_iam: Database, clock: Pass, api: httpx.Client
) -> None:
    for minutes in (0, 20, 40):
        clock(timedelta(minutes=minutes))
        by_iam.accept_token()
        assert api.get("/writers/1").status_code == 404


def test_a_connection_outlives_its_token(by_iam: Database, clock: Pass, api: httpx.Client) -> None:
    by_iam.accept_token()
    for minutes in (0, 20):
        clock(timedelta(minutes=minutes))
        assert api.get("/writers/1").status_code == 404


def test_a_token_that_postgresql_rejects_is_503(
    by_iam: Database, clock: Pass, api: httpx.Client, capfd: pytest.CaptureFixture[str]
) -> None:
    by_iam.accept_token()
    clock(timedelta(minutes=1))
    assert api.get("/writers/1").status_code == 503
    (line,) = logged(capfd, "database error")
    assert 'password authentication failed for user "remote"' in line["reason"]
    assert "X-Amz" not in json.dumps(line)


def test_the_migrations_connect_by_iam(by_iam: Database) -> None:
    by_iam.accept_token()
    assert migrate({}, None)["revision"]


def test_without_credentials_postgresql_is_unavailable_and_the_log_says_why(
    by_iam: Database,
    worker: Worker,
    api: httpx.Client,
    capfd: pytest.CaptureFixture[str],
) -> None:
    by_iam.accept_token()
    worker.restart(AWS_ACCESS_KEY_ID=None)
    assert api.get("/writers/1").status_code == 503
    (line,) = logged(capfd, "database error")
    assert line["reason"] == "the environment has no AWS credentials"


@pytest.fixture
def cached_by_iam(
    network: SlowNetwork, cache: redis.Redis, worker: Worker, clock: Pass
) -> Iterator[redis.Redis]:
    url = network.redis_url(0).replace("rediss://", f"rediss://{CACHE_USER}@")
    worker.restart(REDIS_URL=url, REDIS_IAM_CACHE=CACHE)
    yield cache
    worker.close()
    cache.acl_deluser(CACHE_USER)


def accept_token(server: redis.Redis) -> None:
    token = cache_token(CACHE, CACHE_USER)
    server.acl_setuser(
        CACHE_USER,
        enabled=True,
        reset=True,
        passwords=[f"+{token}"],
        keys=["*"],
        categories=["+@all"],
    )


def test_each_connection_to_redis_has_a_token_of_its_time(
    cached_by_iam: redis.Redis,
    clock: Pass,
    api: httpx.Client,
    database: psycopg.Connection[Any],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    database.execute("INSERT INTO writers (name, email) VALUES ('Ada', 'ada@example.org')")
    monkeypatch.setattr(redis_connection, "CONNECTION_SECONDS", 0.0)
    for minutes in (0, 20, 40):
        clock(timedelta(minutes=minutes))
        accept_token(cached_by_iam)
        api.get("/writers")
        api.get("/writers")
    outcomes = [line["cache"] for line in logged(capfd, "request")]
    assert outcomes == ["miss", *["hit"] * 5]


def test_a_connection_to_redis_ends_before_elasticache_ends_it() -> None:
    assert timedelta(seconds=redis_connection.CONNECTION_SECONDS) < timedelta(hours=12)


def test_a_token_that_redis_rejects_costs_only_the_cache(
    cached_by_iam: redis.Redis, clock: Pass, api: httpx.Client, capfd: pytest.CaptureFixture[str]
) -> None:
    accept_token(cached_by_iam)
    clock(timedelta(minutes=1))
    assert api.get("/writers").status_code == 200
    (line,) = logged(capfd, "redis error")
    assert line["error"] == "AuthenticationError"


def test_without_credentials_only_the_cache_is_lost_and_the_log_says_why(
    cached_by_iam: redis.Redis,
    worker: Worker,
    api: httpx.Client,
    capfd: pytest.CaptureFixture[str],
) -> None:
    accept_token(cached_by_iam)
    worker.restart(AWS_ACCESS_KEY_ID=None)
    assert api.get("/writers").status_code == 200
    (line,) = logged(capfd, "redis error")
    assert line["reason"] == "the environment has no AWS credentials"


def logged(capfd: pytest.CaptureFixture[str], message: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    return [line for line in lines if line.get("message") == message]
