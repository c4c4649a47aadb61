"""One item of every resource: created, read, replaced, updated, deleted."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest

from tests.every_resource.conftest import FEW_ROWS
from tests.every_resource.document import (
    CREATES,
    READABLE,
    WRITES,
    Write,
    deprecated_fields,
    is_set_by_changes,
    of_kinds,
    stored,
)
from tests.resources import (
    RESOURCE_OF,
    key_for,
)

Database = psycopg.Connection[Any]
Row = dict[str, Any]

ITEM = FEW_ROWS
"""The row that is written; of all rows it has the least in common with the body of a `Write`."""


def chosen(writes: list[Write]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("write", writes, ids=str)


creates = chosen(CREATES)
bodies = chosen([write for write in WRITES if write.body])
bodies_with_required_fields = chosen([write for write in WRITES if write.required])


def rows_of(database: Database, api: httpx.Client, table: str) -> dict[str, Row]:
    """Every row by its path, by which it is read if it can be."""
    keys = database.execute(f"SELECT {RESOURCE_OF[table].key}::text FROM {table}".encode())
    paths = [f"/{table}/{key}" for (key,) in keys]
    if table not in READABLE:
        return {path: {} for path in paths}
    shown = {path: api.get(path) for path in paths}
    return {path: row_in(one, table) for path, one in shown.items() if one.status_code != 404}


def row_in(response: httpx.Response, table: str) -> Row:
    """The fields of a response without former names; equal numbers have one form."""
    names = response.json().keys() - deprecated_fields(table)
    return {name: stored(response.json()[name]) for name in names}


def rejected_fields(response: httpx.Response) -> list[str]:
    assert response.status_code == 422, response.text
    assert {error["in"] for error in response.json()["errors"]} == {"body"}
    return [error["field"] for error in response.json()["errors"]]


@creates
def test_a_created_item_is_returned_with_its_id_and_time(
    api: httpx.Client, database: Database, few_rows: None, write: Write
) -> None:
    before = rows_of(database, api, write.table)
    response = write.send(api)
    created = row_in(response, write.table)

    assert response.status_code == 201, response.text
    assert response.headers["content-type"] == "application/json"
    location = response.headers["location"]
    assert location == f"/{write.table}/{response.json()[RESOURCE_OF[write.table].key]}"
    assert location not in before
    for name, value in shown(write, stored(write.body or {})).items():
        assert has(created[name], value), name
    assert set(response.json()) == set(write.shown)
    if "created_at" in created:
        age = datetime.now(UTC) - datetime.fromisoformat(created["created_at"])
        assert abs(age) < timedelta(minutes=1)
    assert rows_of(database, api, write.table) == before | {
        location: created if write.table in READABLE else {}
    }


@bodies_with_required_fields
def test_every_missing_field_is_named_and_nothing_written(
    api: httpx.Client, database: Database, few_rows: None, write: Write
) -> None:
    assert write.body
    before = rows_of(database, api, write.table)
    path = write.target_of(ITEM)
    rejected = rejected_fields(api.request(write.method, path, json={}))
    assert sorted(rejected) == sorted(write.required)
    for missing in write.required:
        body = {name: value for name, value in write.body.items() if name != missing}
        assert rejected_fields(api.request(write.method, path, json=body)) == [missing]
    assert rows_of(database, api, write.table) == before


@bodies
def test_a_null_and_a_field_that_clients_do_not_write_are_named_and_nothing_written(
    api: httpx.Client, database: Database, few_rows: None, write: Write
) -> None:
    assert write.body
    before = rows_of(database, api, write.table)
    path = write.target_of(ITEM)
    for field in write.body.keys() - set(write.nullable):
        body = write.body | {field: None}
        assert rejected_fields(api.request(write.method, path, json=body)) == [field]
    for other in {*write.shown, "unknown"} - set(write.body):
        response = api.request(write.method, path, json=write.body | {other: 7})
        assert rejected_fields(response) == ["body"]
        [error] = response.json()["errors"]
        position, known = len(write.body) + 1, ", ".join(sorted(write.body))
        assert error["message"] == f"member {position} is unknown; known are {known}"
    assert rows_of(database, api, write.table) == before


@chosen(
    [
        write
        for write in of_kinds("replace", "update")
        if write.table in READABLE and write.is_of_item
    ]
)
def test_an_item_is_changed_and_no_other(
    api: httpx.Client, database: Database, few_rows: None, write: Write
) -> None:
    assert write.body
    item = write.path_of(ITEM)
    before = rows_of(database, api, write.table)
    for body in (*(partial(write) if write.kind == "update" else whole(write)), write.body):
        given = shown(write, stored(left_out(write, body) | body))
        former = rows_of(database, api, write.table)[item]
        response = api.request(write.method, write.target_of(ITEM), json=body)
        if write.is_rejected(response.status_code):
            assert rows_of(database, api, write.table)[item] == former
            continue
        assert response.status_code == 200, response.text
        changed = row_in(response, write.table)
        expected = former | given
        assert changed.keys() == expected.keys()
        for name in changed:
            is_same = has(changed[name], expected[name])
            assert is_same or is_set_by_changes(write.table, name), f"{name}: {SET_BY_CHANGES}"
        assert rows_of(database, api, write.table) == before | {item: changed}
    given = shown(write, stored(write.body))
    assert all(before[item][name] != value for name, value in given.items())


SET_BY_CHANGES = "a field that each change sets has a column that says so, Column(…, onupdate=…)"


def has(value: Any, sent: Any) -> bool:
    """Whether a value is the one that was sent; the objects of a list may have further fields, such
    as the ids of an order's lines."""
    if not (isinstance(value, list) and isinstance(sent, list)):
        return bool(value == sent)
    return len(value) == len(sent) and all(map(_has_item, value, sent))


def _has_item(value: Any, sent: Any) -> bool:
    if isinstance(value, dict) and isinstance(sent, dict):
        return sent.items() <= value.items()
    return has(value, sent)


def shown(write: Write, body: Row) -> Row:
    """The fields of a body that are in the response."""
    return {name: value for name, value in body.items() if name in write.shown}


def partial(write: Write) -> list[Row]:
    """Bodies with one field, with each nullable field null, and one without fields."""
    assert write.body
    given = [{name: value} for name, value in write.body.items()]
    return [*given, *({name: None} for name in write.nullable), {}]


def whole(write: Write) -> list[Row]:
    """Bodies with each nullable field null, and one without the optional fields."""
    assert write.body
    nulls = [write.body | {name: None} for name in write.nullable]
    return [*nulls, {name: write.body[name] for name in write.required}]


def left_out(write: Write, body: Row) -> Row:
    """The fields that the body of a replacement lacks, with their defaults."""
    if write.kind == "update":
        return {}
    return {name: one.get("default") for name, one in write.fields.items() if name not in body}


@chosen(of_kinds("delete"))
def test_a_delete_deletes_one_item(
    api: httpx.Client, database: Database, few_rows: None, write: Write
) -> None:
    before = rows_of(database, api, write.table)
    response = write.send(api, write.target_of(ITEM))
    if write.is_rejected(response.status_code):
        assert rows_of(database, api, write.table) == before
        return
    del before[write.path_of(ITEM)]

    assert (response.status_code, response.content) == (204, b"")
    assert rows_of(database, api, write.table) == before
    assert write.table not in READABLE or api.get(write.path_of(ITEM)).status_code == 404
    assert write.send(api, write.target_of(ITEM)).status_code == 404


READS = [
    Write("read", "GET", f"/{name}/{{{one.item}_{one.key}}}", name, None)
    for name, one in RESOURCE_OF.items()
    if name in READABLE
]
ITEM_REQUESTS = [*READS, *(write for write in WRITES if write.kind != "create")]


def has_ids(request: Write) -> bool:
    """Whether the keys in its path are integers."""
    names = re.findall(r"\{(\w+)\}", request.template)
    return all(isinstance(key_for(name, 1), int) for name in names)


ID_REQUESTS = [request for request in ITEM_REQUESTS if has_ids(request)]


@pytest.mark.parametrize(
    ("request_", "row"),
    [(one, 99) for one in ITEM_REQUESTS]
    + [(one, row) for one in ID_REQUESTS for row in (2**31, 2**63 - 1)],
    ids=str,
)
def test_an_unknown_item_is_not_found(
    api: httpx.Client, database: Database, few_rows: None, request_: Write, row: int
) -> None:
    response = request_.send(api, request_.target_of(row))

    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["type"] == "/problems#not-found"
    assert re.search(r"[Tt]here is no (such )?\w+", response.json()["detail"])


NO_KEYS = ["-1", "+1", "%31%00", "1%0A", "1/", "1/2", "%2531", "%D9%A1", "9" * 5000]
"""Of any type; some are decoded twice, or have an Arabic-Indic digit."""
NO_IDS = [*NO_KEYS, "1.0", "1e3", "0x1", "null", "x", str(2**64)]


@pytest.mark.parametrize("request_", ITEM_REQUESTS, ids=str)
def test_an_invalid_key_is_rejected(
    api: httpx.Client, database: Database, few_rows: None, request_: Write
) -> None:
    before = rows_of(database, api, request_.table)
    for key in NO_KEYS:
        response = request_.send(api, request_.target_of(key))
        assert response.status_code == 404, key
        assert response.headers["content-type"] == "application/problem+json"
    assert rows_of(database, api, request_.table) == before


@pytest.mark.parametrize("request_", ID_REQUESTS, ids=str)
def test_an_invalid_id_is_rejected(
    api: httpx.Client, database: Database, few_rows: None, request_: Write
) -> None:
    before = rows_of(database, api, request_.table)
    for status, invalid in ((422, ["0", str(2**63)]), (404, NO_IDS)):
        for row_id in invalid:
            response = request_.send(api, request_.target_of(row_id))
            assert response.status_code == status, row_id
            assert response.headers["content-type"] == "application/problem+json"
    assert rows_of(database, api, request_.table) == before


@pytest.mark.parametrize("read", [one for one in READS if has_ids(one)], ids=str)
def test_zeros_may_lead_an_id(api: httpx.Client, few_rows: None, read: Write) -> None:
    item = read.send(api, read.target_of(1))
    assert item.status_code == 200
    assert read.send(api, read.target_of("0001")).json() == item.json()
