"""DELETE /users/{id}: the user goes, and the posts with it."""

from typing import Any

import httpx
import psycopg

from tests.users.conftest import CreateUser


def test_a_deleted_user_is_gone(api: httpx.Client, create_user: CreateUser) -> None:
    user = create_user()
    answer = api.delete(f"/users/{user['id']}")

    assert answer.status_code == 204
    assert answer.content == b""
    assert api.get(f"/users/{user['id']}").status_code == 404
    assert api.delete(f"/users/{user['id']}").status_code == 404


def test_a_deleted_users_address_is_free(api: httpx.Client, create_user: CreateUser) -> None:
    api.delete(f"/users/{create_user()['id']}")
    create_user()


def test_deleting_a_user_takes_the_posts_along_and_no_others(
    api: httpx.Client, create_user: CreateUser, database: psycopg.Connection[Any]
) -> None:
    ada, grace = create_user(), create_user(email="grace@example.org")
    for user in (ada, ada, grace):
        api.post("/posts", json={"user_id": user["id"], "title": "T", "content": "C"})
    api.delete(f"/users/{ada['id']}")

    assert database.execute("SELECT user_id FROM posts").fetchall() == [(grace["id"],)]
    assert api.get("/posts").json()["total"] == 1


def test_cached_pages_of_posts_do_not_outlive_their_user(
    api: httpx.Client, create_user: CreateUser
) -> None:
    ada = create_user()
    api.post("/posts", json={"user_id": ada["id"], "title": "T", "content": "C"})
    assert len(api.get("/posts").json()["data"]) == 1
    assert len(api.get(f"/posts?user_id={ada['id']}").json()["data"]) == 1
    api.delete(f"/users/{ada['id']}")

    assert api.get("/posts").json()["data"] == []
    assert api.get(f"/posts?user_id={ada['id']}").json()["data"] == []
