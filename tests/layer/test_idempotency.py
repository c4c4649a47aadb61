"""`Idempotency-Key`: a POST that is repeated creates nothing twice."""

import json
import multiprocessing
import uuid
from typing import Any

import httpx
import psycopg
import pytest

from blog.database.models import METADATA
from local.generate.sample_events import EVENTS
from local.services import Services
from tests.in_process import LambdaTransport

ADA = {"name": "Ada", "email": "ada@example.com"}
DUPLICATES = 50
PROCESSES = 5


def post(api: httpx.Client, path: str, body: dict[str, Any], key: str | None) -> httpx.Response:
    return api.post(path, json=body, headers={} if key is None else {"Idempotency-Key": key})


def count(database: psycopg.Connection[Any], table: str = "users") -> int:
    row = database.execute(f"SELECT count(*) FROM {table}").fetchone()
    assert row is not None
    return int(row[0])


def test_a_repeated_request_gets_the_first_answer_and_creates_nothing(
    api: httpx.Client, database: psycopg.Connection[Any]
) -> None:
    first = post(api, "/users", ADA, "key-1")
    again = post(api, "/users", ADA, "key-1")
    assert first.status_code == again.status_code == 201
    assert first.content == again.content
    assert first.headers["location"] == again.headers["location"] == "/users/1"
    assert count(database) == 1


def test_the_first_answer_is_given_again_after_the_resource_has_changed(api: httpx.Client) -> None:
    first = post(api, "/users", ADA, "key-1")
    api.patch("/users/1", json={"name": "Countess"})
    assert post(api, "/users", ADA, "key-1").json() == first.json()


def test_another_body_with_the_key_is_refused_and_names_the_header(
    api: httpx.Client, database: psycopg.Connection[Any]
) -> None:
    post(api, "/users", ADA, "key-1")
    answer = post(api, "/users", ADA | {"email": "other@example.com"}, "key-1")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["in"] == "header"
    assert answer.json()["errors"][0]["field"] == "Idempotency-Key"
    assert count(database) == 1


def test_the_same_body_written_otherwise_is_the_same_request(api: httpx.Client) -> None:
    first = post(api, "/users", ADA, "key-1")
    text = '{"email":  "ada@EXAMPLE.com", "name": "\\u0041da"}'
    headers = {"Idempotency-Key": "key-1", "Content-Type": "application/json"}
    assert api.post("/users", content=text, headers=headers).content == first.content


def test_a_key_of_one_path_says_nothing_of_another(api: httpx.Client) -> None:
    post(api, "/users", ADA, "key-1")
    body = {"user_id": 1, "title": "T", "content": "C"}
    first = post(api, "/posts", body, "key-1")
    assert first.status_code == 201
    assert post(api, "/posts", body, "key-1").content == first.content
    assert api.get("/posts").json()["total"] == 1


def test_requests_without_a_key_each_create(api: httpx.Client) -> None:
    post(api, "/users", ADA, None)
    body = {"user_id": 1, "title": "T", "content": "C"}
    assert post(api, "/posts", body, None).json()["id"] == 1
    assert post(api, "/posts", body, None).json()["id"] == 2


def test_a_request_that_created_nothing_leaves_its_key_free(
    api: httpx.Client, database: psycopg.Connection[Any]
) -> None:
    post(api, "/users", ADA, "key-1")
    assert post(api, "/users", ADA, "key-2").status_code == 409
    assert count(database, "idempotency_keys") == 1
    api.delete("/users/1")
    assert post(api, "/users", ADA, "key-2").status_code == 201


def test_a_key_in_use_by_a_request_under_way_is_409(
    api: httpx.Client, database: psycopg.Connection[Any]
) -> None:
    with database.transaction():
        database.execute("SELECT pg_advisory_xact_lock(hashtextextended('/users key-1', 0))")
        answer = post(api, "/users", ADA, "key-1")
    assert answer.status_code == 409
    assert answer.json()["type"] == "/problems#request-in-progress"
    assert answer.headers["retry-after"] == "1"
    assert post(api, "/users", ADA, "key-1").status_code == 201


def test_a_key_that_ran_out_means_nothing(
    api: httpx.Client, database: psycopg.Connection[Any]
) -> None:
    post(api, "/users", ADA, "key-1")
    database.execute("UPDATE idempotency_keys SET expires_at = now() - interval '1 second'")
    taken = post(api, "/users", ADA, "key-1")
    assert taken.json()["type"] == "/problems#already-taken"
    other = ADA | {"email": "c@example.com"}
    first = post(api, "/users", other, "key-1")
    assert first.headers["location"] != "/users/1"
    assert post(api, "/users", other, "key-1").content == first.content


@pytest.fixture
def created(api: httpx.Client) -> dict[str, Any]:
    """Bodies by path: one resource of each kind, created with a key, in their references' order."""
    events = [json.loads(file.read_text()) for file in EVENTS.glob("*-create_*.json")]
    bodies = {event["rawPath"]: json.loads(event["body"]) for event in events}
    paths = [path for table in METADATA.sorted_tables if (path := f"/{table.name}") in bodies]
    assert len(paths) == len(bodies)
    for path in paths:
        assert post(api, path, bodies[path], "key").headers["location"] == f"{path}/1"
    return {path: bodies[path] for path in paths}


def stored(database: psycopg.Connection[Any]) -> dict[str, bool]:
    """Whether what the path's key created is still told."""
    rows = database.execute("SELECT path, body, fingerprint FROM idempotency_keys").fetchall()
    assert all((body is None) == (fingerprint is None) for _, body, fingerprint in rows)
    return {path: body is not None for path, body, _ in rows}


def exists(api: httpx.Client, path: str) -> bool:
    return api.get(f"{path}/1").status_code == 200


def test_what_was_created_is_forgotten_when_it_is_deleted_and_not_created_again(
    api: httpx.Client, database: psycopg.Connection[Any], created: dict[str, Any]
) -> None:
    for path in reversed(created):
        assert stored(database)[path]
        assert api.delete(f"{path}/1").status_code == 204
        assert not stored(database)[path]
        again = post(api, path, created[path], "key")
        assert again.status_code == 409
        assert again.json()["type"] == "/problems#resource-deleted"
        assert not exists(api, path)
        assert post(api, path, created[path], "other-key").status_code == 201


@pytest.mark.parametrize(
    "statement", ["DELETE FROM users", "TRUNCATE users CASCADE"], ids=["DELETE", "TRUNCATE"]
)
def test_what_goes_along_is_forgotten_in_the_same_transaction(
    api: httpx.Client, database: psycopg.Connection[Any], created: dict[str, Any], statement: str
) -> None:
    with database.transaction(force_rollback=True):
        database.execute(statement)
        assert stored(database) == dict.fromkeys(created, False)
    assert stored(database) == dict.fromkeys(created, True)

    database.execute(statement)
    assert stored(database) == {path: exists(api, path) for path in created}


def test_others_are_not_forgotten(api: httpx.Client, database: psycopg.Connection[Any]) -> None:
    post(api, "/users", ADA, "key-1")
    first = post(api, "/users", ADA | {"email": "b@example.com"}, "key-2")
    api.delete("/users/1")
    again = post(api, "/users", ADA | {"email": "b@example.com"}, "key-2")
    assert again.content == first.content


@pytest.mark.parametrize("key", ["", "k" * 256, "a b", "ä"])
def test_a_key_that_is_no_key_is_refused(api: httpx.Client, key: str) -> None:
    headers = {b"Idempotency-Key": key.encode()}
    answer = api.post("/users", json=ADA, headers=headers)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "Idempotency-Key"


def test_concurrent_duplicates_make_one_row(
    api: httpx.Client, services: Services, database: psycopg.Connection[Any]
) -> None:
    key = str(uuid.uuid4())
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        answers = pool.map(_post_duplicate, [key] * DUPLICATES, chunksize=1)
    assert {status for status, _ in answers} <= {201, 409}
    assert {body for status, body in answers if status == 201} == {api.get("/users/1").text}
    assert all("request-in-progress" in body for status, body in answers if status == 409)
    assert count(database) == 1


def _post_duplicate(key: str) -> tuple[int, str]:
    with httpx.Client(transport=LambdaTransport(), base_url="http://api.test") as api:
        answer = post(api, "/users", ADA, key)
    return answer.status_code, answer.text
