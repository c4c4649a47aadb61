"""The OpenAPI document breaks no client of the release before, unless CHANGELOG.md says so."""

import copy
import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from local.generate.openapi import OPENAPI_FILE
from tests import previous_release
from tests.meta.compatibility import breaking_changes
from tests.resources import ROOT

BREAKING = "### Breaking"
CURRENT: dict[str, Any] = json.loads(OPENAPI_FILE.read_text(encoding="utf-8"))
OLD: dict[str, Any] = {
    "paths": {
        "/things": {
            "get": {
                "parameters": [
                    {"in": "query", "name": "kind", "schema": {"$ref": "#/components/schemas/Kind"}}
                ],
                "responses": {"200": {"$ref": "#/components/responses/Thing"}},
            },
            "post": {
                "requestBody": {
                    "content": {
                        "application/json": {
                            "schema": {
                                "type": "object",
                                "required": ["name"],
                                "properties": {
                                    "name": {"type": "string", "maxLength": 10},
                                    "tags": {"type": "array", "items": {"type": "string"}},
                                    "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                                },
                            }
                        }
                    }
                },
                "responses": {"201": {"description": "Created"}},
            },
        }
    },
    "components": {
        "schemas": {
            "Kind": {"type": "string", "enum": ["a", "b"]},
            "Thing": {
                "type": "object",
                "required": ["id", "name"],
                "properties": {"id": {"type": "integer"}, "name": {"type": "string"}},
            },
        },
        "responses": {
            "Thing": {
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}}
            }
        },
    },
}
Change = Callable[[Any, Any, Any], object]
"""Changes the operations of GET and POST, and the schemas of components."""


def body(post: Any) -> Any:
    return post["requestBody"]["content"]["application/json"]["schema"]


BREAKS: dict[str, Change] = {
    "GET /things: query kind: fewer values": lambda _, __, s: s["Kind"]["enum"].remove("b"),
    "GET /things: query kind: removed": lambda get, _, __: get["parameters"].clear(),
    "GET /things: query page: required": lambda get, _, __: get["parameters"].append(
        {"in": "query", "name": "page", "required": True, "schema": {"type": "integer"}}
    ),
    "GET /things: 200: removed": lambda get, _, __: get["responses"].clear(),
    "GET /things: 200.name: may be missing": lambda _, __, s: s["Thing"]["required"].remove("name"),
    "GET /things: 200.name: may be null": lambda _, __, s: s["Thing"]["properties"].update(
        name={"type": ["string", "null"]}
    ),
    "POST /things: the body is required": lambda _, post, __: post["requestBody"].update(
        required=True
    ),
    "POST /things: body.note: removed": lambda _, post, __: body(post)["properties"].pop("note"),
    "POST /things: body.note: no longer null": lambda _, post, __: body(post)["properties"].update(
        note={"type": "string"}
    ),
    "POST /things: body.note: required": lambda _, post, __: body(post)["required"].append("note"),
    "POST /things: body.name: maxLength is 9": lambda _, post, __: body(post)["properties"][
        "name"
    ].update(maxLength=9),
    "POST /things: body.tags[]: pattern is ^a": lambda _, post, __: body(post)["properties"][
        "tags"
    ]["items"].update(pattern="^a"),
}
FITS: dict[str, Change] = {
    "another value": lambda _, __, s: s["Kind"]["enum"].append("c"),
    "another parameter": lambda get, _, __: get["parameters"].append(
        {"in": "query", "name": "page", "schema": {"type": "integer"}}
    ),
    "another field in a response": lambda _, __, s: s["Thing"]["properties"].update(age={}),
    "another field in a request": lambda _, post, __: body(post)["properties"].update(
        age={"type": "integer"}
    ),
    "longer texts": lambda _, post, __: body(post)["properties"]["name"].update(maxLength=11),
    "a field that is not required": lambda _, post, __: body(post)["required"].clear(),
}


def changed(change: Change) -> dict[str, Any]:
    new = copy.deepcopy(OLD)
    operations = new["paths"]["/things"]
    change(operations["get"], operations["post"], new["components"]["schemas"])
    return new


def test_no_client_of_the_release_before_breaks_unless_the_changelog_says_so() -> None:
    released = json.loads(previous_release.file(str(OPENAPI_FILE.relative_to(ROOT))))
    changes = breaking_changes(released, CURRENT)
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    (unreleased,) = re.findall(r"## Unreleased\n(.*?)(?=\n## |\Z)", changelog, re.DOTALL)
    assert not changes or BREAKING in unreleased, "\n".join(changes)


@pytest.mark.parametrize("expected", BREAKS)
def test_a_change_that_restricts_requests_or_responses_breaks(expected: str) -> None:
    assert breaking_changes(OLD, changed(BREAKS[expected])) == [expected]


@pytest.mark.parametrize("change", FITS)
def test_an_addition_breaks_no_client(change: str) -> None:
    assert breaking_changes(OLD, changed(FITS[change])) == []


def test_an_operation_that_is_gone_breaks() -> None:
    without = {"paths": {"/things": {"get": OLD["paths"]["/things"]["get"]}}} | {
        "components": OLD["components"]
    }
    assert breaking_changes(OLD, without) == ["POST /things: removed"]


def test_each_operation_of_todays_document_is_compared() -> None:
    changes = breaking_changes(CURRENT, CURRENT | {"paths": {}})
    assert len(changes) == sum(len(operations) for operations in CURRENT["paths"].values())
