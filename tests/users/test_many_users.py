"""Lists, searches and statistics over several id ranges: they are what SQL finds and counts."""

from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
from sqlalchemy import select
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from local.services import Services
from shared.database import read
from shared.database.models import BLOCK_IDS, users
from shared.database.paged_query import AFTER, ROWS, PagedQuery
from shared.http.fields import MAX_ID
from shared.http.pagination import encode_cursor
from shared.page import PagePosition
from tests.conftest import Worker
from tests.in_process import client_of
from tests.resources import EMPTY
from tests.transactions import REQUEST
from tests.users.conftest import (
    LATE_FROM,
    USERS,
    Database,
    followed_ids,
    ids_where,
    insert_many_users,
)
from users.search import search_statement


@pytest.fixture(scope="module")
def many_users(services: Services) -> Iterator[Database]:
    """A connection to the database with many users, which no test of this module changes."""
    with psycopg.connect(services.database_url, autocommit=True) as connection:
        connection.execute(EMPTY)
        # The index takes them at once when it is vacuumed, in a third of the time.
        connection.execute("ALTER INDEX users_name_parts_idx SET (fastupdate = on)")
        insert_many_users(connection)
        connection.execute("ALTER INDEX users_name_parts_idx SET (fastupdate = off)")
        connection.execute("VACUUM ANALYZE users")
        yield connection


@pytest.fixture
def api(many_users: Database, cache: object) -> Iterator[httpx.Client]:
    """The API over the many users."""
    with client_of() as client:
        yield client


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", []):
        yield from nodes(part)


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("Ben", BLOCK_IDS),
        ("e", BLOCK_IDS),
        (" ", BLOCK_IDS),
        ("жозефина", USERS - LATE_FROM),
        ("ωσ", USERS - LATE_FROM),
        ("小", 20),
        ("qz", 20),
        ("nobody", 0),
        ("zq", 0),
        ("%", 0),
        ("x" * 200, 0),
    ],
)
def test_a_search_reads_what_few_id_ranges_have_of_the_name(
    many_users: Database, name: str, read: int
) -> None:
    statement = search_statement(by_name=True, by_date=True)
    compiled = statement.compile(dialect=PGDialect_psycopg())  # type: ignore[no-untyped-call]
    given = {AFTER.key: 0, ROWS.key: 11, "name": name, "created_after": "2001-01-01"}
    row = many_users.execute(
        f"EXPLAIN (ANALYZE, FORMAT JSON) {compiled}", {**compiled.params, **given}
    ).fetchone()
    assert row is not None
    scans = [
        node
        for node in nodes(row[0][0]["Plan"])
        if "users" in (node.get("Relation Name"), node.get("Index Name", "").split("_")[0])
    ]

    assert [scan.get("Index Name") for scan in scans] == [None, "users_name_parts_idx"]
    # PostgreSQL rounds the mean of the loops.
    assert max(round(scan["Actual Rows"] * scan["Actual Loops"]) for scan in scans) <= read


def test_skip_counts_only_the_users_that_are_left(api: httpx.Client, many_users: Database) -> None:
    remaining = ids_where(many_users, "true")
    edges = (0, 1, 857, 858, 1000, 2500, len(remaining) - 3, len(remaining) - 1, len(remaining))
    for skip in edges:
        page = api.get(f"/users?skip={skip}&limit=5").json()
        assert [user["id"] for user in page["data"]] == remaining[skip : skip + 5]
        assert page["total"] == len(remaining)


def test_skip_counts_from_the_end_in_descending_order(many_users: Database, worker: Worker) -> None:
    remaining = ids_where(many_users, "true")[::-1]
    listed = PagedQuery(select(users), users.c.id, counted=True)
    for skip in (0, 1, 857, 858, 2500, len(remaining) - 858, len(remaining) - 1, len(remaining)):
        position = PagePosition(skip)
        page = worker.run(read(REQUEST, listed.fetch, position, 5, descending=True))
        assert [row.id for row in page.rows] == remaining[skip : skip + 5]


def test_a_page_past_the_end_is_empty(api: httpx.Client) -> None:
    for query in (f"skip={10**12}", f"cursor={encode_cursor(MAX_ID)}"):
        assert followed_ids(api, f"/users?{query}") == []


@pytest.mark.parametrize(
    ("name", "condition"),
    [
        ("anna", "name LIKE 'Anna%'"),
        ("an", "name LIKE 'Anna%'"),
        ("n", "name LIKE 'Anna%' OR name LIKE 'Ben%'"),
        ("o'qz", "name = 'O''Qz'"),
        ("O'Q", "name = 'O''Qz'"),
        ("qz", "name = 'O''Qz'"),
        ("Q", "name = 'O''Qz'"),
        ("'", "name = 'O''Qz'"),
        ("ŻÓŁ", "name LIKE 'Żółć%'"),
        ("óŁ", "name LIKE 'Żółć%'"),
        ("ć 小", "name LIKE 'Żółć%'"),
        ("小", "name LIKE 'Żółć%'"),
        ("ЖОЗЕФИНА", "name LIKE 'Жозефина%'"),
        ("на σως", "name LIKE 'Жозефина%'"),
        ("ω", "name LIKE 'Жозефина%'"),
        ("zq", "false"),
        ("%", "false"),
        ("nobody", "false"),
        ("Anna 9000", "name = 'Anna 9000'"),
    ],
)
def test_a_search_finds_every_match_in_order(
    api: httpx.Client, many_users: Database, name: str, condition: str
) -> None:
    url = httpx.URL("/users/search", params={"name": name, "limit": "100"})
    assert followed_ids(api, str(url)) == ids_where(many_users, condition)
    for days_ago in (0.5, 9):
        moment = moment_before(many_users, f"{days_ago} days")
        found = ids_where(many_users, f"({condition}) AND created_at >= '{moment}'")
        assert followed_ids(api, str(url.copy_merge_params({"created_after": moment}))) == found


def moment_before(database: Database, interval: str) -> str:
    row = database.execute(
        "SELECT date_trunc('second', now()) - %s::interval", [interval]
    ).fetchone()
    assert row is not None
    return str(row[0].isoformat())


@pytest.mark.parametrize("limit", [1, 7])
def test_a_search_by_date_skips_older_users(
    api: httpx.Client, many_users: Database, limit: int
) -> None:
    moment = moment_before(many_users, "20 minutes")
    url = httpx.URL("/users/search", params={"created_after": moment, "limit": limit})
    assert followed_ids(api, str(url)) == ids_where(many_users, f"created_at >= '{moment}'")
