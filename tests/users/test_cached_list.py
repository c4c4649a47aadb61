"""GET /users from the cache: what is kept, and that a write ends it."""

from collections.abc import Callable
from typing import Any

import httpx
import psycopg
import pytest
import redis

from tests.conftest import token_of
from tests.users.conftest import CreateUser, InsertUsers

Cache = redis.Redis
Change = Callable[[httpx.Client], httpx.Response]

WRITES: dict[str, Change] = {
    "POST": lambda api: api.post("/users", json={"name": "New", "email": "new@example.org"}),
    "PUT": lambda api: api.put("/users/1", json={"name": "New", "email": "new@example.org"}),
    "PATCH": lambda api: api.patch("/users/1", json={"name": "New"}),
    "DELETE": lambda api: api.delete("/users/1"),
}


def test_a_page_is_kept_after_its_token(
    api: httpx.Client, cache: Any, insert_users: InsertUsers
) -> None:
    insert_users(6)
    answer = api.get("/users?page=2&limit=5")

    assert cache.get("users:2:5") == token_of("users", cache) + b"\n" + answer.content
    assert 55 <= cache.ttl("users:2:5") <= 60
    assert cache.ttl("users:generation") == -1


def test_a_page_past_the_end_is_kept_for_a_second(
    api: httpx.Client, cache: Any, insert_users: InsertUsers
) -> None:
    insert_users(6)
    for page in (2, 10**6):
        assert api.get(f"/users?page={page}&limit=10").json()["data"] == []
        assert cache.pttl(f"users:{page}:10") <= 1000


def test_a_kept_page_is_served_without_the_database(
    api: httpx.Client, database: psycopg.Connection[Any], insert_users: InsertUsers
) -> None:
    insert_users(12)
    first = api.get("/users")
    database.execute("DELETE FROM users")  # behind the API's back
    second = api.get("/users")

    assert second.content == first.content
    assert second.headers["link"] == first.headers["link"]
    assert second.headers["content-type"] == first.headers["content-type"]


@pytest.mark.parametrize("query", ["skip=5&limit=5", "page=2&limit=5"])
def test_skip_and_page_share_a_page(api: httpx.Client, cache: Any, query: str) -> None:
    api.get(f"/users?{query}")
    assert set(cache.keys()) == {b"users:generation", b"users:2:5"}


@pytest.mark.parametrize("query", ["skip=3&limit=5", "next"])
def test_a_page_between_pages_is_not_kept(
    api: httpx.Client, cache: Any, insert_users: InsertUsers, query: str
) -> None:
    insert_users(12)
    path = api.get("/users").json()["next"] if query == "next" else f"/users?{query}"
    cache.flushdb()
    api.get(path)
    assert cache.keys() == []


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_a_page_cached_before_a_write_is_not_served_after_it(
    api: httpx.Client, create_user: CreateUser, write: Change
) -> None:
    create_user()
    before = api.get("/users").json()
    assert api.get("/users").json() == before
    assert write(api).is_success
    after = api.get("/users").json()

    assert after["data"] != before["data"]
    assert api.get("/users?page=1&limit=10").json() == after


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_a_write_leaves_no_fence_behind(
    api: httpx.Client, create_user: CreateUser, cache: Any, write: Change
) -> None:
    create_user()
    write(api)
    assert not cache.exists("users:fence", "posts:fence", "users:generation")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/users", {"name": "A", "email": "ada@example.org"}),
        ("PUT", "/users/99", {"name": "A", "email": "new@example.org"}),
        ("PATCH", "/users/99", {"name": "A"}),
        ("DELETE", "/users/99", None),
        ("PATCH", "/users/1", {}),
        ("POST", "/users", {"name": "", "email": ""}),
    ],
)
def test_a_write_that_changes_nothing_keeps_the_pages(
    api: httpx.Client,
    create_user: CreateUser,
    cache: Any,
    method: str,
    path: str,
    body: dict[str, str] | None,
) -> None:
    create_user()
    api.get("/users")
    generation = cache.get("users:generation")
    api.request(method, path, json=body)

    assert cache.get("users:generation") == generation
    assert not cache.exists("users:fence")


def test_a_refused_page_is_not_kept(api: httpx.Client, cache: Any) -> None:
    api.get("/users?limit=0")
    assert cache.keys() == []
