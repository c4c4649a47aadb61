"""Lists, searches and statistics over several blocks of ids: what they say is what a count says."""

from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from blog.database.models import BLOCK_IDS
from users import queries

USERS = 2 * BLOCK_IDS + 1000
RARE_FROM = queries.WALKED_USERS + 3000

Database = psycopg.Connection[Any]


@pytest.fixture
def many_users(database: Database) -> Database:
    """They joined two a minute up to now, but for some in between that joined long ago; some are
    gone, a whole block's worth among them."""
    database.execute(
        "INSERT INTO users (name, email, created_at) SELECT"
        " CASE WHEN n > %(rare)s AND n %% 997 = 0 THEN 'O''Qz'"
        "  WHEN n > %(rare)s AND n %% 499 = 0 THEN 'Żółć 小龍'"
        "  WHEN n %% 10 = 0 THEN 'Anna ' || n ELSE 'Ben ' || n END,"
        " n || '@example.org',"
        " now() - (%(users)s - n) * interval '30 seconds'"
        "  - CASE WHEN n %% 700 < 20 THEN interval '8 days' ELSE interval '0' END"
        " FROM generate_series(1, %(users)s) n",
        {"users": USERS, "rare": RARE_FROM},
    )
    database.execute("DELETE FROM users WHERE id % 7 = 0")
    database.execute("DELETE FROM users WHERE id BETWEEN %s AND %s", [1000, 1000 + BLOCK_IDS])
    return database


def ids(answer: httpx.Response) -> list[int]:
    assert answer.status_code == 200, answer.text
    return [row["id"] for row in answer.json()["data"]]


def ids_where(database: Database, condition: str) -> list[int]:
    rows = database.execute(f"SELECT id FROM users WHERE {condition} ORDER BY id").fetchall()
    return [row[0] for row in rows]


def walk(api: httpx.Client, target: str) -> Iterator[int]:
    following: str | None = target
    while following:
        answer = api.get(following)
        yield from ids(answer)
        following = answer.json()["next"]


@pytest.mark.parametrize(
    ("name", "by_trigrams", "index"),
    [
        ("q", False, "users_short_parts_idx"),
        ("qz", False, "users_short_parts_idx"),
        ("nobody", True, "users_name_trgm_idx"),
    ],
)
def test_a_name_that_few_have_is_looked_up_in_an_index(
    many_users: Database, name: str, by_trigrams: bool, index: str
) -> None:
    many_users.execute("VACUUM ANALYZE users")
    statement = queries._far(by_date=False, by_trigrams=by_trigrams)
    compiled = statement.compile(dialect=PGDialect_psycopg())  # type: ignore[no-untyped-call]
    given = {"page_after": 0, "page_rows": 10, "pattern": f"%{name}%", "short_parts": name}
    plan = many_users.execute(f"EXPLAIN {compiled}", {**compiled.params, **given}).fetchall()

    assert index in str(plan)


def test_skip_finds_its_row_whatever_is_gone(api: httpx.Client, many_users: Database) -> None:
    remaining = ids_where(many_users, "true")
    edges = (0, 1, 857, 858, 1000, 2500, len(remaining) - 3, len(remaining) - 1, len(remaining))
    for skip in edges:
        answer = api.get(f"/users?skip={skip}&limit=5")
        assert ids(answer) == remaining[skip : skip + 5]
        assert answer.json()["total"] == len(remaining)


def test_a_user_behind_all_pages_is_none(api: httpx.Client, many_users: Database) -> None:
    assert ids(api.get(f"/users?skip={10**12}")) == []


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
        ("zq", "false"),
        ("%", "false"),
        ("nobody", "false"),
        ("Anna 9000", "name = 'Anna 9000'"),
    ],
)
@pytest.mark.parametrize("days_ago", [None, 0.5, 2, 9, 400])
def test_a_search_finds_them_all_in_order(
    api: httpx.Client, many_users: Database, name: str, condition: str, days_ago: float | None
) -> None:
    query = {"name": name, "limit": "100"}
    if days_ago is not None:
        row = many_users.execute(
            "SELECT date_trunc('second', now()) - %s * interval '1 day'", [days_ago]
        ).fetchone()
        assert row is not None
        query["created_after"] = row[0].isoformat()
        condition = f"({condition}) AND created_at >= '{row[0].isoformat()}'"
    first = str(httpx.URL("/users/search", params=query))

    assert list(walk(api, first)) == ids_where(many_users, condition)


@pytest.mark.parametrize("limit", [1, 7])
def test_a_search_by_date_passes_over_old_users(
    api: httpx.Client, many_users: Database, limit: int
) -> None:
    row = many_users.execute("SELECT now() - interval '1 hour'").fetchone()
    assert row is not None
    moment = row[0].isoformat()
    first = httpx.URL("/users/search", params={"created_after": moment, "limit": limit})

    assert list(walk(api, str(first))) == ids_where(many_users, f"created_at >= '{moment}'")


def test_recent_users_are_counted_where_a_block_has_both(
    api: httpx.Client, many_users: Database
) -> None:
    many_users.execute("UPDATE users SET created_at = now() - interval '1 year' WHERE id % 5 = 0")
    many_users.execute("UPDATE users SET created_at = now() WHERE id IN (3, 9000)")
    many_users.execute("DELETE FROM users WHERE id % 11 = 0")
    recent = ids_where(many_users, "created_at >= now() - interval '7 days'")

    assert api.get("/users/stats").json() == {
        "total_users": len(ids_where(many_users, "true")),
        "users_last_7_days": len(recent),
    }


def test_a_search_finds_users_whose_date_was_changed(
    api: httpx.Client, many_users: Database
) -> None:
    many_users.execute("UPDATE users SET created_at = '2100-01-01' WHERE id IN (3, 9000)")
    assert ids(api.get("/users/search?created_after=2099-12-31")) == [3, 9000]
