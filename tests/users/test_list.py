"""GET /users: pages by skip, by page, and by following next."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import psycopg
import pytest

from blog.http.pagination import encode_cursor
from tests.users.conftest import CreateUser, InsertUsers

MAX_BIGINT = 2**63 - 1


def ids(answer: httpx.Response) -> list[int]:
    return [user["id"] for user in answer.json()["data"]]


def test_without_users_the_page_is_empty(api: httpx.Client) -> None:
    answer = api.get("/users")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert "link" not in answer.headers
    assert answer.json() == {
        "data": [],
        "total": 0,
        "page": 1,
        "limit": 10,
        "total_pages": 0,
        "next": None,
    }


def test_a_page_has_ten_users_unless_told(api: httpx.Client, insert_users: InsertUsers) -> None:
    insert_users(23)
    page = api.get("/users").json()

    assert [user["id"] for user in page["data"]] == list(range(1, 11))
    assert (page["total"], page["page"], page["limit"], page["total_pages"]) == (23, 1, 10, 3)


def test_a_user_in_a_page_is_the_user(api: httpx.Client, create_user: CreateUser) -> None:
    user = create_user(name='Ünï "quoted" \\ 😀')
    assert api.get("/users").json()["data"] == [user]


@pytest.mark.parametrize(
    ("query", "expected_ids", "page"),
    [
        ("skip=0", range(1, 11), 1),
        ("skip=10", range(11, 21), 2),
        ("skip=20", range(21, 24), 3),
        ("skip=3&limit=5", range(4, 9), None),
        ("skip=5&limit=5", range(6, 11), 2),
        ("skip=22&limit=100", range(23, 24), None),
        ("skip=23", [], None),
        (f"skip={MAX_BIGINT}", [], None),
        (f"skip={MAX_BIGINT}&limit=1", [], MAX_BIGINT + 1),
        ("page=1", range(1, 11), 1),
        ("page=3", range(21, 24), 3),
        ("page=4", [], 4),
        ("page=2&limit=5", range(6, 11), 2),
        ("page=23&limit=1", range(23, 24), 23),
        ("limit=100", range(1, 24), 1),
        ("limit=0010&skip=00", range(1, 11), 1),
        ("limit=23", range(1, 24), 1),
        (f"page={MAX_BIGINT // 100}&limit=100", [], MAX_BIGINT // 100),
    ],
)
def test_a_page_begins_where_it_is_told(
    api: httpx.Client,
    insert_users: InsertUsers,
    query: str,
    expected_ids: range,
    page: int | None,
) -> None:
    insert_users(23)
    answer = api.get(f"/users?{query}")

    assert answer.status_code == 200
    assert ids(answer) == list(expected_ids)
    assert answer.json()["page"] == page
    assert answer.json()["total"] == 23


@pytest.mark.parametrize(("total", "pages"), [(1, 1), (4, 1), (5, 1), (6, 2), (10, 2), (11, 3)])
def test_total_pages_rounds_up(
    api: httpx.Client, insert_users: InsertUsers, total: int, pages: int
) -> None:
    insert_users(total)
    assert api.get("/users?limit=5").json()["total_pages"] == pages


def test_pages_by_skip_by_page_and_by_next_give_the_same_users(
    api: httpx.Client, insert_users: InsertUsers, database: psycopg.Connection[Any]
) -> None:
    insert_users(23)
    database.execute("DELETE FROM users WHERE id IN (1, 7, 8, 15)")
    by_skip = [ids(api.get(f"/users?limit=4&skip={skip}")) for skip in range(0, 20, 4)]
    by_page = [ids(api.get(f"/users?limit=4&page={page}")) for page in range(1, 6)]
    by_next, path = [], "/users?limit=4"
    while path:
        answer = api.get(path)
        by_next.append(ids(answer))
        path = answer.json()["next"]

    assert by_skip == by_page == by_next
    assert [len(page) for page in by_next] == [4, 4, 4, 4, 3]


def test_the_last_full_page_has_no_next(api: httpx.Client, insert_users: InsertUsers) -> None:
    insert_users(10)
    first = api.get("/users?limit=5")
    second = api.get(first.json()["next"])

    assert ids(second) == [6, 7, 8, 9, 10]
    assert second.json()["next"] is None
    assert "link" not in second.headers


@pytest.mark.parametrize("query", ["limit=4", "limit=4&skip=3", "limit=4&page=2"])
def test_link_is_next_and_keeps_the_limit(
    api: httpx.Client, insert_users: InsertUsers, query: str
) -> None:
    insert_users(15)
    for answer in (api.get(f"/users?{query}"), api.get(f"/users?{query}")):  # a miss and a hit
        following = answer.json()["next"]
        assert answer.headers["link"] == f'<{following}>; rel="next"'
        parts = urlsplit(following)
        assert (parts.scheme, parts.netloc, parts.path) == ("", "", "/users")
        assert parse_qs(parts.query)["limit"] == ["4"]
        assert answer.json()["data"][-1]["id"] + 1 == ids(api.get(following))[0]


def test_a_page_after_a_cursor_has_no_number(api: httpx.Client, insert_users: InsertUsers) -> None:
    insert_users(15)
    page = api.get(api.get("/users").json()["next"]).json()
    assert (page["page"], page["total"], page["total_pages"]) == (None, 15, 2)


def test_a_walk_by_next_repeats_and_loses_nobody_under_writes(
    api: httpx.Client, create_user: CreateUser, insert_users: InsertUsers
) -> None:
    insert_users(20)
    seen, path = [], "/users?limit=3"
    while path:
        answer = api.get(path)
        seen += ids(answer)
        path = answer.json()["next"]
        if len(seen) < 15:
            api.delete(f"/users/{seen[0] + len(seen) // 3 - 1}")  # behind the walk
            create_user(email=f"new{len(seen)}@example.org")  # ahead of it

    assert seen == sorted(set(seen))
    assert set(seen) >= set(range(1, 21))
    assert len(seen) > 20


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("skip=-1", ["skip"]),
        ("skip=x", ["skip"]),
        ("skip=1.5", ["skip"]),
        ("skip=", ["skip"]),
        (f"skip={2**63}", ["skip"]),
        (f"skip={2**64}", ["skip"]),
        (f"skip={'9' * 5000}", ["skip"]),
        ("page=0", ["page"]),
        ("page=-1", ["page"]),
        (f"page={MAX_BIGINT // 100 + 1}", ["page"]),
        (f"page={2**63}", ["page"]),
        ("limit=0", ["limit"]),
        ("limit=-1", ["limit"]),
        ("limit=101", ["limit"]),
        ("limit=ten", ["limit"]),
        ("limit=null", ["limit"]),
        (f"limit={2**64}", ["limit"]),
        ("limit=1_0", ["limit"]),
        ("limit=%201%20", ["limit"]),
        ("limit=1.0", ["limit"]),
        ("limit=1e1", ["limit"]),
        ("limit=%2B1", ["limit"]),
        ("limit=1%0A", ["limit"]),
        ("skip=-0", ["skip"]),
        ("skip=%D9%A3", ["skip"]),  # ARABIC-INDIC DIGIT THREE
        ("page=0x1", ["page"]),
        ("page=true", ["page"]),
        ("skip=0&page=1", ["page"]),
        (f"skip=0&cursor={encode_cursor(1, '/users')}", ["cursor"]),
        (f"page=1&cursor={encode_cursor(1, '/users')}", ["cursor"]),
        (f"skip=0&page=1&cursor={encode_cursor(1, '/users')}", ["page"]),
        ("offset=3", ["offset"]),
        ("Skip=3", ["Skip"]),
        ("limit=0&skip=-1", ["limit", "skip"]),
        ("%00=1", ["\x00"]),
        ("%ED%A0%80=1", None),
    ],
)
def test_what_is_no_page_is_refused(
    api: httpx.Client, query: str, fields: list[str] | None
) -> None:
    answer = api.get(f"/users?{query}")

    assert answer.status_code == 422
    errors = answer.json()["errors"]
    assert {error["in"] for error in errors} == {"query"}
    if fields is not None:
        assert sorted(error["field"] for error in errors) == sorted(fields)


def test_every_altered_character_of_a_cursor_is_noticed(api: httpx.Client) -> None:
    cursor = encode_cursor(5, "/users")
    for position, old in enumerate(cursor):
        new = "A" if old != "A" else "B"
        altered = cursor[:position] + new + cursor[position + 1 :]
        assert api.get(f"/users?cursor={altered}").status_code == 422, altered


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "A",
        "5",
        "%00",
        "ü",
        "!!!!",
        "A" * 22,
        "A" * 65,
        "A" * 5000,
        encode_cursor(5, "/users") + "A",
        encode_cursor(5, "/users") + "=",
        encode_cursor(5, "/users")[:-1],
        encode_cursor(5, "/users").swapcase(),
        encode_cursor(5, "/posts"),
        encode_cursor(5, "/users/search"),
        encode_cursor(5, "/posts/stats"),
        encode_cursor(-1, "/users"),
    ],
)
def test_a_cursor_that_this_list_did_not_make_is_refused(api: httpx.Client, cursor: str) -> None:
    answer = api.get("/users", params={"cursor": cursor})

    assert answer.status_code == 422
    assert [(error["in"], error["field"]) for error in answer.json()["errors"]] == [
        ("query", "cursor")
    ]


def test_a_cursor_at_the_end_of_all_ids_finds_nobody(
    api: httpx.Client, insert_users: InsertUsers
) -> None:
    insert_users(3)
    assert ids(api.get(f"/users?cursor={encode_cursor(MAX_BIGINT, '/users')}")) == []


def test_a_cursor_whose_user_was_deleted_goes_on(
    api: httpx.Client, insert_users: InsertUsers
) -> None:
    insert_users(6)
    following = api.get("/users?limit=3").json()["next"]
    api.delete("/users/3")
    assert ids(api.get(following)) == [4, 5, 6]
