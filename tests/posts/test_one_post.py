"""GET, PUT, PATCH and DELETE /posts/{id}."""

from typing import Any

import httpx
import psycopg
import pytest

from tests.posts.conftest import CreatePost

METHODS = ["GET", "PUT", "PATCH", "DELETE"]


def test_a_post_is_shown(api: httpx.Client, create_post: CreatePost, ada: int) -> None:
    post = create_post(ada)
    answer = api.get(f"/posts/{post['id']}")

    assert answer.status_code == 200
    assert answer.json() == post


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("post_id", "status"),
    [
        ("1", 404),
        (str(2**63 - 1), 404),
        ("0", 422),
        (str(2**63), 422),
        (str(2**64), 404),
        ("9" * 5000, 404),
        ("-1", 404),
        ("x", 404),
    ],
)
def test_there_is_no_post_of_that_id(
    api: httpx.Client, ada: int, method: str, post_id: str, status: int
) -> None:
    body = {"user_id": ada, "title": "T", "content": "C"} if method.startswith("P") else None
    answer = api.request(method, f"/posts/{post_id}", json=body)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


def test_put_replaces_a_post(
    api: httpx.Client, create_post: CreatePost, ada: int, grace: int
) -> None:
    post = create_post(ada)
    wanted = {"user_id": grace, "title": "Other", "content": "Text"}
    answer = api.put(f"/posts/{post['id']}", json=wanted)

    assert answer.status_code == 200
    assert answer.json() == post | wanted
    assert api.get(f"/posts/{post['id']}").json() == post | wanted


@pytest.mark.parametrize("missing", ["user_id", "title", "content"])
def test_put_wants_every_field(
    api: httpx.Client, create_post: CreatePost, ada: int, missing: str
) -> None:
    post = create_post(ada)
    wanted = {"user_id": ada, "title": "Other", "content": "Text"}
    del wanted[missing]
    answer = api.put(f"/posts/{post['id']}", json=wanted)

    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [missing]
    assert api.get(f"/posts/{post['id']}").json() == post


@pytest.mark.parametrize(
    "changes", [{"title": "Other"}, {"content": "Text"}, {"title": "A", "content": "B"}, {}]
)
def test_patch_changes_what_is_given(
    api: httpx.Client, create_post: CreatePost, ada: int, changes: dict[str, str]
) -> None:
    post, other = create_post(ada), create_post(ada)
    answer = api.patch(f"/posts/{post['id']}", json=changes)

    assert answer.status_code == 200
    assert answer.json() == post | changes
    assert api.get(f"/posts/{post['id']}").json() == post | changes
    assert api.get(f"/posts/{other['id']}").json() == other


def test_patch_gives_a_post_to_another_user(
    api: httpx.Client, create_post: CreatePost, ada: int, grace: int
) -> None:
    post = create_post(ada)
    answer = api.patch(f"/posts/{post['id']}", json={"user_id": grace})
    assert answer.json() == post | {"user_id": grace}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"title": None}, "title"),
        ({"content": None}, "content"),
        ({"user_id": None}, "user_id"),
        ({"title": " "}, "title"),
        ({"content": ""}, "content"),
        ({"user_id": 0}, "user_id"),
        ({"tilte": "Other"}, "tilte"),
        ({"created_at": "2020-01-01"}, "created_at"),
    ],
)
def test_patch_refuses_what_create_refuses(
    api: httpx.Client, create_post: CreatePost, ada: int, changes: dict[str, Any], field: str
) -> None:
    post = create_post(ada)
    answer = api.patch(f"/posts/{post['id']}", json=changes)

    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert api.get(f"/posts/{post['id']}").json() == post


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_post_cannot_go_to_an_unknown_user(
    api: httpx.Client, create_post: CreatePost, ada: int, method: str
) -> None:
    post = create_post(ada)
    wanted = {"user_id": ada + 1000, "title": "Other", "content": "Text"}
    answer = api.request(method, f"/posts/{post['id']}", json=wanted)

    assert answer.status_code == 400
    assert answer.json()["type"] == "/problems#unknown-reference"
    assert api.get(f"/posts/{post['id']}").json() == post


def test_a_deleted_post_is_gone_and_the_others_stay(
    api: httpx.Client,
    create_post: CreatePost,
    ada: int,
    database: psycopg.Connection[Any],
) -> None:
    post, other = create_post(ada), create_post(ada)
    answer = api.delete(f"/posts/{post['id']}")

    assert (answer.status_code, answer.content) == (204, b"")
    assert api.get(f"/posts/{post['id']}").status_code == 404
    assert api.delete(f"/posts/{post['id']}").status_code == 404
    assert database.execute("SELECT id FROM posts").fetchall() == [(other["id"],)]
    assert api.get(f"/users/{ada}").status_code == 200
