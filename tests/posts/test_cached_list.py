"""GET /posts from the cache: what is kept, and that a write ends it."""

from collections.abc import Callable
from typing import Any

import httpx
import psycopg
import pytest

from tests.conftest import token_of
from tests.posts.conftest import CreatePost, InsertPosts

Change = Callable[[httpx.Client], httpx.Response]

NEW = {"user_id": 1, "title": "New", "content": "Text"}
WRITES: dict[str, Change] = {
    "POST": lambda api: api.post("/posts", json=NEW),
    "PUT": lambda api: api.put("/posts/1", json=NEW),
    "PATCH": lambda api: api.patch("/posts/1", json={"title": "New"}),
    "DELETE": lambda api: api.delete("/posts/1"),
    "DELETE of the user": lambda api: api.delete("/users/1"),
}
LISTS = ["/posts", "/posts?user_id=1", "/posts?order=newest", "/posts?user_id=1&order=newest"]


@pytest.mark.parametrize(
    ("query", "key"),
    [
        ("", "posts:all:oldest:1:10"),
        ("?page=2&limit=5", "posts:all:oldest:2:5"),
        ("?skip=5&limit=5&order=newest", "posts:all:newest:2:5"),
        ("?user_id=1", "posts:1:oldest:1:10"),
        ("?user_id=1&order=newest", "posts:1:newest:1:10"),
        ("?skip=3", None),
    ],
)
def test_each_list_has_pages_of_its_own(
    api: httpx.Client,
    cache: Any,
    ada: int,
    insert_posts: InsertPosts,
    query: str,
    key: str | None,
) -> None:
    insert_posts(ada, 6)
    answer = api.get(f"/posts{query}")
    kept = set(cache.keys()) - {b"posts:generation"}

    assert kept == ({key.encode()} if key else set())
    if key:
        link = answer.headers.get("link", "").partition(">")[0].removeprefix("<").encode()
        assert cache.get(key) == token_of("posts", cache) + link + b"\n" + answer.content
        assert 55 <= cache.ttl(key) <= 60


def test_a_page_of_an_unknown_user_is_kept_for_a_second(api: httpx.Client, cache: Any) -> None:
    assert api.get("/posts?user_id=4711").json()["data"] == []
    assert cache.pttl("posts:4711:oldest:1:10") <= 1000


def test_a_kept_page_is_served_without_the_database(
    api: httpx.Client, ada: int, insert_posts: InsertPosts, database: psycopg.Connection[Any]
) -> None:
    insert_posts(ada, 12)
    first = api.get("/posts")
    database.execute("DELETE FROM posts")  # behind the API's back
    second = api.get("/posts")

    assert second.content == first.content
    assert second.headers["link"] == first.headers["link"]


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_a_page_cached_before_a_write_is_not_served_after_it(
    api: httpx.Client, ada: int, create_post: CreatePost, cache: Any, path: str, write: Change
) -> None:
    create_post(ada)
    before = api.get(path).json()
    assert api.get(path).json() == before
    assert write(api).is_success
    after = api.get(path).json()

    assert len(before["data"]) == 1
    assert after["data"] != before["data"]
    assert not cache.exists("posts:fence")


def test_a_write_to_users_keeps_the_pages_of_posts(api: httpx.Client, ada: int, cache: Any) -> None:
    api.get("/posts")
    generation = cache.get("posts:generation")
    api.patch(f"/users/{ada}", json={"name": "Countess"})
    assert cache.get("posts:generation") == generation


def test_a_refused_post_keeps_the_pages(api: httpx.Client, cache: Any) -> None:
    api.get("/posts")
    generation = cache.get("posts:generation")
    assert api.post("/posts", json=NEW | {"user_id": 99}).status_code == 400
    assert cache.get("posts:generation") == generation
    assert not cache.exists("posts:fence")
