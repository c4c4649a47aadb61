"""GET /posts/stats: the number of posts of each user that has any, in pages."""

from typing import Any

import httpx
import psycopg
import pytest

from blog.http.pagination import encode_cursor
from tests.posts.conftest import InsertPosts


@pytest.fixture
def counts(database: psycopg.Connection[Any]) -> dict[int, int]:
    """25 users, of which each fifth has no posts; the number of posts by user."""
    database.execute(
        "INSERT INTO users (name, email) SELECT 'U', n || '@example.org'"
        " FROM generate_series(1, 25) n"
    )
    database.execute(
        "INSERT INTO posts (user_id, title, content) SELECT u.id, 'T', 'C'"
        " FROM users u, generate_series(1, u.id % 5)"
    )
    return {user_id: user_id % 5 for user_id in range(1, 26) if user_id % 5}


def test_without_posts_there_is_nobody(api: httpx.Client, ada: int) -> None:
    assert api.get("/posts/stats").json() == {"data": [], "limit": 10, "next": None}


def test_pages_of_counts_have_each_user_once(api: httpx.Client, counts: dict[int, int]) -> None:
    found: list[tuple[int, int]] = []
    following = "/posts/stats?limit=3"
    while following:
        answer = api.get(following)
        assert answer.status_code == 200
        assert len(answer.json()["data"]) <= 3
        found += [(row["user_id"], row["post_count"]) for row in answer.json()["data"]]
        following = answer.json()["next"]
        assert answer.headers.get("link") == (f'<{following}>; rel="next"' if following else None)

    assert found == sorted(counts.items())


def test_counts_follow_each_write(api: httpx.Client, ada: int, insert_posts: InsertPosts) -> None:
    insert_posts(ada, 3)
    assert api.get("/posts/stats").json()["data"] == [{"user_id": ada, "post_count": 3}]
    api.delete("/posts/1")
    assert api.get("/posts/stats").json()["data"] == [{"user_id": ada, "post_count": 2}]
    api.delete(f"/users/{ada}")
    assert api.get("/posts/stats").json()["data"] == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("cursor=nonsense", "cursor"),
        (f"cursor={encode_cursor(1, '/users')}", "cursor"),
        (f"cursor={encode_cursor(1, '/posts')}", "cursor"),
        ("skip=1", "skip"),
        ("page=1", "page"),
        ("user_id=1", "user_id"),
    ],
)
def test_what_is_no_page_of_counts_is_refused(api: httpx.Client, query: str, field: str) -> None:
    answer = api.get(f"/posts/stats?{query}")

    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]
