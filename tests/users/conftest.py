"""Fixtures of the users' tests."""

from collections.abc import Callable
from typing import Any

import httpx
import psycopg
import pytest

CreateUser = Callable[..., dict[str, Any]]
InsertUsers = Callable[[int], None]


@pytest.fixture
def create_user(api: httpx.Client) -> CreateUser:
    """Creates a user through the API; the answer's body."""

    def create(name: str = "Ada Lovelace", email: str = "ada@example.org") -> dict[str, Any]:
        answer = api.post("/users", json={"name": name, "email": email})
        assert answer.status_code == 201, answer.text
        user: dict[str, Any] = answer.json()
        return user

    return create


@pytest.fixture
def insert_users(database: psycopg.Connection[Any]) -> InsertUsers:
    """Writes that many users straight into the database, past the cache."""

    def insert(number: int) -> None:
        database.execute(
            "INSERT INTO users (name, email)"
            " SELECT 'User ' || n, 'user' || n || '@example.org' FROM generate_series(1, %s) n",
            [number],
        )

    return insert
