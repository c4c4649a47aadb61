"""POST /posts: what is created, and what is refused."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest

from tests.posts.conftest import CreatePost

NOTES = {"title": "Notes", "content": "On the engine"}

FIELDS_REFUSED: list[tuple[str, object]] = [
    ("title", ""),
    ("title", "  "),
    ("title", "x" * 301),
    ("title", "a\x00b"),
    ("title", "two\nlines"),
    ("title", "a\x9fb"),
    ("title", None),
    ("title", 1),
    ("content", ""),
    ("content", "x" * 10_001),
    ("content", "a\x00b"),
    ("content", "a\x1bb"),
    ("content", "a\x7fb"),
    ("content", "a\x85b"),
    ("content", None),
    ("content", ["a"]),
    ("user_id", 0),
    ("user_id", -1),
    ("user_id", 2**63),
    ("user_id", 2**64),
    ("user_id", 10**300),
    ("user_id", 1.5),
    ("user_id", "x"),
    ("user_id", "1"),
    ("user_id", 1.0),
    ("user_id", True),
    ("user_id", None),
    ("published", True),
    ("id", 1),
]


def test_a_created_post_is_answered_with_its_id_and_time(api: httpx.Client, ada: int) -> None:
    answer = api.post("/posts", json=NOTES | {"user_id": ada})

    assert answer.status_code == 201
    assert answer.headers["content-type"] == "application/json"
    post = answer.json()
    assert set(post) == {"id", "user_id", "title", "content", "created_at"}
    assert post | NOTES | {"user_id": ada} == post
    created_at = datetime.fromisoformat(post["created_at"])
    assert abs(datetime.now(UTC) - created_at) < timedelta(minutes=1)
    assert answer.headers["location"] == f"/posts/{post['id']}"
    assert api.get(answer.headers["location"]).json() == post


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("title", "x"),
        ("title", "x" * 300),
        ("title", "😀" * 300),
        ("title", " padded "),
        ("content", "x" * 10_000),
        ("content", "😀" * 10_000),
        ("content", " "),
        ("content", "\t\r\n"),
        ("content", "line one\r\n\tline two\n"),
        ("content", '"\\</script>'),
    ],
)
def test_a_text_is_kept_as_it_was_sent(
    create_post: CreatePost, ada: int, field: str, text: str
) -> None:
    assert create_post(ada, **{field: text})[field] == text


@pytest.mark.parametrize(("field", "value"), FIELDS_REFUSED)
def test_a_field_that_is_not_acceptable_is_refused(
    api: httpx.Client, ada: int, database: psycopg.Connection[Any], field: str, value: object
) -> None:
    answer = api.post("/posts", json=NOTES | {"user_id": ada} | {field: value})

    assert answer.status_code == 422
    assert [(error["in"], error["field"]) for error in answer.json()["errors"]] == [("body", field)]
    assert database.execute("SELECT count(*) FROM posts").fetchone() == (0,)


@pytest.mark.parametrize("field", ["title", "content"])
def test_a_lone_surrogate_is_refused(api: httpx.Client, ada: int, field: str) -> None:
    texts = {"title": "T", "content": "C"} | {field: "\\ud800"}
    body = f'{{"user_id": {ada}, "title": "{texts["title"]}", "content": "{texts["content"]}"}}'
    answer = api.post("/posts", content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


@pytest.mark.parametrize("user_id", [1, 2**31, 2**63 - 1])
def test_a_post_of_an_unknown_user_is_refused_and_not_written(
    api: httpx.Client, database: psycopg.Connection[Any], user_id: int
) -> None:
    answer = api.post("/posts", json=NOTES | {"user_id": user_id})

    assert answer.status_code == 400
    problem = answer.json()
    assert problem["type"] == "/problems#unknown-reference"
    assert "user_id" in problem["detail"]
    assert "posts_user_id_fkey" not in answer.text
    assert database.execute("SELECT count(*) FROM posts").fetchone() == (0,)
    assert api.get("/posts").json()["total"] == 0


def test_every_missing_field_is_named(api: httpx.Client) -> None:
    answer = api.post("/posts", json={})
    fields = {error["field"] for error in answer.json()["errors"]}
    assert fields == {"user_id", "title", "content"}
