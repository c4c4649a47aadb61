"""GET /posts/stats: the number of posts of each user that has any."""

from typing import Any

import httpx
import psycopg

from tests.posts.conftest import CreatePost
from tests.resources import insert_rows


def test_every_user_that_has_posts_is_listed_once_with_their_number(
    api: httpx.Client, database: psycopg.Connection[Any]
) -> None:
    insert_rows(database, 1, 25)  # users 1, 3, 5 … have posts
    counts: list[tuple[int, int]] = []
    next_url = "/posts/stats?limit=3"
    while next_url:
        page = api.get(next_url).json()
        counts += [(row["user_id"], row["post_count"]) for row in page["data"]]
        next_url = page["next"]

    assert counts == [(1, 13), *((user_id, 1) for user_id in range(3, 26, 2))]


def test_counts_follow_each_write(api: httpx.Client, ada: int, create_post: CreatePost) -> None:
    for _ in range(3):
        create_post(ada)
    assert api.get("/posts/stats").json()["data"] == [{"user_id": ada, "post_count": 3}]
    api.delete("/posts/1")
    assert api.get("/posts/stats").json()["data"] == [{"user_id": ada, "post_count": 2}]
    api.delete(f"/users/{ada}")
    assert api.get("/posts/stats").json()["data"] == []
