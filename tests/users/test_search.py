"""GET /users/search: by a substring of the name, by the time of creation, by both."""

from random import Random

import httpx
import pytest

from local.services import Services
from tests.conftest import Worker
from tests.layer.test_sessions import CASES, session_default
from tests.users.conftest import Database, followed_ids, insert_many_users

NAMES = [
    "Ada Lovelace",
    "ada byron",
    "Grace Hopper",
    "100% Real",
    "snake_case",
    "back\\slash",
    "Jürgen Österreich",
    "JÜRGEN ÖSTERREICH",
    "Жук",
    "O'Brien",
    "李小龍",
    "a_a%a\\a",
    "Γιώργος",
    "José",
    "Straße",
    "STRASSE",
]


@pytest.fixture
def named_users(database: Database) -> None:
    with database.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO users (name, email) VALUES (%s, %s)",
            [(name, f"user{number}@example.org") for number, name in enumerate(NAMES)],
        )


@pytest.fixture
def users_by_time(database: Database) -> None:
    database.execute(
        "INSERT INTO users (name, email, created_at) VALUES"
        " ('before', 'a@example.org', '2026-01-30T23:59:59.999999Z'),"
        " ('midnight', 'b@example.org', '2026-01-31T00:00:00Z'),"
        " ('noon', 'c@example.org', '2026-01-31T12:00:00Z'),"
        " ('later', 'd@example.org', '2026-02-01T00:00:00Z')"
    )


def names(response: httpx.Response) -> list[str]:
    assert response.status_code == 200, response.text
    return [user["name"] for user in response.json()["data"]]


FOUND: list[tuple[str, list[str]]] = [
    ("ada", ["Ada Lovelace", "ada byron"]),
    ("ADA", ["Ada Lovelace", "ada byron"]),
    ("love", ["Ada Lovelace"]),
    ("a l", ["Ada Lovelace"]),
    ("Ada Lovelace", ["Ada Lovelace"]),
    ("x", []),
    ("%", ["100% Real", "a_a%a\\a"]),
    ("0% r", ["100% Real"]),
    ("_", ["snake_case", "a_a%a\\a"]),
    ("e_c", ["snake_case"]),
    ("\\", ["back\\slash", "a_a%a\\a"]),
    ("\\s", ["back\\slash"]),
    ("\\%", []),
    ("%a\\", ["a_a%a\\a"]),
    ("_a%", ["a_a%a\\a"]),
    ("jürgen", ["Jürgen Österreich", "JÜRGEN ÖSTERREICH"]),
    ("ÖST", ["Jürgen Österreich", "JÜRGEN ÖSTERREICH"]),
    ("jurgen", []),
    ("жУ", ["Жук"]),
    ("'b", ["O'Brien"]),
    ("小", ["李小龍"]),
    ("ΓΙΏΡΓΟΣ", ["Γιώργος"]),
    ("ώργο\u03c3", ["Γιώργος"]),
    ("ς", ["Γιώργος"]),
    ("strasse", ["Straße", "STRASSE"]),
    ("AẞE", ["Straße", "STRASSE"]),
    ("ß", ["Straße", "STRASSE"]),
    ("Jos\u00e9", ["José"]),
    ("JOSE\u0301", ["José"]),
    ("jose", []),
    (" ", [*NAMES[:4], "Jürgen Österreich", "JÜRGEN ÖSTERREICH"]),
    ("x" * 200, []),
]
"""Parts of names, each with the names that have it."""


@pytest.mark.usefixtures("named_users")
def test_a_name_is_found_by_a_substring_in_any_case(api: httpx.Client) -> None:
    for part, found in FOUND:
        response = api.get("/users/search", params={"name": part, "limit": 100})
        assert names(response) == found, part


@pytest.mark.usefixtures("named_users")
@pytest.mark.parametrize("query", ["limit=100", "name=&limit=100"])
def test_a_search_without_criteria_finds_every_user(api: httpx.Client, query: str) -> None:
    response = api.get(f"/users/search?{query}")
    assert names(response) == NAMES
    assert set(response.json()) == {"data", "limit", "next"}


FOUND_AFTER: list[tuple[str, list[str]]] = [
    ("2026-01-31", ["midnight", "noon", "later"]),
    ("2026-01-31T00:00:00Z", ["midnight", "noon", "later"]),
    ("2026-01-31T00:00:00.000001Z", ["noon", "later"]),
    ("2026-01-31T12:00:00", ["noon", "later"]),
    ("2026-01-31T12:00:00Z", ["noon", "later"]),
    ("2026-01-31T13:00:00+01:00", ["noon", "later"]),
    ("2026-01-31T07:00:00-05:00", ["noon", "later"]),
    ("2026-01-31 12:00:00", ["noon", "later"]),
    ("2026-01-31t12:00:01z", ["later"]),
    ("2026-01-31T23:59:60Z", ["later"]),
    ("2026-02-01T00:00:00+14:00", ["noon", "later"]),
    ("2026-02-02", []),
    ("0001-01-01", ["before", "midnight", "noon", "later"]),
    ("0001-01-01T00:00:00+14:00", ["before", "midnight", "noon", "later"]),
    ("9999-12-31T23:59:59-14:00", []),
]


@pytest.mark.usefixtures("users_by_time")
def test_created_after_includes_its_moment(api: httpx.Client) -> None:
    for moment, found in FOUND_AFTER:
        response = api.get("/users/search", params={"created_after": moment})
        assert names(response) == found, moment


@pytest.mark.usefixtures("users_by_time")
def test_name_and_time_are_both_required(api: httpx.Client) -> None:
    query = {"name": "NO", "created_after": "2026-01-31"}
    assert names(api.get("/users/search", params=query)) == ["noon"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"name": "x" * 201}, "name"),
        ({"name": "a\x00b"}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"created_after": ""}, "created_after"),
        ({"created_after": "yesterday"}, "created_after"),
        ({"created_after": "2026-02-30"}, "created_after"),
        ({"created_after": "1769860800"}, "created_after"),
        ({"created_after": "10000-01-01"}, "created_after"),
        ({"created_after": "2026-01-31T12:00:00+25:00"}, "created_after"),
        ({"created_after": "2026-01-31T12:00:00 01:00"}, "created_after"),
        ({"created_after": "2025-W01"}, "created_after"),
        ({"created_after": "2026-01-31T00:00:00+23:59:59.5"}, "created_after"),
        ({"created_after": "2026-01-31T00:00:00+01:02:03"}, "created_after"),
        ({"created_after": "null"}, "created_after"),
        ({"created_after": "\x00"}, "created_after"),
        ({"cursor": "A"}, "cursor"),
    ],
)
def test_an_invalid_search_is_rejected(
    api: httpx.Client, query: dict[str, str], field: str
) -> None:
    response = api.get("/users/search", params=query)

    assert response.status_code == 422
    assert [(error["in"], error["field"]) for error in response.json()["errors"]] == [
        ("query", field)
    ]


@pytest.mark.usefixtures("named_users")
@pytest.mark.parametrize(
    ("query", "number"),
    [
        ({"name": "%"}, 2),
        ({"name": "_"}, 2),
        ({"name": "ü"}, 2),
        ({"created_after": "2020-01-01T00:00:00.000001+05:30"}, len(NAMES)),
        ({"created_after": "0001-01-01T00:00:00+23:59"}, len(NAMES)),
        ({"name": "A", "created_after": "2020-01-01"}, 9),
    ],
)
def test_next_keeps_what_was_searched_for(
    api: httpx.Client, query: dict[str, str], number: int
) -> None:
    pages = [httpx.URL("/users/search", params=query | {"limit": limit}) for limit in ("1", "100")]
    by_one, at_once = (followed_ids(api, str(page)) for page in pages)
    assert by_one == at_once
    assert len(at_once) == number


def test_a_search_sees_each_write_at_once(api: httpx.Client) -> None:
    assert names(api.get("/users/search?name=ada")) == []
    api.post("/users", json={"name": "Ada", "email": "ada@example.org"})
    assert names(api.get("/users/search?name=ada")) == ["Ada"]


def test_a_search_finds_users_whose_date_was_changed(api: httpx.Client, database: Database) -> None:
    insert_many_users(database, step=13)
    database.execute("UPDATE users SET created_at = '2100-01-01' WHERE id IN (27, 8997)")
    assert followed_ids(api, "/users/search?created_after=2099-12-31") == [27, 8997]


CHARACTERS = "aAbß Σ\u03c3ςЖж小😀%_'\\"


def part_of(name: str, random: Random) -> str:
    start = random.randrange(len(name))
    return name[start : start + random.randint(1, 6)].swapcase()


def test_a_search_finds_what_a_comparison_with_each_name_finds(
    api: httpx.Client, database: Database
) -> None:
    random = Random(7)
    found = ["".join(random.choices(CHARACTERS, k=random.randint(1, 12))) for _ in range(1500)]
    database.execute(
        "INSERT INTO users (id, name, email) OVERRIDING SYSTEM VALUE"
        " SELECT n * 7, 'x' || name, n FROM unnest(%s::text[]) WITH ORDINALITY AS names (name, n)",
        [found],
    )
    for part in sorted({part_of(name, random) for name in random.sample(found, 30)}):
        rows = database.execute(
            "SELECT id FROM users WHERE strpos(fold_case(name), fold_case(%s)) > 0 ORDER BY id",
            [part],
        ).fetchall()
        limit = random.choice([7, 100]) if len(rows) < 100 else 100
        url = httpx.URL("/users/search", params={"name": part, "limit": limit})
        assert followed_ids(api, str(url)) == [row[0] for row in rows], part


@pytest.mark.usefixtures("named_users")
def test_defaults_of_a_session_reach_no_search_and_no_statistics(
    api: httpx.Client, database: Database, worker: Worker, services: Services
) -> None:
    for name, value in CASES:
        with session_default("url", name, value, database, worker, services.database_url):
            found = api.get("/users/search", params={"name": "γιώργος"}).json()["data"]
            assert [user["name"] for user in found] == ["Γιώργος"], (name, value)
            recent = api.get("/users/stats").json()["users_last_7_days"]
            assert recent == len(NAMES), (name, value)
