"""Tests of what docs/changing-a-resource.md adds to the posts; they are run in the copy."""

from typing import Any

import httpx
import psycopg

from tests.auth.claims import REQUIRED, claims_of
from tests.conftest import Worker
from tests.in_process import client_of
from tests.resources import insert_rows

Database = psycopg.Connection[Any]


def test_an_old_and_a_new_name_are_one_field(api: httpx.Client, database: Database) -> None:
    user = api.post("/users", json={"name": "Ada", "email": "ada@example.org"}).json()["id"]
    post = {"user_id": user, "title": "On engines", "content": "First."}
    created = api.post("/posts", json=post | {"subtitle": "old"}).json()
    assert (created["subtitle"], created["tagline"]) == ("old", "old")
    changed = api.patch("/posts/1", json={"tagline": "new"}).json()
    assert (changed["subtitle"], changed["tagline"]) == ("new", "new")
    changed = api.patch("/posts/1", json={"subtitle": None}).json()
    assert (changed["subtitle"], changed["tagline"]) == (None, None)

    # A release that knows only the old name.
    database.execute("UPDATE posts SET subtitle = 'by the release before'")
    assert api.get("/posts/1").json()["tagline"] == "by the release before"
    database.execute(
        "INSERT INTO posts (user_id, title, content, subtitle) VALUES (1, 'a', 'b', 'c')"
    )
    assert api.get("/posts/2").json()["tagline"] == "c"


def test_a_field_that_is_renamed_is_never_null(api: httpx.Client, database: Database) -> None:
    user = api.post("/users", json={"name": "Ada", "email": "ada@example.org"}).json()["id"]
    post = {"user_id": user, "title": "On engines", "content": "First."}
    for given, expected in (({"topic": "old"}, "old"), ({"theme": "new"}, "new"), ({}, "general")):
        created = api.post("/posts", json=post | given).json()
        assert (created["topic"], created["theme"]) == (expected, expected)

    # A release that knows only the old name.
    database.execute("INSERT INTO posts (user_id, title, content, topic) VALUES (1, 'a', 'b', 'c')")
    database.execute("INSERT INTO posts (user_id, title, content) VALUES (1, 'a', 'b')")
    assert [api.get(f"/posts/{id_}").json()["theme"] for id_ in (4, 5)] == ["c", "general"]
    database.execute("UPDATE posts SET topic = 'by the release before'")
    assert api.get("/posts/4").json()["theme"] == "by the release before"


def test_likes_are_shown_with_names_that_are_never_stale(
    api: httpx.Client, database: Database
) -> None:
    user = api.post("/users", json={"name": "Ada", "email": "ada@example.org"}).json()["id"]
    api.post("/posts", json={"user_id": user, "title": "On engines", "content": "First."})
    assert api.get("/posts/1/likes").json()["data"] == []
    for stars in (2, 5):
        assert api.put("/posts/1/likes/1", json={"stars": stars}).status_code == 204
        like = {"user_id": 1, "name": "Ada", "stars": stars}
        assert api.get("/posts/1/likes").json()["data"] == [like]
    api.patch("/users/1", json={"name": "Countess"})
    assert api.get("/posts/1/likes").json()["data"] == [like | {"name": "Countess"}]
    assert api.delete("/posts/1/likes/1").status_code == 204
    assert api.get("/posts/1/likes").json()["data"] == []


def test_a_rule_of_an_action_takes_back_what_it_wrote(api: httpx.Client) -> None:
    user = api.post("/users", json={"name": "Ada", "email": "ada@example.org"}).json()["id"]
    for content in (" \n", "First."):
        api.post("/posts", json={"user_id": user, "title": "On engines", "content": content})
    rejected = api.post("/posts/1/publish")
    assert rejected.status_code == 409
    assert rejected.json()["type"] == "/problems#conflict"
    assert rejected.json()["detail"] == "content: a post without a text cannot be published."
    assert api.get("/posts/1").json()["published_at"] is None
    assert api.post("/posts/2/publish").json()["published_at"]


def test_a_number_that_many_requests_change_stays_within_its_bounds(
    api: httpx.Client, database: Database
) -> None:
    insert_rows(database, 1, 1)
    assert api.post("/posts/1/copies", json={"number": 2}).json()["copies"] == 2
    assert api.post("/posts/1/copies", json={"number": -1}).json()["copies"] == 1
    rejected = api.post("/posts/1/copies", json={"number": -2})
    assert (rejected.status_code, rejected.json()["type"]) == (409, "/problems#conflict")
    assert rejected.json()["detail"] == "number: a post has 0 to 10000 copies."
    assert api.get("/posts/1").json()["copies"] == 1
    assert api.post("/posts/99/copies", json={"number": 1}).status_code == 404


def test_filters_that_are_not_given_match_everything(api: httpx.Client, database: Database) -> None:
    insert_rows(database, 1, 4)

    def found(query: str) -> list[int]:
        page = api.get(f"/posts/search{query}").json()
        ids = [post["id"] for post in page["data"]]
        assert page["total"] == len(ids)
        return ids

    assert found("") == [1, 2, 3, 4]
    assert found("?user_id=1") == [1, 2, 4]
    assert found("?title=E%204") == [4]
    assert found("?title=title&user_id=3") == [3]
    assert found("?title=title%204&user_id=3") == []


def test_a_post_is_created_below_its_user(api: httpx.Client, database: Database) -> None:
    insert_rows(database, 1, 1)
    body = {"title": "t", "content": "c"}
    created = api.post("/users/1/posts", json=body)
    assert created.headers["location"] == f"/posts/{created.json()['id']}"
    assert [post["title"] for post in api.get("/users/1/posts").json()["data"]][1:] == ["t"]
    assert api.post("/users/9/posts", json=body).status_code == 404


def test_clients_choose_what_orders_a_list(api: httpx.Client, database: Database) -> None:
    insert_rows(database, 1, 3)
    database.execute("UPDATE posts SET title = CASE id WHEN 1 THEN 'b' ELSE 'a' END")
    for query, ids in ("", [1, 2, 3]), ("sort=title", [2, 3, 1]):
        found, url = [], f"/posts/search?limit=1&{query}"
        while url:
            page = api.get(url).json()
            found += [post["id"] for post in page["data"]]
            url = page["next"]
        assert found == ids


def test_only_administrators_flag_a_post_and_see_its_flag(
    worker: Worker, api: httpx.Client, database: Database
) -> None:
    insert_rows(database, 1, 1)
    worker.restart(**REQUIRED)

    def api_as(role: str) -> httpx.Client:
        return client_of(claims=claims_of(role, subject=role))

    def flags(role: str) -> list[str | None]:
        return [post["flag"] for post in api_as(role).get("/posts/search").json()["data"]]

    flag = {"reason": "Spam"}
    assert api_as("author").post("/posts/1/flag", json=flag).status_code == 403
    assert api_as("admin").post("/posts/1/flag", json=flag).status_code == 200
    for _ in range(2):
        assert (flags("admin"), flags("author")) == (["Spam"], [None])
