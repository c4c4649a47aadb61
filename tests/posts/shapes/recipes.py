"""Tests of what docs/recipes.md adds to the posts; they are run in the copy."""

import asyncio
from collections.abc import Callable
from importlib import import_module
from typing import Any

import httpx
import psycopg
import pytest

from shared.process import reset
from tests.auth.claims import REQUIRED, claims_of
from tests.conftest import Worker
from tests.in_process import client_of

Database = psycopg.Connection[Any]
ApiAs = Callable[[str], httpx.Client]
POST = {"title": "On engines", "content": "First."}
SOURCES = "/posts/1/sources"


@pytest.fixture
def api_as(worker: Worker, emptied: None, cache: object) -> ApiAs:
    """Return the API as one author calls it, who has created a user."""
    worker.restart(**REQUIRED)

    def api_as(subject: str) -> httpx.Client:
        api = client_of(claims=claims_of("author", subject=subject))
        user = api.post("/users", json={"name": subject, "email": f"{subject}@example.org"})
        assert user.status_code == 201
        return api

    return api_as


def create(api: httpx.Client, **more: object) -> httpx.Response:
    return api.post("/posts", json={"user_id": 1, **POST, **more})


def test_a_post_and_its_sources_are_created_together_or_not_at_all(
    api_as: ApiAs, database: Database
) -> None:
    ada, bob = api_as("ada"), api_as("bob")
    assert create(bob, sources=["a"]).status_code == 403
    assert create(ada, sources=[""]).status_code == 422
    database.execute("ALTER TABLE sources ADD CONSTRAINT no_z CHECK (url <> 'z')")
    try:
        assert create(ada, sources=["a", "z"]).status_code == 500
    finally:
        database.execute("ALTER TABLE sources DROP CONSTRAINT no_z")
    assert ada.get("/posts").json()["total"] == 0
    path = create(ada, sources=["b", "a"]).headers["location"]
    assert ada.get(f"{path}/sources").json()["sources"] == ["b", "a"]
    assert ada.get("/posts").json()["total"] == 1


def test_a_new_source_is_a_change_of_its_post(api_as: ApiAs, database: Database) -> None:
    ada, bob = api_as("ada"), api_as("bob")
    tag = create(ada, sources=["a"]).headers["etag"]
    before = ada.get(SOURCES)
    assert bob.post(SOURCES, json={"url": "b"}).status_code == 403
    assert ada.get(SOURCES, headers={"If-None-Match": before.headers["etag"]}).status_code == 304

    added = ada.post(SOURCES, json={"url": "b"}, headers={"If-Match": tag})
    assert (added.status_code, added.json()["id"]) == (200, 1)
    after = ada.get(SOURCES, headers={"If-None-Match": before.headers["etag"]})
    assert (after.status_code, after.json()["sources"]) == (200, ["a", "b"])

    stale = {"If-Match": tag}
    assert ada.post(SOURCES, json={"url": "c"}, headers=stale).status_code == 412
    assert ada.patch("/posts/1", json={"title": "x"}, headers=stale).status_code == 412
    fresh = {"If-Match": added.headers["etag"]}
    assert ada.patch("/posts/1", json={"title": "x"}, headers=fresh).status_code == 200
    assert ada.post("/posts/9/sources", json={"url": "b"}).status_code == 404


def test_a_rule_counts_the_sources_and_takes_back_the_change(api_as: ApiAs) -> None:
    ada = api_as("ada")
    create(ada, sources=["a"] * 20)
    before = ada.get(SOURCES)
    assert ada.post(SOURCES, json={"url": "b"}).status_code == 409
    assert ada.get(SOURCES).headers["etag"] == before.headers["etag"]


def test_the_audit_log_has_what_insert_and_change_write(api_as: ApiAs, database: Database) -> None:
    ada = api_as("ada")
    create(ada, sources=["a", "b"])
    assert ada.post(SOURCES, json={"url": "c"}).status_code == 200
    logged = database.execute("SELECT resource, resource_id FROM audit_log ORDER BY id").fetchall()
    assert logged == [("users", 1), ("posts", 1), ("posts", 1), ("sources", 3)]


def test_every_change_of_a_post_sets_its_time(api: httpx.Client) -> None:
    api.post("/users", json={"name": "Ada", "email": "ada@example.org"})
    times = [create(api).json()["changed_at"]]
    for method, path, body in (
        ("PATCH", "/posts/1", {"title": "New"}),
        ("PUT", "/posts/1", {"user_id": 1, **POST}),
        ("POST", SOURCES, {"url": "a"}),
    ):
        assert api.request(method, path, json=body).status_code == 200
        times.append(api.get("/posts").json()["data"][0]["changed_at"])
    assert sorted(set(times)) == times
    assert api.patch("/posts/1", json={}).json()["changed_at"] == times[-1]


def test_a_deleted_post_is_shown_nowhere_and_stays(api_as: ApiAs, database: Database) -> None:
    ada, bob = api_as("ada"), api_as("bob")
    for _ in range(2):
        create(ada)
    assert ada.get("/posts").json()["total"] == 2
    tag = ada.get("/posts/1").headers["etag"]
    assert bob.delete("/posts/1").status_code == 403
    assert ada.delete("/posts/1", headers={"If-Match": '"other"'}).status_code == 412
    assert ada.delete("/posts/1", headers={"If-Match": tag}).status_code == 204

    assert [post["id"] for post in ada.get("/posts").json()["data"]] == [2]
    assert ada.get("/posts").json()["total"] == 1
    assert ada.get("/posts?user_id=1").json()["total"] == 1
    assert ada.get("/posts/stats").json()["data"] == [{"user_id": 1, "post_count": 1}]
    for method, body in (("GET", None), ("PATCH", {"title": "x"}), ("PATCH", {}), ("DELETE", None)):
        assert ada.request(method, "/posts/1", json=body).status_code == 404
    assert ada.put("/posts/1", json={"user_id": 1, **POST}).status_code == 404
    assert database.execute("SELECT count(*) FROM posts").fetchone() == (2,)


def test_the_stored_response_is_deleted_with_its_post(api: httpx.Client) -> None:
    api.post("/users", json={"name": "Ada", "email": "ada@example.org"})

    def create_once(key: str) -> httpx.Response:
        return api.post("/posts", json={"user_id": 1, **POST}, headers={"Idempotency-Key": key})

    assert create_once("one").json()["id"] == create_once("one").json()["id"] == 1
    assert create_once("two").json()["id"] == 2
    assert api.patch("/posts/1", json={"title": "x"}).status_code == 200
    assert create_once("one").status_code == 201
    assert api.delete("/posts/1").status_code == 204
    retried = create_once("one")
    assert (retried.status_code, retried.json()["type"]) == (409, "/problems#resource-deleted")
    assert create_once("two").json()["id"] == 2


def test_a_job_deletes_old_posts_and_voids_pages(
    worker: Worker, api: httpx.Client, database: Database
) -> None:
    api.post("/users", json={"name": "Ada", "email": "ada@example.org"})
    for _ in range(2):
        create(api)
    database.execute("UPDATE posts SET created_at = now() - interval '11 years' WHERE id = 1")
    assert api.get("/posts").json()["total"] == 2
    worker.restart()
    nightly, loop = import_module("nightly.handler"), asyncio.get_event_loop()
    with nightly.LOOP:
        assert [nightly.handler({}, None) for _ in range(2)] == [{"deleted": 1}, {"deleted": 0}]
        nightly.LOOP.run(reset())
    asyncio.set_event_loop(loop)
    assert api.get("/posts").json()["total"] == 1
    assert api.get("/posts/1").status_code == 404
