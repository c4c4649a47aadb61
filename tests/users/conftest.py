"""Fixtures of the users' tests."""

from collections.abc import Callable
from typing import Any

import httpx
import psycopg
import pytest

from shared.database.models import BLOCK_IDS
from tests.migrations.conftest import empty_url, migrate, migrated, migrated_url, schema  # noqa: F401

CreateUser = Callable[..., dict[str, Any]]
Database = psycopg.Connection[Any]

USERS = 2 * BLOCK_IDS + 1000
RARE_FROM = BLOCK_IDS + 1000
LATE_FROM = 2 * BLOCK_IDS + 300
"""Every other user from there on has a name that no earlier one has."""


def insert_many_users(database: Database, step: int = 1) -> None:
    """Insert users of several id ranges, of whom two a minute joined up to now.

    Some in between joined long ago; some are deleted, a whole range among them. With a step of 13,
    there are only the users 1, 14, 27 and so on, which takes a tenth of the time.
    """
    database.execute(
        "INSERT INTO users (id, name, email, created_at) OVERRIDING SYSTEM VALUE SELECT n,"
        " CASE WHEN n > %(rare)s AND n %% 997 = 0 THEN 'O''Qz'"
        "  WHEN n > %(rare)s AND n %% 499 = 0 THEN 'Żółć 小龍'"
        "  WHEN n > %(late)s AND n %% 2 = 0 THEN 'Жозефина ΣΩΣ ' || n"
        "  WHEN n %% 10 = 0 THEN 'Anna ' || n ELSE 'Ben ' || n END,"
        " n || '@example.org',"
        " now() - (%(users)s - n) * interval '30 seconds'"
        "  - CASE WHEN n %% 700 < 20 THEN interval '8 days' ELSE interval '0' END"
        " FROM generate_series(1, %(users)s, %(step)s) n",
        {"users": USERS, "rare": RARE_FROM, "late": LATE_FROM, "step": step},
    )
    database.execute("DELETE FROM users WHERE id % 7 = 0")
    database.execute("DELETE FROM users WHERE id BETWEEN %s AND %s", [1000, 1000 + BLOCK_IDS])


def ids_where(database: Database, condition: str) -> list[int]:
    """Ids of users, in order. The conditions are the tests' own and no input."""
    statement = f"SELECT id FROM users WHERE {condition} ORDER BY id".encode()
    return [row_id for (row_id,) in database.execute(statement)]


def followed_ids(api: httpx.Client, url: str) -> list[int]:
    """Ids of the items of all pages from `url` on."""
    ids: list[int] = []
    next_url: str | None = url
    while next_url:
        response = api.get(next_url)
        assert response.status_code == 200, response.text
        ids += [item["id"] for item in response.json()["data"]]
        next_url = response.json()["next"]
    return ids


@pytest.fixture
def create_user(api: httpx.Client) -> CreateUser:
    """Create a user through the API; return the response's body."""

    def create(name: str = "Ada Lovelace", email: str = "ada@example.org") -> dict[str, Any]:
        response = api.post("/users", json={"name": name, "email": email})
        assert response.status_code == 201, response.text
        user: dict[str, Any] = response.json()
        return user

    return create
