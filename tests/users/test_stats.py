"""GET /users/stats: exact counts."""

import httpx
import pytest

from tests.resources import RESOURCES, insert_rows
from tests.users.conftest import CreateUser, Database, ids_where, insert_many_users


def test_without_users_the_counts_are_zero(api: httpx.Client) -> None:
    response = api.get("/users/stats")

    assert response.status_code == 200
    assert response.json() == {"total_users": 0, "users_last_7_days": 0}


def test_users_of_the_last_7_days_are_counted_separately(
    api: httpx.Client, database: Database
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
    api: httpx.Client, database: Database, create_user: CreateUser
) -> None:
    insert_rows(database, 1, 5)
    api.delete(f"/users/{create_user()['id']}")
    api.delete("/users/1")

    assert api.get("/users/stats").json()["total_users"] == 4
    assert api.get("/users").json()["total"] == 4


def test_a_rolled_back_insert_is_not_counted(api: httpx.Client, database: Database) -> None:
    with database.transaction(force_rollback=True):
        database.execute("INSERT INTO users (name, email) VALUES ('A', 'a@example.org')")
    assert api.get("/users/stats").json()["total_users"] == 0


@pytest.mark.parametrize("table", [", ".join(RESOURCES), "users"])
def test_a_truncated_table_counts_from_zero(
    api: httpx.Client, database: Database, table: str
) -> None:
    insert_rows(database, 1, 3)
    database.execute(f"TRUNCATE {table} CASCADE")
    database.execute("INSERT INTO users (name, email) VALUES ('A', 'a@example.org')")

    assert api.get("/users/stats").json() == {"total_users": 1, "users_last_7_days": 1}


def test_recent_users_are_counted_where_an_id_range_has_both(
    api: httpx.Client, database: Database
) -> None:
    insert_many_users(database, step=13)
    database.execute("UPDATE users SET created_at = now() - interval '1 year' WHERE id % 5 = 0")
    database.execute("UPDATE users SET created_at = now() WHERE id IN (27, 8997)")
    database.execute("DELETE FROM users WHERE id % 11 = 0")
    recent = ids_where(database, "created_at >= now() - interval '7 days'")

    assert api.get("/users/stats").json() == {
        "total_users": len(ids_where(database, "true")),
        "users_last_7_days": len(recent),
    }
