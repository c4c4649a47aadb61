"""Each write leaves a row in the audit log, if and only if it was committed."""

import json
from typing import Any

import httpx
import psycopg
import pytest
from sqlalchemy import Column, delete

from shared.database.models import METADATA
from tests.auth.claims import ISSUER, claims_of
from tests.auth.test_policy import EVENTS, call
from tests.conftest import ApiOf, Worker
from tests.example.models import articles, writers
from tests.resources import KINDS, RESOURCE_OF, insert_rows_for, insert_rows_of, is_done, key_of
from tests.transactions import write

Database = psycopg.Connection[Any]
ADA = {"name": "Ada", "email": "ada@example.org"}


def audit_rows(database: Database, columns: str) -> list[Any]:
    return database.execute(f"SELECT {columns} FROM audit_log ORDER BY id".encode()).fetchall()


WRITES = [name for name, kind in KINDS.items() if kind not in ("", "list", "read")]


@pytest.mark.parametrize("operation", WRITES)
def test_every_write_leaves_its_row(api_of: ApiOf, database: Database, operation: str) -> None:
    insert_rows_for(database, operation)
    resource, event = EVENTS[operation]
    response = call(resource, event, claims_of("admin"))
    assert is_done(operation, response["statusCode"]), response
    if response["statusCode"] == 409:
        assert audit_rows(database, "id") == []
        return
    key = key_of(METADATA.tables[resource], 1)
    written = json.loads(response["body"])[RESOURCE_OF[resource].key] if response["body"] else key
    first_key = "coalesce(resource_id::text, split_part(resource_key, '/', 1))"  # of a link
    columns = f"issuer, subject, action, request_id, resource, {first_key}"
    rows = audit_rows(database, columns)
    request_id = event["requestContext"]["requestId"]
    assert {row[:4] for row in rows} == {(ISSUER, "ada", operation, request_id)}
    assert [row[4:] for row in rows].count((resource, str(written))) == 1
    assert database.execute("SELECT now() - at < '10 s' FROM audit_log").fetchone() == (True,)


def test_an_anonymous_write_leaves_a_row_without_an_actor(
    api: httpx.Client, database: Database
) -> None:
    api.post("/writers", json=ADA).raise_for_status()
    rows = audit_rows(database, "issuer, subject, action, resource, resource_id")
    assert rows == [(None, None, "create_writer", "writers", 1)]


@pytest.mark.parametrize("returned", [articles.c.writer_id.label("id"), articles.c.title])
def test_a_write_leaves_the_key_of_its_row_whatever_it_returns(
    worker: Worker, database: Database, returned: Column[Any]
) -> None:
    insert_rows_of(database, writers, 1, 1)
    insert_rows_of(database, articles, 1, 2)
    second = delete(articles).where(articles.c.id == 2).returning(returned)
    worker.run(write(lambda transaction: transaction.change(second)))
    assert audit_rows(database, "resource, resource_id, resource_key") == [("articles", 2, None)]


def test_a_write_that_was_not_committed_leaves_none(api_of: ApiOf, database: Database) -> None:
    ada, bob = api_of("admin"), api_of(subject="bob")
    assert ada.post("/writers", json=ADA).status_code == 201
    assert ada.post("/writers", json=ADA).status_code == 409
    assert bob.patch("/writers/1", json={"name": "Bob"}).status_code == 403
    assert ada.patch("/writers/4711", json={"name": "Bob"}).status_code == 404
    assert ada.patch("/writers/1", json={}).status_code == 200
    assert ada.get("/writers").status_code == 200
    assert audit_rows(database, "subject, action") == [("ada", "create_writer")]


def test_no_row_no_write(api_of: ApiOf, database: Database) -> None:
    ada = api_of("admin")
    with database.transaction(force_rollback=True):
        database.execute("LOCK TABLE audit_log")
        assert ada.post("/writers", json=ADA).status_code == 503
    assert ada.get("/writers").json()["total"] == 0
    assert audit_rows(database, "*") == []


def test_an_audit_log_that_keeps_nothing_is_not_written(
    worker: Worker, api_of: ApiOf, database: Database
) -> None:
    ada = api_of("admin")
    worker.restart(AUDIT_RETENTION_DAYS="0")
    assert ada.post("/writers", json=ADA).status_code == 201
    assert ada.get("/writers").json()["total"] == 1
    assert audit_rows(database, "*") == []


def test_a_retry_with_a_key_leaves_no_second_row(api_of: ApiOf, database: Database) -> None:
    ada, key = api_of("admin"), {"Idempotency-Key": "key-1"}
    for _ in range(2):
        assert ada.post("/writers", json=ADA, headers=key).status_code == 201
    assert audit_rows(database, "action") == [("create_writer",)]
