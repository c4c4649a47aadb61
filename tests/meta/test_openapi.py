"""The merged OpenAPI document: current, complete, and true."""

import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, MetaData, Table

from local.generate import http_semantics, openapi
from local.generate.http_semantics import (
    GATEWAYS_MESSAGES,
    KINDS,
    add_http_semantics,
    errors_of_constraints,
    resolved,
)
from local.generate.openapi import OPENAPI_FILE, as_text, merged_openapi
from shared.database.models import CONFLICT
from shared.errors import Conflict, RequestInProgress
from shared.http.route import KIND, PERMISSION
from tests.every_resource.document import CREATES, url_of
from tests.in_process import client_of
from tests.resources import RESOURCE_TABLES, RESOURCES, ROUTED, routes_of

ANNOTATIONS = ("title", "description", "default", "examples", "deprecated")
"""Keywords of JSON Schema that reject no value."""

pytestmark = pytest.mark.usefixtures("services")


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return merged_openapi()


def operations(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for path in document["paths"].values() for operation in path.values()]


def references(node: object) -> set[str]:
    if isinstance(node, dict):
        own = {str(node["$ref"])} if "$ref" in node else set()
        return own.union(*(references(value) for value in node.values()))
    if isinstance(node, list):
        return set[str]().union(*(references(value) for value in node))
    return set()


def test_the_committed_document_is_current(document: dict[str, Any]) -> None:
    assert OPENAPI_FILE.read_text(encoding="utf-8") == as_text(document), "run `make openapi`"


def test_a_write_without_a_permission_fails_as_others_do() -> None:
    operation: dict[str, Any] = {"tags": ["hooks"], "responses": {"204": {"description": "Done."}}}
    add_http_semantics({"paths": {"/hooks": {"post": operation}}, "components": {}})
    assert operation["responses"].keys() >= {"500", "503"}
    assert operation["responses"].keys().isdisjoint({"401", "403"})


def test_a_rule_of_a_table_is_a_conflict_of_each_operation_that_may_violate_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    models = rules_of_models()
    monkeypatch.setattr(http_semantics, "METADATA", models)
    assert {
        (kind, name)
        for kind in KINDS
        for name, table in models.tables.items()
        if Conflict in errors_of_constraints(kind, table)
    } == {
        *(("delete", name) for name in ("offices", "people")),
        *((kind, "tasks") for kind in ("create", "replace", "update", "action")),
    }
    for kind, tag in (("update", "tasks"), ("update", "people"), ("delete", "people")):
        operation: dict[str, Any] = {KIND: kind, "tags": [tag], "responses": {"204": {}}}
        add_http_semantics({"paths": {"/x/{id}": {"put": operation}}, "components": {}})
        assert ("409" in operation["responses"]) == (tag == "tasks" or kind == "delete")


def rules_of_models() -> MetaData:
    """Tasks whose rule a deletion of their person may violate, but not of their list or author."""
    models = MetaData()
    for name in ("offices", "lists", "authors"):
        Table(name, models, Column("id", BigInteger, primary_key=True))
    Table(
        "people",
        models,
        Column("id", BigInteger, primary_key=True),
        Column("office_id", ForeignKey("offices.id", ondelete="CASCADE")),
        CheckConstraint("id > 0"),
    )
    Table(
        "tasks",
        models,
        Column("list_id", ForeignKey("lists.id", ondelete="CASCADE")),
        Column("author_id", ForeignKey("authors.id", ondelete="SET NULL")),
        Column("person_id", ForeignKey("people.id", ondelete="SET NULL")),
        CheckConstraint("done OR person_id IS NOT NULL", info={CONFLICT: "It needs a person."}),
    )
    return models


def test_the_served_document_is_the_committed_one() -> None:
    with client_of() as client:
        response = client.get("/openapi.json")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.content == OPENAPI_FILE.read_bytes()


def test_every_route_of_every_function_is_in_it(document: dict[str, Any]) -> None:
    """By all functions that have routes, whichever the merge knows."""
    routes = [
        (re.sub(r"\{(\w+):\w+\}", r"{\1}", route.path), method.lower())
        for function in ROUTED
        for route in routes_of(function)
        if getattr(route, "include_in_schema", False)
        for method in route.methods or ()
    ]
    documented = [
        (path, method) for path, methods in document["paths"].items() for method in methods
    ]
    assert sorted(documented) == sorted(routes)


@pytest.mark.parametrize("clash", ["path /things", "operationId get_thing", "schema Thing"])
def test_functions_with_a_name_in_common_are_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clash: str
) -> None:
    """As the merged document could have only one of the two."""
    names = {"path": "/others", "operationId": "get_other", "schema": "Other"}
    kind, name = clash.split()
    for function, (path, operation, schema) in {
        f"first_{kind}": ("/things", "get_thing", "Thing"),
        f"second_{kind}": (names | {kind: name}).values(),
    }.items():
        (tmp_path / function).mkdir()
        (tmp_path / function / "routes.py").write_text('"""Routes."""')
        (tmp_path / function / "handler.py").write_text(
            "from fastapi import FastAPI\nfrom pydantic import BaseModel\napp = FastAPI()\n"
            f"class {schema}(BaseModel):\n    {function}: int\n"
            f'@app.get("{path}", operation_id="{operation}")\n'
            f"def get() -> {schema}: ..."
        )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(openapi, "FUNCTIONS", tmp_path)
    with pytest.raises(ValueError, match=f"second_{kind} and first_{kind} both have the {clash}"):
        merged_openapi()


@pytest.mark.parametrize("body", ["list[int]", "Thing | Other", "dict[str, int]"])
def test_a_body_that_is_no_object_with_known_members_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    (function := tmp_path / f"of_{tmp_path.name}").mkdir()  # a module of its own
    (function / "routes.py").write_text('"""Routes."""')
    (function / "handler.py").write_text(
        "from fastapi import FastAPI\nfrom pydantic import BaseModel\napp = FastAPI()\n"
        "class Thing(BaseModel):\n    a: int\nclass Other(BaseModel):\n    b: int\n"
        f'@app.post("/things")\ndef post(body: {body}) -> None: ...'
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(openapi, "FUNCTIONS", tmp_path)
    with pytest.raises(ValueError, match="POST /things: its body must be a Body"):
        merged_openapi()


def test_every_reference_leads_somewhere_and_every_component_is_referred_to(
    document: dict[str, Any],
) -> None:
    components = {
        f"#/components/{kind}/{name}"
        for kind, named in document["components"].items()
        for name in named
    }
    assert references(document) | {"#/components/securitySchemes/token"} == components


def test_every_operation_has_a_name_of_its_own_and_a_description(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for operation in operations(document)]
    assert len(set(names)) == len(names)
    assert all(operation["description"] for operation in operations(document))


def test_every_error_is_documented_as_a_problem(document: dict[str, Any]) -> None:
    gateways = {error.status for error in GATEWAYS_MESSAGES}
    for operation in operations(document):
        if PERMISSION in operation:
            errors = {
                status: resolved(document, response)
                for status, response in operation["responses"].items()
                if status >= "400"
            }
            assert {"422", "503"} <= set(errors)
            for status, response in errors.items():
                own = ["application/json"] if int(status) in gateways else []
                assert list(response["content"]) == ["application/problem+json", *own]


def test_creating_documents_the_conflicts_of_its_keys(document: dict[str, Any]) -> None:
    for write in CREATES:
        responses = write.documented["responses"]
        conflict = resolved(document, responses["409"])["description"] if "409" in responses else ""
        assert (RequestInProgress.description in conflict) == write.is_idempotent


def with_inner(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the JSON Schema, and those of its parts."""
    yield schema
    parts = [*schema.get("properties", {}).values(), *schema.get("anyOf", [])]
    parts += [schema[one] for one in ("items", "additionalProperties") if one in schema]
    for part in parts:
        if isinstance(part, dict):
            yield from with_inner(part)


def test_a_schema_has_keywords_of_json_schema_only(document: dict[str, Any]) -> None:
    """Pydantic writes others, such as `max_digits`, for a `Field` after a validator of input."""
    known = {*jsonschema.Draft202012Validator.VALIDATORS, *ANNOTATIONS}
    parameters = [one.get("parameters", []) for one in operations(document)]
    schemas = [resolved(document, one)["schema"] for one in chain(*parameters)]
    for schema in (*document["components"]["schemas"].values(), *schemas):
        for one in with_inner(schema):
            assert {key for key in one if not key.startswith("x-")} <= known, one


def integers(node: object) -> list[dict[str, Any]]:
    if isinstance(node, dict):
        own = [node] if node.get("type") == "integer" else []
        return own + [found for value in node.values() for found in integers(value)]
    if isinstance(node, list):
        return [found for item in node for found in integers(item)]
    return []


def test_bounds_of_integers_are_integers_that_a_bigint_can_hold(document: dict[str, Any]) -> None:
    bounds = [
        schema[bound]
        for schema in integers(document)
        for bound in ("minimum", "maximum")
        if bound in schema
    ]
    assert {type(bound) for bound in bounds} == {int}
    assert max(bounds) == 2**63 - 1


def test_ids_are_64_bit_integers(document: dict[str, Any]) -> None:
    keys = {
        column.name.replace("_", " ").title()
        for table in RESOURCE_TABLES
        for column in table.columns
        if column.primary_key or column.foreign_keys
    }
    ids = [schema for schema in integers(document) if schema.get("title") in keys]
    assert ids or not RESOURCES
    assert all(schema.get("format") == "int64" for schema in ids)


def test_a_query_takes_an_integer_up_to_its_maximum(
    document: dict[str, Any], api: httpx.Client
) -> None:
    tried = 0
    for path, methods in document["paths"].items():
        for reference in methods.get("get", {}).get("parameters", []):
            parameter = resolved(document, reference)
            if parameter["in"] == "query" and "maximum" in parameter["schema"]:
                name, maximum = parameter["name"], parameter["schema"]["maximum"]
                url = httpx.URL(url_of(path, 1))
                assert api.get(url.copy_set_param(name, maximum)).status_code == 200
                assert api.get(url.copy_set_param(name, maximum + 1)).status_code == 422
                tried += 1
    assert tried >= 3 * len(RESOURCES)
