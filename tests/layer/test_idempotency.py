"""`Idempotency-Key`: a POST is idempotent."""

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psycopg
import pytest

from local.generate.sample_events import EVENTS
from shared.database.models import METADATA
from tests.every_resource.document import CREATES, READABLE, of_kinds
from tests.example.models import EXAMPLE
from tests.worker_process import Response, WorkerProcess, running_worker

ADA = {"name": "Ada", "email": "ada@example.com"}
DUPLICATES = 48
WORKERS = 3
IN_PROGRESS = "/problems#request-in-progress"


def post(api: httpx.Client, path: str, body: dict[str, Any], key: str | None) -> httpx.Response:
    return api.post(path, json=body, headers={} if key is None else {"Idempotency-Key": key})


OF_EXAMPLE = {"/writers": ADA, "/articles": {"writer_id": 1, "title": "T", "content": "C"}}


def count(database: psycopg.Connection[Any], table: str = "writers") -> int:
    row = database.execute(f"SELECT count(*) FROM {table}").fetchone()
    assert row is not None
    return int(row[0])


def test_a_retried_request_gets_the_first_response_and_creates_nothing(
    api: httpx.Client, database: psycopg.Connection[Any]
) -> None:
    first = post(api, "/writers", ADA, "key-1")
    again = post(api, "/writers", ADA, "key-1")
    assert first.status_code == again.status_code == 201
    assert first.content == again.content
    assert first.headers["location"] == again.headers["location"] == "/writers/1"
    assert count(database) == 1


def test_the_first_response_is_returned_again_after_an_update(api: httpx.Client) -> None:
    first = post(api, "/writers", ADA, "key-1")
    api.patch("/writers/1", json={"name": "Countess"})
    assert post(api, "/writers", ADA, "key-1").json() == first.json()


def test_another_body_with_the_key_is_rejected_and_names_the_header(
    api: httpx.Client, database: psycopg.Connection[Any]
) -> None:
    post(api, "/writers", ADA, "key-1")
    response = post(api, "/writers", ADA | {"email": "other@example.com"}, "key-1")
    assert response.status_code == 422
    assert response.json()["errors"][0]["in"] == "header"
    assert response.json()["errors"][0]["field"] == "Idempotency-Key"
    assert count(database) == 1


def test_the_same_body_written_differently_is_the_same_request(api: httpx.Client) -> None:
    first = post(api, "/writers", ADA, "key-1")
    text = '{"email":  "ada@EXAMPLE.com", "name": "\\u0041da"}'
    headers = {"Idempotency-Key": "key-1", "Content-Type": "application/json"}
    assert api.post("/writers", content=text, headers=headers).content == first.content


def test_a_key_belongs_to_a_path(api: httpx.Client) -> None:
    post(api, "/writers", ADA, "key-1")
    body = {"writer_id": 1, "title": "T", "content": "C"}
    first = post(api, "/articles", body, "key-1")
    assert first.status_code == 201
    assert post(api, "/articles", body, "key-1").content == first.content
    assert api.get("/articles").json()["total"] == 1


def test_requests_without_a_key_each_create(api: httpx.Client) -> None:
    post(api, "/writers", ADA, None)
    body = {"writer_id": 1, "title": "T", "content": "C"}
    assert post(api, "/articles", body, None).json()["id"] == 1
    assert post(api, "/articles", body, None).json()["id"] == 2


def test_a_request_that_created_nothing_leaves_its_key_free(
    api: httpx.Client, database: psycopg.Connection[Any]
) -> None:
    post(api, "/writers", ADA, "key-1")
    assert post(api, "/writers", ADA, "key-2").status_code == 409
    assert count(database, "idempotency_keys") == 1
    api.delete("/writers/1")
    assert post(api, "/writers", ADA, "key-2").status_code == 201


def test_a_key_of_a_request_in_progress_is_409(
    api: httpx.Client, database: psycopg.Connection[Any]
) -> None:
    with database.transaction():
        database.execute("SELECT pg_advisory_xact_lock(hashtextextended('/writers key-1', 0))")
        response = post(api, "/writers", ADA, "key-1")
    assert response.status_code == 409
    assert response.json()["type"] == "/problems#request-in-progress"
    assert response.headers["retry-after"] == "1"
    assert post(api, "/writers", ADA, "key-1").status_code == 201


def test_an_expired_key_is_a_new_one(api: httpx.Client, database: psycopg.Connection[Any]) -> None:
    post(api, "/writers", ADA, "key-1")
    database.execute("UPDATE idempotency_keys SET expires_at = now() - interval '1 second'")
    taken = post(api, "/writers", ADA, "key-1")
    assert taken.json()["type"] == "/problems#already-taken"
    other = ADA | {"email": "c@example.com"}
    first = post(api, "/writers", other, "key-1")
    assert first.headers["location"] != "/writers/1"
    assert post(api, "/writers", other, "key-1").content == first.content


DELETED = {write.table for write in of_kinds("delete") if not write.is_rejected(409)}
USUAL = OF_EXAMPLE.keys() | {
    f"/{write.table}"
    for write in CREATES
    if write.is_idempotent and write.table in DELETED.intersection(READABLE)
}
"""The paths of resources that take keys, whose items can be read and, by every rule, deleted."""


class Created(NamedTuple):
    body: dict[str, Any]
    location: str


@pytest.fixture
def created(api: httpx.Client) -> dict[str, Created]:
    """By path: one of each usual resource, created with a key, in their references' order."""
    events = [json.loads(file.read_text()) for file in EVENTS.glob("*-create_*.json")]
    bodies = {event["rawPath"]: json.loads(event["body"]) for event in events} | OF_EXAMPLE
    tables = [*METADATA.sorted_tables, *EXAMPLE.sorted_tables]
    found: dict[str, Created] = {}
    keys: dict[str, Any] = {}
    for table in tables:
        if (path := f"/{table.name}") not in bodies:
            continue
        sent = [one for one in table.foreign_keys if one.parent.name in bodies[path]]
        if any(one.column.table.name not in keys for one in sent):  # created below another's item
            continue
        for key in sent:
            bodies[path][key.parent.name] = keys[key.column.table.name]
        response = post(api, path, bodies[path], "key" if path in USUAL else None)
        if path in USUAL:
            found[path] = Created(bodies[path], response.headers["location"])
        [column] = table.primary_key.columns
        keys[table.name] = response.json()[column.name]
    assert found.keys() >= OF_EXAMPLE.keys()
    return found


def stored(database: psycopg.Connection[Any]) -> dict[str, bool]:
    """Whether the response to the path's key is still stored."""
    rows = database.execute("SELECT path, body, fingerprint FROM idempotency_keys").fetchall()
    assert all((body is None) == (fingerprint is None) for _, body, fingerprint in rows)
    return {path: body is not None for path, body, _ in rows}


def exists(api: httpx.Client, created: Created) -> bool:
    return api.get(created.location).status_code == 200


def test_a_stored_response_is_forgotten_with_its_resource_which_is_not_created_again(
    api: httpx.Client, database: psycopg.Connection[Any], created: dict[str, Created]
) -> None:
    for path, one in reversed(created.items()):
        assert stored(database)[path]
        assert api.delete(one.location).status_code == 204
        assert not stored(database)[path]
        again = post(api, path, one.body, "key")
        assert again.status_code == 409
        assert again.json()["type"] == "/problems#resource-deleted"
        assert not exists(api, one)
        other = post(api, path, one.body, "other-key")
        assert other.status_code == 201
        api.delete(other.headers["location"])  # it might stop the deletion of a parent


@pytest.mark.parametrize(
    "statement", ["DELETE FROM writers", "TRUNCATE writers CASCADE"], ids=["DELETE", "TRUNCATE"]
)
def test_responses_of_a_cascade_are_forgotten_in_its_transaction(
    api: httpx.Client,
    database: psycopg.Connection[Any],
    created: dict[str, Created],
    statement: str,
) -> None:
    with database.transaction(force_rollback=True):
        database.execute(statement)
        assert stored(database) == {path: path not in OF_EXAMPLE for path in created}
    assert stored(database) == dict.fromkeys(created, True)

    database.execute(statement)
    assert stored(database) == {path: exists(api, one) for path, one in created.items()}


def test_other_responses_are_not_forgotten(
    api: httpx.Client, database: psycopg.Connection[Any]
) -> None:
    post(api, "/writers", ADA, "key-1")
    first = post(api, "/writers", ADA | {"email": "b@example.com"}, "key-2")
    api.delete("/writers/1")
    again = post(api, "/writers", ADA | {"email": "b@example.com"}, "key-2")
    assert again.content == first.content


@pytest.mark.parametrize("key", ["", "k" * 256, "a b", "ä"])
def test_an_invalid_key_is_rejected(api: httpx.Client, key: str) -> None:
    headers = {b"Idempotency-Key": key.encode()}
    response = api.post("/writers", json=ADA, headers=headers)
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "Idempotency-Key"


def test_concurrent_duplicates_make_one_row(
    api: httpx.Client, database: psycopg.Connection[Any], tmp_path: Path
) -> None:
    with ExitStack() as stack, ThreadPoolExecutor(WORKERS) as threads:
        log = tmp_path / "workers.log"
        workers = [stack.enter_context(running_worker(log)) for _ in range(WORKERS)]
        for worker in workers:
            assert worker.call("GET", "/health").status == 200

        def create(worker: WorkerProcess) -> list[Response]:
            repeat = range(DUPLICATES // WORKERS)
            return [worker.call("POST", "/writers", ADA, key="key-1") for _ in repeat]

        responses = [response for sent in threads.map(create, workers) for response in sent]

    created = [response.body for response in responses if response.status == 201]
    assert created
    assert created == [api.get("/writers/1").json()] * len(created)
    for response in responses:
        if response.status != 201:
            assert (response.status, response.body["type"]) == (409, IN_PROGRESS)
    assert count(database) == 1
