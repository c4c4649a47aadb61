"""GET /users/stats: exact counts."""

from typing import Any

import httpx
import psycopg
import pytest

from tests.users.conftest import CreateUser, InsertUsers


def test_without_users_the_counts_are_zero(api: httpx.Client) -> None:
    answer = api.get("/users/stats")

    assert answer.status_code == 200
    assert answer.json() == {"total_users": 0, "users_last_7_days": 0}


def test_users_of_the_last_7_days_are_counted_apart(
    api: httpx.Client, database: psycopg.Connection[Any]
) -> None:
    database.execute(
        "INSERT INTO users (name, email, created_at) VALUES"
        " ('now', 'a@example.org', now()),"
        " ('just', 'b@example.org', now() - interval '7 days' + interval '1 minute'),"
        " ('past', 'c@example.org', now() - interval '7 days' - interval '1 second'),"
        " ('old', 'd@example.org', now() - interval '1 year')"
    )
    assert api.get("/users/stats").json() == {"total_users": 4, "users_last_7_days": 2}


def test_the_total_follows_inserts_and_deletes(
    api: httpx.Client, create_user: CreateUser, insert_users: InsertUsers
) -> None:
    insert_users(5)
    api.delete(f"/users/{create_user()['id']}")
    api.delete("/users/1")

    assert api.get("/users/stats").json()["total_users"] == 4
    assert api.get("/users").json()["total"] == 4


def test_a_rolled_back_insert_is_not_counted(
    api: httpx.Client, database: psycopg.Connection[Any]
) -> None:
    with database.transaction(force_rollback=True):
        database.execute("INSERT INTO users (name, email) VALUES ('A', 'a@example.org')")
    assert api.get("/users/stats").json()["total_users"] == 0


@pytest.mark.parametrize("table", ["users, posts", "users CASCADE"])
def test_a_truncated_table_counts_from_zero(
    api: httpx.Client, database: psycopg.Connection[Any], insert_users: InsertUsers, table: str
) -> None:
    insert_users(3)
    database.execute(f"TRUNCATE {table}")
    database.execute("INSERT INTO users (name, email) VALUES ('A', 'a@example.org')")

    assert api.get("/users/stats").json() == {"total_users": 1, "users_last_7_days": 1}
