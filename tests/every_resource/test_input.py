"""Every operation in the OpenAPI document rejects input that it does not know."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest

from tests.every_resource.conftest import FEW_ROWS
from tests.every_resource.document import (
    DOCUMENT,
    READABLE,
    Write,
    array_in,
    documented,
    is_set_by_changes,
    of_kinds,
    target_of,
)
from tests.every_resource.test_documented_responses import OPERATIONS, Operation
from tests.resources import RESOURCES

UNKNOWN = "987654321"
SECRET = "s3cret.n0body@ex4mple.org"
"""None of its parts is in the name of a field."""
every_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=str)


def parameters(operation: Operation, place: str) -> list[dict[str, Any]]:
    given = map(documented, operation.documented.get("parameters", []))
    return [one for one in given if one["in"] == place]


def rows(database: psycopg.Connection[Any]) -> list[Any]:
    return [database.execute(f"SELECT * FROM {table}".encode()).fetchall() for table in RESOURCES]


def without_query(operation: Operation) -> str:
    return target_of(operation.path, 1)


def send(api: httpx.Client, operation: Operation, query: str, **more: Any) -> httpx.Response:
    """Send the valid request with this query."""
    return api.request(
        operation.method, f"{without_query(operation)}?{query}", **({"json": operation.body} | more)
    )


@every_operation
def test_an_unknown_query_parameter_is_rejected_and_nothing_written(
    api: httpx.Client,
    few_rows: None,
    database: psycopg.Connection[Any],
    operation: Operation,
) -> None:
    before = rows(database)
    for query in ("dry_run=true", "dry_run", "ID=1", "=", "%00=1", f"{SECRET}=1"):
        response = send(api, operation, query)
        assert response.status_code == 422, query
        [error] = response.json()["errors"]
        assert (error["in"], error["field"]) == ("query", "query")
        assert error["message"].startswith("parameter 1 is unknown; ")
        for parameter in parameters(operation, "query"):
            assert parameter["name"] in error["message"]
    assert rows(database) == before
    if operation.method == "GET":
        head = api.request("HEAD", f"{without_query(operation)}?dry_run=true")
        assert head.status_code == 422


@every_operation
def test_a_repeated_query_parameter_is_rejected_and_named(
    api: httpx.Client, few_rows: None, operation: Operation
) -> None:
    for parameter in parameters(operation, "query"):
        if array_in(parameter["schema"]) is not None:
            continue
        name = parameter["name"]
        response = send(api, operation, f"{name}=1&{name}=1")
        assert response.status_code == 422
        expected = {"in": "query", "field": name, "message": "may be given only once"}
        assert expected in response.json()["errors"]


@every_operation
def test_a_problem_has_nothing_of_what_the_client_sent(
    api: httpx.Client, few_rows: None, operation: Operation
) -> None:
    """Wherever the client sent it: in parameters, headers, the body's members and values."""
    named = [one["name"] for one in parameters(operation, "query")]
    headers = [one["name"] for one in parameters(operation, "header")]
    responses = [
        send(api, operation, f"{SECRET}={SECRET}"),
        *(send(api, operation, f"{name}={SECRET}%01") for name in named),
        *(send(api, operation, "", headers={name: f"{SECRET} x"}) for name in headers),
        api.request("BREW", f"{without_query(operation)}?{SECRET}", json=operation.body),
        api.request(operation.method, f"{without_query(operation)}/{SECRET}", json=operation.body),
    ]
    if body := operation.body:
        wrong = [
            {SECRET: SECRET},
            *(body | {name: value} for name in body for value in wrong_values(body[name])),
        ]
        responses += [
            *(send(api, operation, "", json=one) for one in wrong),
            send(api, operation, "", json=body, headers={"Content-Type": SECRET}),
            send(api, operation, "", json=body, headers={"Content-Encoding": SECRET}),
            send(api, operation, "", content=SECRET.encode()),
            send(api, operation, "", content=f'{{"{SECRET}": {SECRET}'.encode()),
        ]
    for response in responses:
        assert 400 <= response.status_code < 500, response.text
        assert json.loads(response.text)["status"] == response.status_code
        for part in ("s3cret", "n0body", "ex4mple"):
            assert part not in response.text.replace(DOCUMENT["info"]["title"], "")


def wrong_values(valid: object) -> list[object]:
    """Values of other types, and a text with a character that no text may have."""
    wrong: list[object] = [[SECRET], {SECRET: SECRET}]
    return [*(one for one in wrong if type(one) is not type(valid)), f"{SECRET}\x00"]


COERCED: dict[str, list[object]] = {
    "boolean": [True],
    "integer": [0, 1],
    "number": [1.5],
    "string": ["1", "true"],
}
"""Values of each type that pydantic takes for values of other types."""
OTHER_FORMATS = {"date": "2026-01-31T00:00:00Z", "date-time": "1769904000"}
LAX = (
    "No value of a body is converted: take the types of shared.http.fields instead of int, date,"
    " datetime and time, StrictBool instead of bool, and Field(strict=True) for others. Objects"
    ' in a body are a Body, too; one that has other members, too, says so: extra="allow".'
)


def invalid(schema: dict[str, Any], valid: Any) -> Iterator[object]:
    """The value with one of another type, or an unknown member, in each place of its schema."""
    parts = [documented(one) for one in documented(schema).get("anyOf", [documented(schema)])]
    allowed = {one.get("type", "string" if "const" in one else "any") for one in parts}
    if "any" not in allowed:
        allowed |= {"integer"} if "number" in allowed else set()
        yield from (one for type_ in COERCED.keys() - allowed for one in COERCED[type_])
    for part in parts:
        if part.get("format") in OTHER_FORMATS:
            yield OTHER_FORMATS[part["format"]]
        if "items" in part:
            yield from ([one] for one in invalid(part["items"], (valid or [None])[0]))
        members = valid if isinstance(valid, dict) else {}
        if "properties" in part and not part.get("additionalProperties"):
            yield members | {"unknown_member": 1}
        for name, field in part.get("properties", {}).items():
            yield from (members | {name: one} for one in invalid(field, members.get(name)))


@pytest.mark.parametrize("operation", [one for one in OPERATIONS if one.body], ids=str)
def test_a_value_of_another_type_and_an_unknown_member_are_rejected(
    api: httpx.Client, few_rows: None, operation: Operation
) -> None:
    content = documented(operation.documented["requestBody"])["content"]["application/json"]
    for body in invalid(content["schema"], operation.body):
        response = api.request(operation.method, operation.target, json=body)
        assert response.status_code == 422, f"{body}: {response.text} {LAX}"


def bounds(schema: dict[str, Any]) -> Iterator[int]:
    """The smallest and largest integers of the schema, and those beyond."""
    for part in documented(schema).get("anyOf", [documented(schema)]):
        if (one := documented(part)).get("type") == "integer":
            smallest, largest = one.get("minimum", -(2**63)), one.get("maximum", 2**63 - 1)
            yield from (smallest - 1, smallest, largest, largest + 1)


@every_operation
def test_every_integer_of_the_document_fits_into_its_column(
    api: httpx.Client, few_rows: None, operation: Operation
) -> None:
    """A field or a filter has the bounds of its column's type, or closer ones."""
    queries = [
        f"{one['name']}={bound}"
        for one in parameters(operation, "query")
        for bound in bounds(one["schema"])
    ]
    fields: dict[str, Any] = {}
    if body := operation.body:
        content = documented(operation.documented["requestBody"])["content"]["application/json"]
        fields = documented(content["schema"]).get("properties", {})
    responses = [
        *(send(api, operation, query) for query in queries),
        *(
            send(api, operation, "", json=(body or {}) | {name: bound})
            for name, field in fields.items()
            for bound in bounds(field)
        ),
    ]
    assert [one.text for one in responses if one.status_code >= 500] == []


def test_an_id_is_not_echoed(api: httpx.Client) -> None:
    for resource in RESOURCES:
        assert UNKNOWN not in api.get(f"/{resource}/{UNKNOWN}").text


UNITS = ["x", "\u00e9", "e\u0301", "\u1f00\u0300\u0345", "\ufb2c", "\u1100\u1161\u11a8", "😀"]
"""Characters that NFC keeps, makes fewer of, or makes more of."""


def texts(write: Write) -> list[tuple[str, int]]:
    """The text fields of the write's body that take any text, with their maximum lengths."""
    return [
        (name, one["maxLength"])
        for name, field in write.fields.items()
        for one in field.get("anyOf", [field])
        if "maxLength" in one and not {"format", "enum"} & set(one)
        if all(re.search(one.get("pattern", ""), unit) for unit in UNITS)
    ]


@pytest.mark.parametrize(
    ("write", "field", "most"),
    [
        pytest.param(write, field, most, id=f"{write} {field}")
        for write in of_kinds("replace")
        for field, most in texts(write)
        if field in write.shown and write.table in READABLE
    ],
)
def test_a_value_that_was_read_can_be_written_and_has_the_documented_length(
    api: httpx.Client,
    few_rows: None,
    database: psycopg.Connection[Any],
    write: Write,
    field: str,
    most: int,
) -> None:
    for unit in UNITS:
        accepted = []
        for length in {most, most + 1, most // len(unit), most // len(unit) + 1, most // 3}:
            body = (write.body or {}) | {field: unit * length}
            response = api.put(write.path_of(FEW_ROWS), json=body)
            if write.is_rejected(response.status_code):
                return
            assert response.status_code in (200, 422), response.text
            if response.status_code == 422:
                [error] = response.json()["errors"]
                assert error["message"] == f"String should have at most {most} characters"
                continue
            read = api.get(write.path_of(FEW_ROWS)).json()
            again = api.put(write.path_of(FEW_ROWS), json=body | {field: read[field]})
            assert again.status_code == 200, again.text
            given = {name for name in read if not is_set_by_changes(write.table, name)}
            assert {name: again.json()[name] for name in given} == {
                name: read[name] for name in given
            }
            assert read[field] == response.json()[field]
            accepted.append(len(read[field]))
        assert max(accepted) <= most
        assert max(accepted) > most - len(unit) - 2
