"""PostgreSQL's primary and a standby change places, behind an address that moves at some time."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from migrations.handler import handler as migrate
from shared.database import connection as blog_database
from tests.example.models import create_tables
from tests.failures.conftest import (
    CACHED,
    HEALTH,
    PATCH,
    POST,
    READS,
    ProxiedApi,
    assert_in_time,
    assert_problem,
)
from tests.failures.rows import Outcome, Row, rows
from tests.failures.standby import Pair, running_pair
from tests.poolers.pgbouncer import running_pgbouncer
from tests.resources import EMPTY
from tests.tools import require_program
from tests.valkey import empty, until

READ_ONLY = Outcome(
    "cached pages; for the rest 503 `database-unavailable`, until the address leads to the primary",
    ("database-unavailable",),
)
ADDED = "INSERT INTO writers (name, email) VALUES ('Elsewhere', 'elsewhere@example.org')"


@pytest.fixture
def pair(proxied: ProxiedApi) -> Iterator[Pair]:
    """With the schema and one writer; the worker's address leads to the first one."""
    with running_pair(Path(tempfile.mkdtemp())) as running:
        proxied.worker.restart(DATABASE_URL=running.first.url)
        migrate({}, None)
        create_tables()
        running.first.query(EMPTY)
        running.first.query("INSERT INTO writers (name, email) VALUES ('Ada', 'ada@example.org')")
        [(written,)] = running.first.query("SELECT pg_current_wal_insert_lsn()::text")
        replayed = f"SELECT pg_last_wal_replay_lsn() >= '{written}'"
        until(lambda: running.second.query(replayed) == [(True,)])
        proxied.postgresql.server_path = running.first.socket
        empty(proxied.cache)
        proxied.worker.restart(
            DATABASE_URL=proxied.database_url(),
            REDIS_URL=f"redis://127.0.0.1:{proxied.redis.port}/0",
        )
        for route in (CACHED, HEALTH):
            assert proxied.call(route).response.status_code == route.status
        yield running
        proxied.worker.close()


def listed(proxied: ProxiedApi) -> list[str]:
    return [writer["name"] for writer in proxied.call(CACHED).response.json()["data"]]


@rows(Row("postgresql-fails-over", None, READ_ONLY, 1.0))
def test_an_address_that_leads_to_the_demoted_server(
    proxied: ProxiedApi, pair: Pair, row: Row[None]
) -> None:
    """The environment notices that its address leads to a standby, and leaves it."""
    pair.second.promote()
    pair.first.demote()
    assert listed(proxied) == ["Ada"]  # cached
    empty(proxied.cache)
    pair.second.query(ADDED)  # by an environment that has the new primary
    for route in (*READS, CACHED, POST, PATCH):
        timed = proxied.call(route)
        assert_problem(timed, *row.outcome.problems)
        assert_in_time(row, timed)
    assert not proxied.cache.exists("writers:1:10")
    health = proxied.call(HEALTH).response
    assert health.status_code == 503
    assert health.json() == {"status": "down", "postgresql": "read-only", "redis": "up"}

    proxied.postgresql.server_path = pair.second.socket
    assert listed(proxied) == ["Ada", "Elsewhere"]
    for route in (PATCH, POST, *READS, HEALTH):
        assert proxied.call(route).response.status_code == route.status
    assert len(pair.second.query("SELECT 1 FROM writers")) == 3


def test_a_session_that_turns_read_only_is_left_and_its_rows_are_not_cached(
    proxied: ProxiedApi, pair: Pair
) -> None:
    """As when writes are stopped and connections stay open: PostgreSQL reports it to them."""
    pair.first.query("ALTER SYSTEM SET default_transaction_read_only = on")
    pair.first.query("SELECT pg_reload_conf()")
    pair.second.promote()
    pair.second.query(ADDED)
    empty(proxied.cache)
    assert_problem(proxied.call(CACHED), "database-unavailable")
    assert not proxied.cache.exists("writers:1:10")
    proxied.postgresql.server_path = pair.second.socket
    assert listed(proxied) == ["Ada", "Elsewhere"]
    assert proxied.call(PATCH).response.status_code == PATCH.status


def test_a_write_that_meets_a_read_only_transaction_is_repeated_at_the_new_address(
    proxied: ProxiedApi, pair: Pair
) -> None:
    """25006 of a connection that was made to a primary: nothing was changed."""
    pair.second.promote()
    proxied.postgresql.server_path = pair.second.socket
    pair.first.query("ALTER SYSTEM SET default_transaction_read_only = on")
    pair.first.query("SELECT pg_reload_conf()")
    assert proxied.call(PATCH).response.status_code == PATCH.status
    assert pair.second.query("SELECT name FROM writers") == [("Countess",)]
    assert pair.first.query("SELECT name FROM writers") == [("Ada",)]


def test_a_pooler_that_keeps_its_clients_while_its_server_is_demoted(
    proxied: ProxiedApi, pair: Pair, tmp_path: Path
) -> None:
    require_program("pgbouncer")
    with running_pgbouncer(tmp_path, pair.first.url, server_connections=1) as pooler:
        proxied.worker.restart(
            DATABASE_URL=pooler.url(pair.first.url),
            REDIS_URL=f"redis://127.0.0.1:{proxied.redis.port}/0",
        )
        assert proxied.call(READS[0]).response.status_code == READS[0].status
        pair.second.promote()
        pair.first.demote()
        pair.second.query(ADDED)
        empty(proxied.cache)
        for route in (CACHED, *READS, PATCH):
            assert_problem(proxied.call(route), "database-unavailable")
        assert not proxied.cache.exists("writers:1:10")
        assert proxied.call(HEALTH).response.json()["postgresql"] == "read-only"
        pair.first.promote()
        assert proxied.call(PATCH).response.status_code == PATCH.status
        proxied.worker.close()


def test_a_connection_has_a_longest_life(
    proxied: ProxiedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An environment that meets no error follows an address that was moved."""
    proxied.start()
    accepted = proxied.postgresql.accepted
    assert proxied.call(READS[1]).response.status_code == 200
    assert proxied.postgresql.accepted == accepted
    monkeypatch.setattr(blog_database, "CONNECTION_SECONDS", 0.0)
    assert proxied.call(READS[1]).response.status_code == 200
    assert proxied.postgresql.accepted == accepted + 1


@pytest.mark.parametrize("state", ["25006", "57P01", "57P02", "57P03", "08006", "08P01", "XX000"])
def test_a_connection_whose_error_is_the_servers_is_left(proxied: ProxiedApi, state: str) -> None:
    raised = f"RAISE EXCEPTION 'moved' USING ERRCODE = '{state}'"
    proxied.start()
    accepted = proxied.postgresql.accepted
    with psycopg.connect(proxied.database_url(), autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION moved() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN IF current_setting('application_name') <> '' THEN {raised}; END IF; END $$"
        )
        connection.execute(
            "CREATE TRIGGER moved BEFORE UPDATE ON writers FOR EACH ROW EXECUTE FUNCTION moved()"
        )
        accepted += 1
        try:
            failed = proxied.call(PATCH).response
        finally:
            connection.execute("DROP FUNCTION moved CASCADE")
    assert failed.status_code == (500 if state == "XX000" else 503)
    assert proxied.call(PATCH).response.status_code == PATCH.status
    # One more for the request that is repeated, and one for the next.
    assert proxied.postgresql.accepted == accepted + (1 if state == "XX000" else 2)
