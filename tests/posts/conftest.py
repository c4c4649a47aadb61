"""Fixtures of the posts' tests."""

from collections.abc import Callable
from typing import Any

import httpx
import psycopg
import pytest

CreatePost = Callable[..., dict[str, Any]]
InsertPosts = Callable[[int, int], None]


@pytest.fixture
def ada(api: httpx.Client) -> int:
    """The id of a user."""
    answer = api.post("/users", json={"name": "Ada", "email": "ada@example.org"})
    return int(answer.json()["id"])


@pytest.fixture
def grace(api: httpx.Client) -> int:
    """The id of another user."""
    answer = api.post("/users", json={"name": "Grace", "email": "grace@example.org"})
    return int(answer.json()["id"])


@pytest.fixture
def create_post(api: httpx.Client) -> CreatePost:
    """Creates a post through the API; the answer's body."""

    def create(user_id: int, title: str = "Notes", content: str = "On the engine") -> Any:
        answer = api.post("/posts", json={"user_id": user_id, "title": title, "content": content})
        assert answer.status_code == 201, answer.text
        return answer.json()

    return create


@pytest.fixture
def insert_posts(database: psycopg.Connection[Any]) -> InsertPosts:
    """Writes that many posts of a user straight into the database, past the cache."""

    def insert(user_id: int, number: int) -> None:
        database.execute(
            "INSERT INTO posts (user_id, title, content)"
            " SELECT %s, 'Title ' || n, 'Content ' || n FROM generate_series(1, %s) n",
            [user_id, number],
        )

    return insert
