"""No statement of a worker leaves a state in its session, nor pins a connection of a proxy.

What pins is what AWS's page "Avoiding pinning an RDS Proxy" lists for PostgreSQL; locks of a
transaction do not. PgBouncer in transaction mode breaks by the same things.
"""

import re
from collections.abc import Callable

import httpx
import psycopg
import pytest
import redis

from local.services import Services
from shared.database.driver import BEGIN, LACKING_TIMEOUTS, SERVER
from tests.conftest import Worker
from tests.every_resource.document import LISTS
from tests.failures.conftest import postgresql_socket
from tests.in_process import client_of
from tests.poolers.recorder import Recorder, Statement
from tests.poolers.routes import take_the_tour
from tests.resources import EMPTY
from tests.valkey import empty

LONGEST_STATEMENT_BYTES = 16 * 1024
PINNING = re.compile(
    r"""^\s*(SET|RESET|PREPARE|EXECUTE|DEALLOCATE|DISCARD|DECLARE|LISTEN|UNLISTEN|LOAD)\b
    | ^\s*CREATE\s+((GLOBAL|LOCAL)\s+)?TEMP
    | \b(set_config|nextval|setval|currval|lastval)\s*\(
    | \bpg_(try_)?advisory_(lock|unlock)""",
    re.IGNORECASE | re.VERBOSE,
)


def sent(services: Services, ask: Callable[[httpx.Client], object]) -> list[Statement]:
    """Return all that a new worker sends while it responds to these requests."""
    with (
        Recorder(postgresql_socket(services)) as recorder,
        psycopg.connect(services.database_url, autocommit=True) as database,
        redis.Redis.from_url(services.redis_url) as cache,
        pytest.MonkeyPatch.context() as environment,
        client_of() as api,
    ):
        database.execute(EMPTY)
        empty(cache)
        url = f"postgresql://postgres@127.0.0.1:{recorder.port}/blog?sslmode=disable"
        environment.setenv("DATABASE_URL", url)
        worker = Worker(environment)
        ask(api)
        worker.close()
        return recorder.statements


@pytest.fixture(scope="module")
def tour(services: Services) -> list[Statement]:
    """All that is sent while every route is requested."""
    return sent(services, take_the_tour)


def test_no_statement_changes_the_session(tour: list[Statement]) -> None:
    assert [statement.text for statement in tour if PINNING.search(statement.text)] == []


def test_no_list_of_the_product_changes_the_session(services: Services) -> None:
    def ask(api: httpx.Client) -> None:
        for paginated in LISTS:
            api.get(paginated.url())

    statements = sent(services, ask)
    assert len(statements) >= len(LISTS)
    assert [one for one in statements if PINNING.search(one.text) or one.prepared_as] == []


def test_no_statement_is_prepared_under_a_name(tour: list[Statement]) -> None:
    assert [statement for statement in tour if statement.prepared_as] == []


def test_no_statement_is_long_even_if_the_request_is(tour: list[Statement]) -> None:
    assert max(len(statement.text.encode()) for statement in tour) < LONGEST_STATEMENT_BYTES


def test_the_key_of_a_post_is_locked_for_its_transaction_only(tour: list[Statement]) -> None:
    assert any("pg_try_advisory_xact_lock" in statement.text for statement in tour)


def test_timeouts_are_read_back_once_and_in_one_message_with_the_first_begin(
    tour: list[Statement],
) -> None:
    first, *others = [statement.text for statement in tour if statement.text.startswith("BEGIN")]
    assert LACKING_TIMEOUTS in first
    assert set(others) == {BEGIN}


def test_postgresql_itself_is_asked_once_whether_it_takes_writes(tour: list[Statement]) -> None:
    assert [statement.text for statement in tour].count(SERVER) == 1


def test_the_whole_tour_is_recorded(tour: list[Statement]) -> None:
    begun = [" ".join(statement.text.split()[:2]) for statement in tour]
    for beginning in ("INSERT INTO", "DELETE FROM", "UPDATE writers", "WITH _before", "COMMIT"):
        assert beginning in begun
    assert len(tour) > 40


@pytest.mark.parametrize(
    "text",
    [
        "SET TIME ZONE 'UTC'",
        "set session characteristics as transaction read only",
        "PREPARE plan AS SELECT 1",
        "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
        "LISTEN changes",
        "CREATE TEMPORARY TABLE t ()",
        "SELECT set_config('timezone', 'UTC', false)",
        "SELECT pg_advisory_lock(1)",
        "SELECT pg_try_advisory_lock_shared(1)",
    ],
)
def test_statements_that_pin_are_recognized(text: str) -> None:
    assert PINNING.search(text)
