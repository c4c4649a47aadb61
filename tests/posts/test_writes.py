"""Texts of posts and the user they belong to: what is accepted, and what is rejected."""

from typing import Any

import httpx
import psycopg
import pytest

from tests.auth.claims import ISSUER
from tests.conftest import ApiOf
from tests.posts.conftest import CreatePost
from tests.resources import insert_rows

Database = psycopg.Connection[Any]

NOTES = {"title": "Notes", "content": "On the engine"}
JSON = {"Content-Type": "application/json"}
INVALID: dict[str, list[object]] = {
    "title": ["", "  ", "x" * 301, "a\x00b", "two\nlines", "a\x9fb", 1],
    "content": ["", "x" * 10_001, "a\x00b", "a\x1bb", "a\x7fb", "a\x85b", ["a"]],
    "user_id": [0, -1, 2**63, 2**64, 10**300, 1.5, "x", "1", 1.0, True],
}
STORED = {
    "title": ["x", "x" * 300, "😀" * 300, " padded "],
    "content": [
        *("x" * 10_000, "😀" * 10_000, " ", "\t\r\n"),
        *("line one\r\n\tline two\n", '"\\</script>'),
    ],
}


def posts(database: Database) -> list[Any]:
    return database.execute("SELECT * FROM posts ORDER BY id").fetchall()


@pytest.mark.parametrize("field", STORED)
def test_a_text_is_stored_as_it_was_sent(
    api: httpx.Client, create_post: CreatePost, ada: int, field: str
) -> None:
    for text in STORED[field]:
        post = create_post(ada, **{field: text})
        assert post[field] == text
        assert api.get("/posts?order=newest&limit=1").json()["data"] == [post]


@pytest.mark.parametrize("field", INVALID)
def test_an_invalid_field_is_named_and_nothing_written(
    api: httpx.Client, create_post: CreatePost, ada: int, database: Database, field: str
) -> None:
    create_post(ada)
    before = posts(database)
    for value in INVALID[field]:
        for method, path, body in (
            ("POST", "/posts", NOTES | {"user_id": ada, field: value}),
            ("PUT", "/posts/1", NOTES | {"user_id": ada, field: value}),
            ("PATCH", "/posts/1", {field: value}),
        ):
            response = api.request(method, path, json=body)
            assert response.status_code == 422, value
            errors = [(error["in"], error["field"]) for error in response.json()["errors"]]
            assert errors == [("body", field)], value
    assert posts(database) == before


@pytest.mark.parametrize("user_id", [1000, 2**31, 2**63 - 1])
def test_a_post_of_an_unknown_user_is_rejected_and_not_written(
    api: httpx.Client,
    create_post: CreatePost,
    ada: int,
    database: Database,
    cache: Any,
    user_id: int,
) -> None:
    create_post(ada)
    api.get("/posts")
    before, generation = posts(database), cache.hgetall("generations")
    for method, path in (("POST", "/posts"), ("PUT", "/posts/1"), ("PATCH", "/posts/1")):
        response = api.request(method, path, json=NOTES | {"user_id": user_id})
        assert response.status_code == 400
        assert response.json()["type"] == "/problems#unknown-reference"
        assert "user_id" in response.json()["detail"]
        assert "posts_user_id_fkey" not in response.text
    assert posts(database) == before
    assert cache.hgetall("generations") == generation
    assert not cache.exists("fences")


def test_deleting_a_post_keeps_its_user(
    api: httpx.Client, create_post: CreatePost, ada: int
) -> None:
    create_post(ada)
    assert api.delete("/posts/1").status_code == 204
    assert api.get(f"/users/{ada}").status_code == 200


def test_callers_write_only_the_posts_of_their_own_user(api_of: ApiOf, database: Database) -> None:
    insert_rows(database, 1, 3)
    database.execute("INSERT INTO identities VALUES (%s, 'ada', 1)", [ISSUER])
    ada, others = api_of("author"), {"user_id": 3}
    assert ada.post("/posts", json=NOTES | {"user_id": 1}).status_code == 201
    assert ada.post("/posts", json=NOTES | others).status_code == 403
    assert ada.patch("/posts/1", json=others).status_code == 403
    assert ada.delete("/posts/3").status_code == 403
    assert ada.delete("/posts/1").status_code == 204


def test_posts_are_deleted_with_their_user_and_no_others(
    api: httpx.Client, ada: int, create_post: CreatePost, database: Database
) -> None:
    grace = api.post("/users", json={"name": "Grace", "email": "grace@example.org"}).json()["id"]
    for user in (ada, ada, grace):
        create_post(user)
    api.delete(f"/users/{ada}")

    assert database.execute("SELECT user_id FROM posts").fetchall() == [(grace,)]
    assert api.get("/posts").json()["total"] == 1
