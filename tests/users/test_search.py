"""GET /users/search: by a part of the name, by the time of creation, by both."""

from typing import Any

import httpx
import psycopg
import pytest

from blog.http.pagination import encode_cursor
from tests.users.conftest import InsertUsers

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
def named_users(database: psycopg.Connection[Any]) -> None:
    with database.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO users (name, email) VALUES (%s, %s)",
            [(name, f"user{number}@example.org") for number, name in enumerate(NAMES)],
        )


@pytest.fixture
def users_by_time(database: psycopg.Connection[Any]) -> None:
    database.execute(
        "INSERT INTO users (name, email, created_at) VALUES"
        " ('before', 'a@example.org', '2026-01-30T23:59:59.999999Z'),"
        " ('midnight', 'b@example.org', '2026-01-31T00:00:00Z'),"
        " ('noon', 'c@example.org', '2026-01-31T12:00:00Z'),"
        " ('later', 'd@example.org', '2026-02-01T00:00:00Z')"
    )


def names(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [user["name"] for user in answer.json()["data"]]


@pytest.mark.usefixtures("named_users")
@pytest.mark.parametrize(
    ("part", "found"),
    [
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
    ],
)
def test_a_name_is_found_by_a_part_in_any_case(
    api: httpx.Client, part: str, found: list[str]
) -> None:
    assert names(api.get("/users/search", params={"name": part, "limit": 100})) == found


@pytest.mark.usefixtures("named_users")
@pytest.mark.parametrize("query", ["", "?name=", "?limit=100"])
def test_a_search_for_nothing_finds_everybody(api: httpx.Client, query: str) -> None:
    limit = 100 if "limit" in query else 10
    answer = api.get(f"/users/search{query}")
    assert names(answer) == NAMES[:limit]
    assert set(answer.json()) == {"data", "limit", "next"}


@pytest.mark.usefixtures("users_by_time")
@pytest.mark.parametrize(
    ("moment", "found"),
    [
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
    ],
)
def test_created_after_includes_its_moment(
    api: httpx.Client, moment: str, found: list[str]
) -> None:
    assert names(api.get("/users/search", params={"created_after": moment})) == found


@pytest.mark.usefixtures("users_by_time")
def test_name_and_time_both_count(api: httpx.Client) -> None:
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
        ({"limit": "0"}, "limit"),
        ({"limit": "101"}, "limit"),
        ({"cursor": "nonsense"}, "cursor"),
        ({"cursor": encode_cursor(1, "/users")}, "cursor"),
        ({"nmae": "ada"}, "nmae"),
        ({"skip": "1"}, "skip"),
        ({"page": "1"}, "page"),
        ({"q": "ada"}, "q"),
    ],
)
def test_a_search_that_is_none_is_refused(
    api: httpx.Client, query: dict[str, str], field: str
) -> None:
    answer = api.get("/users/search", params=query)

    assert answer.status_code == 422
    assert [(error["in"], error["field"]) for error in answer.json()["errors"]] == [
        ("query", field)
    ]


@pytest.mark.usefixtures("named_users")
@pytest.mark.parametrize(
    "query",
    [
        {},
        {"name": "a"},
        {"name": "%"},
        {"name": "_"},
        {"name": "ü"},
        {"created_after": "2020-01-01T00:00:00.000001+05:30"},
        {"created_after": "0001-01-01T00:00:00+23:59"},
        {"name": "A", "created_after": "2020-01-01"},
    ],
)
def test_a_search_is_walked_by_next(api: httpx.Client, query: dict[str, str]) -> None:
    everything = names(api.get("/users/search", params=query | {"limit": "100"}))
    walked: list[str] = []
    answer = api.get("/users/search", params=query | {"limit": "1"})
    walked += names(answer)
    while following := answer.json()["next"]:
        assert answer.headers["link"] == f'<{following}>; rel="next"'
        answer = api.get(following)
        walked += names(answer)

    assert len(everything) > 1
    assert walked == everything
    assert "link" not in answer.headers


def test_a_cursor_of_another_search_is_refused(
    api: httpx.Client, insert_users: InsertUsers
) -> None:
    insert_users(15)
    following = httpx.URL(api.get("/users/search?name=user&limit=2").json()["next"])
    cursor = following.params["cursor"]

    assert api.get("/users/search", params={"cursor": cursor}).status_code == 422
    other = {"cursor": cursor, "name": "use"}
    assert api.get("/users/search", params=other).status_code == 422
    same = {"cursor": cursor, "name": "user"}
    assert api.get("/users/search", params=same).status_code == 200


def test_a_search_sees_each_write_at_once(api: httpx.Client) -> None:
    assert names(api.get("/users/search?name=ada")) == []
    api.post("/users", json={"name": "Ada", "email": "ada@example.org"})
    assert names(api.get("/users/search?name=ada")) == ["Ada"]
