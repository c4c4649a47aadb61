"""Lists, searches and statistics over several blocks of ids: what they say is what a count says."""

from collections.abc import Iterator
from random import Random
from typing import Any

import httpx
import psycopg
import pytest
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from blog.database.models import BLOCK_IDS
from users.search import search_statement

USERS = 2 * BLOCK_IDS + 1000
RARE_FROM = BLOCK_IDS + 1000
LATE_FROM = 2 * BLOCK_IDS + 300
"""Half of the users from there on have a name that nobody has before."""

Database = psycopg.Connection[Any]


@pytest.fixture
def many_users(database: Database) -> Database:
    """They joined two a minute up to now, but for some in between that joined long ago; some are
    gone, a whole block's worth among them."""
    database.execute(
        "INSERT INTO users (name, email, created_at) SELECT"
        " CASE WHEN n > %(rare)s AND n %% 997 = 0 THEN 'O''Qz'"
        "  WHEN n > %(rare)s AND n %% 499 = 0 THEN 'Żółć 小龍'"
        "  WHEN n > %(late)s AND n %% 2 = 0 THEN 'Жозефина ΣΩΣ ' || n"
        "  WHEN n %% 10 = 0 THEN 'Anna ' || n ELSE 'Ben ' || n END,"
        " n || '@example.org',"
        " now() - (%(users)s - n) * interval '30 seconds'"
        "  - CASE WHEN n %% 700 < 20 THEN interval '8 days' ELSE interval '0' END"
        " FROM generate_series(1, %(users)s) n",
        {"users": USERS, "rare": RARE_FROM, "late": LATE_FROM},
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
def test_a_search_reads_what_few_blocks_have_of_the_name(
    many_users: Database, name: str, read: int
) -> None:
    many_users.execute("VACUUM ANALYZE users")
    statement = search_statement(by_name=True, by_date=True)
    compiled = statement.compile(dialect=PGDialect_psycopg())  # type: ignore[no-untyped-call]
    given = {"page_after": 0, "page_rows": 11, "name": name, "created_after": "2001-01-01"}
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
    assert all(scan["Actual Rows"] * scan["Actual Loops"] <= read for scan in scans)


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
        ("ЖОЗЕФИНА", "name LIKE 'Жозефина%'"),
        ("на σως", "name LIKE 'Жозефина%'"),
        ("ω", "name LIKE 'Жозефина%'"),
        ("zq", "false"),
        ("%", "false"),
        ("nobody", "false"),
        ("Anna 9000", "name = 'Anna 9000'"),
    ],
)
def test_a_search_finds_them_all_in_order(
    api: httpx.Client, many_users: Database, name: str, condition: str
) -> None:
    first = httpx.URL("/users/search", params={"name": name, "limit": "100"})
    assert list(walk(api, str(first))) == ids_where(many_users, condition)
    for days_ago in (0.5, 2, 9, 400):
        row = many_users.execute(
            "SELECT date_trunc('second', now()) - %s * interval '1 day'", [days_ago]
        ).fetchone()
        assert row is not None
        moment = row[0].isoformat()
        since = first.copy_merge_params({"created_after": moment})
        found = ids_where(many_users, f"({condition}) AND created_at >= '{moment}'")
        assert list(walk(api, str(since))) == found


CHARACTERS = "aAbß Σ\u03c3ςЖж小😀%_'\\"


def test_searches_find_what_comparing_each_name_finds(
    api: httpx.Client, database: Database
) -> None:
    random = Random(7)
    names = ["".join(random.choices(CHARACTERS, k=random.randint(1, 12))) for _ in range(1500)]
    names = [f"x{name}" for name in names]
    database.execute(
        "INSERT INTO users (id, name, email) OVERRIDING SYSTEM VALUE"
        " SELECT n * 7, name, n FROM unnest(%s::text[]) WITH ORDINALITY AS names (name, n)",
        [names],
    )
    for name in random.sample(names, 60):
        start = random.randrange(len(name))
        part = name[start : start + random.randint(1, 6)].swapcase()
        rows = database.execute(
            "SELECT id FROM users WHERE strpos(fold_case(name), fold_case(%s)) > 0 ORDER BY id",
            [part],
        ).fetchall()
        first = httpx.URL("/users/search", params={"name": part, "limit": random.choice([7, 100])})
        assert list(walk(api, str(first))) == [row[0] for row in rows], part


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
