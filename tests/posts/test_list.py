"""GET /posts: all or one user's, oldest or newest first, in pages."""

import json
from typing import Any

import httpx
import psycopg
import pytest

from blog.http.pagination import encode_cursor
from tests.in_process import LambdaContext, LambdaTransport
from tests.posts.conftest import CreatePost, InsertPosts

LAMBDA_ANSWER_BYTES = 6_291_456


def ids(answer: httpx.Response) -> list[int]:
    assert answer.status_code == 200, answer.text
    return [post["id"] for post in answer.json()["data"]]


def walked(api: httpx.Client, path: str) -> list[list[int]]:
    """The ids of the pages from `path` on, by following `next`."""
    pages, following = [], path
    while following:
        answer = api.get(following)
        pages.append(ids(answer))
        following = answer.json()["next"]
        assert answer.headers.get("link") == (f'<{following}>; rel="next"' if following else None)
    return pages


def test_without_posts_the_page_is_empty(api: httpx.Client) -> None:
    assert api.get("/posts").json() == {
        "data": [],
        "total": 0,
        "page": 1,
        "limit": 10,
        "total_pages": 0,
        "next": None,
    }


def test_a_post_in_a_page_is_the_post(api: httpx.Client, create_post: CreatePost, ada: int) -> None:
    post = create_post(ada, content='Line\r\n\t"quoted" \\ 😀')
    assert api.get("/posts").json()["data"] == [post]


@pytest.mark.parametrize(
    ("query", "expected_ids", "page"),
    [
        ("", range(1, 11), 1),
        ("?order=oldest", range(1, 11), 1),
        ("?skip=20", range(21, 24), 3),
        ("?skip=3&limit=4", range(4, 8), None),
        ("?page=2&limit=4", range(5, 9), 2),
        ("?order=newest", range(23, 13, -1), 1),
        ("?order=newest&skip=20", range(3, 0, -1), 3),
        ("?order=newest&skip=1&limit=2", range(22, 20, -1), None),
        ("?order=newest&page=3", range(3, 0, -1), 3),
        ("?order=newest&skip=23", [], None),
        (f"?order=newest&skip={2**63 - 1}", [], None),
    ],
)
def test_a_page_begins_where_it_is_told(
    api: httpx.Client,
    ada: int,
    insert_posts: InsertPosts,
    query: str,
    expected_ids: range,
    page: int | None,
) -> None:
    insert_posts(ada, 23)
    answer = api.get(f"/posts{query}")

    assert ids(answer) == list(expected_ids)
    assert (answer.json()["page"], answer.json()["total"]) == (page, 23)


@pytest.mark.parametrize("query", ["limit=4", "limit=4&order=newest"])
@pytest.mark.parametrize("of_user", [False, True])
def test_pages_by_skip_by_page_and_by_next_give_the_same_posts(
    api: httpx.Client, ada: int, grace: int, insert_posts: InsertPosts, query: str, of_user: bool
) -> None:
    for _ in range(3):
        insert_posts(ada, 5)
        insert_posts(grace, 2)
    path = f"/posts?{query}" + (f"&user_id={ada}" if of_user else "")
    by_next = walked(api, path)
    by_skip = [ids(api.get(f"{path}&skip={4 * page}")) for page in range(len(by_next))]
    by_page = [ids(api.get(f"{path}&page={page + 1}")) for page in range(len(by_next))]

    assert by_next == by_skip == by_page
    assert sum(map(len, by_next)) == (15 if of_user else 21)
    flat = [post_id for page in by_next for post_id in page]
    assert flat == sorted(flat, reverse="newest" in query)


def test_posts_of_a_user_are_that_users_alone(
    api: httpx.Client, ada: int, grace: int, insert_posts: InsertPosts
) -> None:
    insert_posts(ada, 12)
    insert_posts(grace, 1)
    page = api.get(f"/posts?user_id={ada}").json()

    assert {post["user_id"] for post in page["data"]} == {ada}
    assert (page["total"], page["total_pages"]) == (12, 2)
    assert f"user_id={ada}" in page["next"]


@pytest.mark.parametrize("user_id", [1000, 2**63 - 1])
def test_posts_of_an_unknown_user_are_none(
    api: httpx.Client, ada: int, insert_posts: InsertPosts, user_id: int
) -> None:
    insert_posts(ada, 1)
    page = api.get(f"/posts?user_id={user_id}").json()
    assert (page["data"], page["total"], page["total_pages"]) == ([], 0, 0)


@pytest.mark.parametrize("order", ["oldest", "newest"])
def test_a_walk_repeats_and_loses_no_post_under_writes(
    api: httpx.Client, ada: int, insert_posts: InsertPosts, order: str
) -> None:
    insert_posts(ada, 20)
    seen, following = [], f"/posts?limit=3&order={order}"
    while following:
        answer = api.get(following)
        seen += ids(answer)
        following = answer.json()["next"]
        if len(seen) < 15:
            insert_posts(ada, 1)

    assert len(seen) == len(set(seen))
    assert set(seen) >= set(range(1, 21))
    if order == "newest":
        assert max(seen) == 20


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("order=random", ["order"]),
        ("order=NEWEST", ["order"]),
        ("order=", ["order"]),
        ("user_id=0", ["user_id"]),
        ("user_id=x", ["user_id"]),
        ("user_id=1_0", ["user_id"]),
        ("user_id=", ["user_id"]),
        (f"user_id={2**63}", ["user_id"]),
        (f"user_id={'9' * 5000}", ["user_id"]),
        ("limit=101", ["limit"]),
        ("skip=-1", ["skip"]),
        (f"skip={2**63}", ["skip"]),
        (f"page={2**63}", ["page"]),
        ("skip=0&page=1", ["page"]),
        ("userid=1", ["userid"]),
        ("limit=0&order=x&user_id=0", ["limit", "order", "user_id"]),
    ],
)
def test_what_is_no_page_is_refused(api: httpx.Client, query: str, fields: list[str]) -> None:
    answer = api.get(f"/posts?{query}")

    assert answer.status_code == 422
    assert sorted(error["field"] for error in answer.json()["errors"]) == sorted(fields)
    assert {error["in"] for error in answer.json()["errors"]} == {"query"}


@pytest.mark.parametrize("other", ["/users", "/posts?order=newest", "/posts?user_id=1"])
def test_a_cursor_of_another_list_is_refused(
    api: httpx.Client, ada: int, insert_posts: InsertPosts, other: str
) -> None:
    insert_posts(ada, 3)
    if other == "/users":
        cursor = encode_cursor(1, "/users")
    else:
        following = httpx.URL(api.get(f"{other}&limit=1").json()["next"])
        cursor = following.params["cursor"]
        assert api.get(f"{other}&cursor={cursor}").status_code == 200

    assert api.get("/posts", params={"cursor": cursor}).status_code == 422


def test_every_altered_character_of_a_cursor_is_noticed(
    api: httpx.Client, ada: int, insert_posts: InsertPosts
) -> None:
    insert_posts(ada, 2)
    cursor = httpx.URL(api.get("/posts?limit=1").json()["next"]).params["cursor"]
    for position, old in enumerate(cursor):
        altered = cursor[:position] + ("A" if old != "A" else "B") + cursor[position + 1 :]
        assert api.get(f"/posts?cursor={altered}").status_code == 422, altered


@pytest.mark.parametrize("character", ['"', "\\", "😀", "\n"])
def test_the_largest_page_fits_in_an_answer_of_lambda(
    api: httpx.Client, ada: int, database: psycopg.Connection[Any], character: str
) -> None:
    database.execute(
        "INSERT INTO posts (user_id, title, content)"
        " SELECT %s, repeat('\"', 300), repeat(%s, 10000) FROM generate_series(1, 101)",
        [ada, character],
    )
    answer = api.get("/posts?limit=100")
    assert [len(post["content"]) for post in answer.json()["data"]] == [10_000] * 100
    assert len(lambda_answer("/posts?limit=100")) < LAMBDA_ANSWER_BYTES


def lambda_answer(path: str) -> bytes:
    """What the posts' handler gives to Lambda, as Lambda's runtime sends it."""
    from posts.handler import handler

    transport = LambdaTransport()
    with httpx.Client(transport=transport, base_url="http://api.test") as client:
        client.get(path)
    answer = handler(transport.last_event, LambdaContext())  # type: ignore[arg-type]
    return json.dumps(answer, ensure_ascii=False).encode()
