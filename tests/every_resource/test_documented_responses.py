"""Every response in the OpenAPI document occurs, and is as documented; no other one does.

A status is provoked by the kind of operation, so a new resource is tested too.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import jsonschema
import psycopg
import pytest

from shared.database.models import METADATA
from shared.errors import Conflict, concrete_errors
from shared.http import route
from tests.auth.claims import REQUIRED, claims_of
from tests.conftest import Worker
from tests.every_resource.document import BODIES, CREATES, DOCUMENT, documented, url_of
from tests.in_process import LambdaTransport
from tests.resources import (
    CONFLICTS,
    KINDS,
    KNOWN_CONFLICTS,
    RESOURCE_OF,
    RESOURCES,
    SIGNED,
    delete_referring,
    is_done,
    key_for,
    key_of,
)

NO_DATABASE = "postgresql://127.0.0.1:1/none"
REFERENCES = {
    column.name
    for table in METADATA.tables.values()
    for column in table.columns
    if column.foreign_keys
}
HTTP_HEADERS = {
    name.lower()
    for path in DOCUMENT["paths"].values()
    for operation in path.values()
    for response in operation["responses"].values()
    for name in documented(response).get("headers", {})
}
"""The headers of the responses in the document."""


@dataclass(frozen=True)
class Operation:
    """An operation of the document, with a valid request for row 1."""

    method: str
    path: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def documented(self) -> dict[str, Any]:
        found: dict[str, Any] = DOCUMENT["paths"][self.path][self.method.lower()]
        return found

    @property
    def target(self) -> str:
        return self.target_of(1)

    def target_of(self, row: int | str) -> str:
        return url_of(self.path, row, self.method.lower())

    @property
    def table(self) -> str:
        return str(self.documented["tags"][0])

    @property
    def name(self) -> str:
        return str(self.documented["operationId"])

    @property
    def takes_key(self) -> bool:
        """Whether it is a create that an `Idempotency-Key` makes idempotent."""
        return (self.method, self.path) in [
            (write.method, write.template) for write in CREATES if write.is_idempotent
        ]

    @property
    def body(self) -> dict[str, Any] | None:
        return BODIES[self.name]


OPERATIONS = [
    Operation(method.upper(), path)
    for path, methods in DOCUMENT["paths"].items()
    for method in methods
]
CASES = [
    pytest.param(operation, status, id=f"{operation} {status}")
    for operation in OPERATIONS
    for status in operation.documented["responses"]
    if status != "409" or CONFLICTS.get(operation.name, set()) & KNOWN_CONFLICTS
]


class Caller:
    """Sends requests of an operation, by default as an administrator."""

    def __init__(
        self, worker: Worker, database: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.worker = worker
        self.database = database
        self.monkeypatch = monkeypatch

    def send(
        self,
        operation: Operation,
        *,
        role: str | None = "admin",
        target: str | None = None,
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        claims = None if role is None else claims_of(role, subject=role)
        sent = {"Content-Type": "application/json"} if operation.body else {}
        body = json.dumps(operation.body).encode() if operation.body else b""
        with httpx.Client(transport=LambdaTransport(claims=claims), base_url="http://api") as api:
            return api.request(
                operation.method,
                target or operation.target,
                content=body if content is None else content,
                headers=sent | (headers or {}),
            )


@pytest.fixture
def caller(
    worker: Worker,
    database: psycopg.Connection[Any],
    cache: object,
    few_rows: None,
    monkeypatch: pytest.MonkeyPatch,
) -> Caller:
    worker.restart(**REQUIRED)
    return Caller(worker, database, monkeypatch)


def success(caller: Caller, operation: Operation) -> httpx.Response:
    if KINDS.get(operation.name) == "delete":
        delete_referring(caller.database, operation.table)
    return caller.send(operation)


def created(caller: Caller, operation: Operation) -> httpx.Response:
    """A create; a PUT that creates is to a key that no row has."""
    return caller.send(
        operation, target=operation.target_of(0) if operation.method == "PUT" else None
    )


def not_modified(caller: Caller, operation: Operation) -> httpx.Response:
    etag = caller.send(operation).headers["etag"]
    return caller.send(operation, headers={"If-None-Match": etag})


def malformed(caller: Caller, operation: Operation) -> httpx.Response:
    return caller.send(operation, content=b"{")


def anonymous(caller: Caller, operation: Operation) -> httpx.Response:
    return caller.send(operation, role=None)


def as_reader(caller: Caller, operation: Operation) -> httpx.Response:
    return caller.send(operation, role="reader")


def unknown(caller: Caller, operation: Operation) -> httpx.Response:
    """A key that no row has; for a list, which is empty then, a text that is no key."""
    response = caller.send(operation, target=operation.target_of(99))
    is_found = response.status_code != 404
    return caller.send(operation, target=operation.target_of("-1")) if is_found else response


def conflict(caller: Caller, operation: Operation) -> httpx.Response:
    """A retried create of what was deleted; a change to what another has, or that was made; a
    deletion of what others refer to."""
    if operation.takes_key:
        headers = {"Idempotency-Key": "one"}
        created = caller.send(operation, headers=headers)
        if created.status_code == 409:  # what it would create is there
            return created
        key = RESOURCE_OF[operation.table].key
        deletion = f"DELETE FROM {operation.table} WHERE {key}::text = %s"
        caller.database.execute(deletion.encode(), [str(created.json()[key])])
        return caller.send(operation, headers=headers)
    for create in CREATES:
        if create.table == operation.table:
            caller.send(Operation("POST", create.template))
    caller.send(operation)
    return caller.send(operation)


def changed_since(caller: Caller, operation: Operation) -> httpx.Response:
    return caller.send(operation, headers={"If-Match": '"1-1"'})


def too_large(caller: Caller, operation: Operation) -> httpx.Response:
    return caller.send(operation, content=b'"' + b"x" * 200_000 + b'"')


def of_another_type(caller: Caller, operation: Operation) -> httpx.Response:
    return caller.send(operation, headers={"Content-Type": "text/plain"})


def invalid(caller: Caller, operation: Operation) -> httpx.Response:
    """An unknown field, an id that no row can have, an unknown parameter, or a malformed header."""
    if operation.body is not None:
        return caller.send(operation, content=b'{"nix": 1}')
    targets = [operation.target_of("0")] if "{" in operation.path else []
    for target in (*targets, str(httpx.URL(operation.target).copy_add_param("nix", "1"))):
        rejected = caller.send(operation, target=target)
        if rejected.status_code == 422:
            return rejected
    return caller.send(operation, headers={"If-Match": "nix"})


def dangling(caller: Caller, operation: Operation) -> httpx.Response:
    """References to rows that do not exist."""
    body = operation.body or {}
    references = {name: key_for(name, 99) for name in body if name in REFERENCES}
    return caller.send(operation, content=json.dumps(body | references).encode())


def repeated(caller: Caller, operation: Operation) -> httpx.Response:
    """What another row has already, where that must be unique."""
    return caller.send(operation, target=operation.target_of(2))


def without_condition(caller: Caller, operation: Operation) -> httpx.Response:
    caller.worker.restart(REQUIRE_IF_MATCH="true")
    return caller.send(operation)


def too_often(caller: Caller, operation: Operation) -> httpx.Response:
    caller.worker.restart(READ_LIMIT="2", READ_BURST="1", WRITE_LIMIT="2", WRITE_BURST="1")
    caller.send(operation)
    return caller.send(operation)


def defective(caller: Caller, operation: Operation) -> httpx.Response:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    caller.monkeypatch.setattr(route, "within_limit", fail)
    return caller.send(operation)


def without_database(caller: Caller, operation: Operation) -> httpx.Response:
    caller.worker.restart(DATABASE_URL=NO_DATABASE, REDIS_URL=None)
    return caller.send(operation)


PROVOKE: dict[str, Callable[[Caller, Operation], httpx.Response]] = {
    "200": success,
    "201": created,
    "204": success,
    "304": not_modified,
    "400": malformed,
    "401": anonymous,
    "403": as_reader,
    "404": unknown,
    "409": conflict,
    "412": changed_since,
    "413": too_large,
    "415": of_another_type,
    "422": invalid,
    "428": without_condition,
    "429": too_often,
    "500": defective,
    "503": without_database,
}


def check(operation: Operation, response: httpx.Response) -> None:
    """Fail unless the response is as documented."""
    responses = operation.documented["responses"]
    status = str(response.status_code)
    assert status in responses, f"{status} is not documented: {response.text}"
    expected = documented(responses[status])
    check_headers(expected.get("headers", {}), response)
    content = expected.get("content")
    if content is None:
        assert response.content == b""
        return
    media_type = response.headers["content-type"].partition(";")[0]
    assert media_type in content
    if media_type.endswith("json"):
        schema = content[media_type].get("schema", {})
        validate(response.json(), schema)
    if response.is_client_error:  # several have one status
        code = response.json()["type"].rpartition("#")[2]
        [error] = [one for one in concrete_errors() if one.code == code]
        assert error.description in expected["description"], f"raises=[{error.__name__}]"


def check_headers(headers: dict[str, Any], response: httpx.Response) -> None:
    for name, reference in headers.items():
        header = documented(reference)
        value = response.headers.get(name)
        assert value is not None or not header["required"], f"{name} is missing"
        if value is not None:
            is_number = header["schema"]["type"] == "integer"
            validate(int(value) if is_number else value, header["schema"])
    undocumented = (HTTP_HEADERS & set(response.headers)) - set(map(str.lower, headers))
    assert undocumented == set()


def validate(value: Any, schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator({**schema, "components": DOCUMENT["components"]}).validate(
        value
    )


def is_soft_deletion(caller: Caller, operation: Operation, response: httpx.Response) -> bool:
    """Whether the response is to a deletion that leaves the row, which no reference to it stops."""
    if KINDS.get(operation.name) != "delete" or response.status_code not in (204, 404):
        return False
    key = key_of(METADATA.tables[operation.table], 1)
    name = RESOURCE_OF[operation.table].key
    row = f"SELECT FROM {operation.table} WHERE {name}::text = %s".encode()
    return caller.database.execute(row, [str(key)]).rowcount == 1


@pytest.mark.parametrize(("operation", "status"), CASES)
def test_each_documented_response_occurs_and_matches_the_document(
    caller: Caller, operation: Operation, status: str
) -> None:
    response = PROVOKE[status](caller, operation)
    if status == "409" and is_soft_deletion(caller, operation, response):
        return
    may_be_rule = status == "412" or status[0] == "2"  # which comes before the conditions
    is_rule = response.status_code == 409 and may_be_rule and is_done(operation.name, 409)
    is_unsigned = response.status_code == 401 and operation.name in SIGNED
    assert is_rule or is_unsigned or response.status_code == int(status), response.text
    check(operation, response)


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_no_request_gets_an_undocumented_response(caller: Caller, operation: Operation) -> None:
    """Each request that provokes a status of another operation gets a documented one here."""
    for provoke in (*PROVOKE.values(), dangling, repeated):
        if provoke in (defective, without_database, without_condition, too_often, not_modified):
            continue
        if provoke is conflict and operation.table not in RESOURCES:
            continue
        check(operation, provoke(caller, operation))


@pytest.mark.parametrize("resource", RESOURCES[:1])
def test_a_response_that_is_not_documented_is_found(resource: str) -> None:
    operation = Operation("GET", f"/{resource}")
    with pytest.raises(AssertionError, match="is not documented"):
        check(operation, httpx.Response(418))
    sent = {"X-Request-Id": "1", "Content-Type": "application/problem+json"}
    other = httpx.Response(422, json=Conflict("It is another error.").problem(), headers=sent)
    with pytest.raises(AssertionError, match=r"raises=\[Conflict\]"):
        check(operation, other)
    ok = httpx.Response(200, json={"data": 1}, headers={"X-Request-Id": "1", "ETag": '"1"'})
    with pytest.raises(jsonschema.ValidationError):
        check(operation, ok)
