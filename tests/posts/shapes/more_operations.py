"""Tests of what docs/more-operations.md adds to the posts; they are run in the copy."""

from typing import Any

import httpx

from tests.conftest import ApiOf
from tests.in_process import client_of


def author_with_post(api_of: ApiOf, subject: str) -> tuple[httpx.Client, int]:
    api = api_of("author", subject=subject)
    created = api.post("/users", json={"name": subject, "email": f"{subject}@example.org"})
    user = created.json()["id"]
    body = {"user_id": user, "title": f"By {subject}", "content": "First."}
    assert api.post("/posts", json=body).status_code == 201
    return api, user


def titles(api: httpx.Client) -> list[str]:
    return [post["title"] for post in api.get("/posts/mine").json()["data"]]


def test_callers_see_their_own_posts_from_pages_of_their_own(api_of: ApiOf, cache: Any) -> None:
    (ada, user), (bob, _) = (author_with_post(api_of, name) for name in ("ada", "bob"))
    for _ in range(2):
        assert (titles(ada), titles(bob)) == (["By ada"], ["By bob"])
        assert titles(api_of("reader", subject="eve")) == []
    assert len(cache.keys("posts/mine:*")) >= 2
    assert (
        ada.post("/posts", json={"user_id": user, "title": "New", "content": "Second."}).status_code
        == 201
    )
    assert (titles(ada), titles(bob)) == (["By ada", "New"], ["By bob"])


def test_a_plain_read_is_authorized_and_conditional(api_of: ApiOf) -> None:
    author_with_post(api_of, "ada")
    reader = api_of("reader", subject="eve")
    response = reader.get("/posts/titles")
    assert (response.text, response.headers["content-type"]) == (
        "By ada",
        "text/plain; charset=utf-8",
    )
    known = {"If-None-Match": response.headers["etag"]}
    assert reader.get("/posts/titles", headers=known).status_code == 304
    assert reader.get("/posts/titles?nonsense=1").status_code == 422
    with client_of() as anonymous:
        assert anonymous.get("/posts/titles").status_code == 401


def test_a_plain_write_obeys_owners_and_voids_pages(api_of: ApiOf) -> None:
    (ada, user), (bob, _) = (author_with_post(api_of, name) for name in ("ada", "bob"))
    assert ada.get("/posts").json()["total"] == 2
    path = f"/posts/of/{user}"
    assert api_of("reader", subject="eve").delete(path).status_code == 403
    assert bob.delete(path).status_code == 404
    assert ada.get("/posts").json()["total"] == 2
    assert ada.delete(path, headers={"If-Match": "*"}).status_code == 422
    assert ada.delete(path).status_code == 204
    assert ada.delete(path).status_code == 404
    assert titles(ada) == []
    assert ada.get("/posts").json()["total"] == 1
