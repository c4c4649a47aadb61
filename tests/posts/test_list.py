"""GET /posts: its orders, the keys of its cached pages, and the size of the largest page."""

from typing import Any

import httpx
import psycopg
import pytest

from tests.in_process import LambdaTransport
from tests.resources import insert_rows

Database = psycopg.Connection[Any]

MAX_RESPONSE_BYTES = 6_291_456
"""Of Lambda."""


@pytest.mark.parametrize(
    ("query", "expected_ids"),
    [
        ("", range(1, 11)),
        ("?order=oldest", range(1, 11)),
        ("?order=newest", range(23, 13, -1)),
        ("?order=newest&skip=1&limit=2", range(22, 20, -1)),
        ("?order=newest&page=3", range(3, 0, -1)),
        ("?order=newest&user_id=1&limit=3", range(22, 17, -2)),
    ],
)
def test_posts_are_listed_oldest_or_newest_first(
    api: httpx.Client, database: Database, query: str, expected_ids: range
) -> None:
    insert_rows(database, 1, 23)
    page = api.get(f"/posts{query}").json()
    assert [post["id"] for post in page["data"]] == list(expected_ids)


@pytest.mark.parametrize("order", ["random", "NEWEST", ""])
def test_an_unknown_order_is_rejected(api: httpx.Client, order: str) -> None:
    response = api.get("/posts", params={"order": order, "limit": "0"})
    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == ["limit", "order"]


@pytest.mark.parametrize(
    ("query", "key"),
    [
        ("", "posts:all:oldest:1:10"),
        ("?page=2&limit=1", "posts:all:oldest:2:1"),
        ("?skip=1&limit=1&order=newest", "posts:all:newest:2:1"),
        ("?user_id=1", "posts:1:oldest:1:10"),
        ("?user_id=1&order=newest", "posts:1:newest:1:10"),
        ("?user_id=4711", "posts:4711:oldest:1:10"),
    ],
)
def test_the_key_of_a_cached_page_has_user_order_page_and_limit(
    api: httpx.Client, database: Database, cache: Any, query: str, key: str
) -> None:
    insert_rows(database, 1, 3)
    is_empty = not api.get(f"/posts{query}").json()["data"]
    expected = {b"generations", key.encode()}
    if query.startswith("?user_id"):
        expected.add(f"scope:posts:{key.split(':')[1]}".encode())
    assert set(cache.keys()) == expected
    assert (cache.pttl(key) <= 1000) == is_empty == ("4711" in query)


@pytest.mark.parametrize("character", ['"', "\\", "😀", "\n"])
def test_the_largest_page_fits_in_a_response_of_lambda(
    api: httpx.Client, ada: int, database: Database, character: str
) -> None:
    database.execute(
        "INSERT INTO posts (user_id, title, content)"
        " SELECT %s, repeat('\"', 300), repeat(%s, 10000) FROM generate_series(1, 101)",
        [ada, character],
    )
    transport = LambdaTransport()
    response = transport.handle_request(httpx.Request("GET", "http://api.test/posts?limit=100"))

    assert [len(post["content"]) for post in response.json()["data"]] == [10_000] * 100
    assert transport.last_payload_bytes() < MAX_RESPONSE_BYTES
