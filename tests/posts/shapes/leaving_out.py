"""Tests of what docs/leaving-out.md takes from the posts; they are run in the copy."""

from typing import Any

import httpx

from tests.auth.claims import REQUIRED, claims_of
from tests.conftest import Worker
from tests.in_process import client_of


def test_authors_write_everything_a_key_is_nothing_and_no_list_is_cached(
    worker: Worker, api: httpx.Client, cache: Any
) -> None:
    for name in ("Ada", "Bob"):
        api.post("/users", json={"name": name, "email": f"{name}@example.org"})
    post = {"user_id": 1, "title": "By anyone", "content": "First."}
    worker.restart(**REQUIRED)
    with client_of(claims=claims_of("author", subject="eve")) as eve:
        for number in (1, 2):
            created = eve.post("/posts", json=post)
            assert created.headers["location"] == f"/posts/{number}"
        keyed = eve.post("/posts", json=post, headers={"Idempotency-Key": "one"})
        assert keyed.json()["errors"][0]["field"] == "Idempotency-Key"
        assert eve.patch("/posts/1", json={"user_id": 2}).status_code == 200
        assert eve.get("/posts").json()["total"] == 2
    assert cache.keys("posts:*") == []
