"""The merged OpenAPI document of all functions: `python -m local.generate.openapi` writes it.

It is committed where MetaFunction serves it; a test fails if it is outdated.
"""

import inspect
import json
import tomllib
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from fastapi.openapi.utils import get_openapi

from local import ROOT
from local.generate.http_semantics import add_http_semantics, resolved
from local.generate.page_sizes import check_pages
from local.generate.repository import FUNCTIONS
from shared.errors import (
    MAX_BODY_BYTES,
    MAX_ERRORS,
    MAX_FIELD_CHARACTERS,
    MAX_MESSAGE_CHARACTERS,
    concrete_errors,
)
from shared.http.fields import MAX_ID

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OPENAPI_FILE = FUNCTIONS / "meta" / "openapi.json"

INFO: dict[str, Any] = {
    "title": "Users & Posts API",
    "version": PROJECT["version"],
    "license": {"name": "MIT", "identifier": "MIT"},
    "contact": {"name": "The maintainers, by the repository's issues"},
    "description": (
        "Lists are paginated by `skip`, by `page`, or by following `next`, "
        "which is also in the `Link` header. Every error is a problem as defined by "
        "[RFC 9457](https://www.rfc-editor.org/rfc/rfc9457); [/problems](/problems) explains "
        "them. Every response has an `X-Request-Id`. HEAD is supported wherever GET is. "
        f"A request body may have up to {MAX_BODY_BYTES} bytes."
    ),
}

CODES = sorted(error.code for error in concrete_errors())
PROBLEM_SCHEMA = {
    "type": "object",
    "title": "Problem",
    "description": "An error, as defined by RFC 9457.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {
            "type": "string",
            "format": "uri-reference",
            "enum": [f"/problems#{code}" for code in CODES],
            "x-enum-varnames": [code.replace("-", "_").upper() for code in CODES],
            "description": "The kind of error.",
        },
        "title": {"type": "string", "description": "The kind of error, for people."},
        "status": {"type": "integer", "format": "int32", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "A sentence about this occurrence."},
        "errors": {
            "type": "array",
            "maxItems": MAX_ERRORS,
            "description": "The invalid fields; `detail` has the number of further ones.",
            "items": {
                "type": "object",
                "required": ["in", "field", "message"],
                "properties": {
                    "in": {"type": "string", "enum": ["body", "query", "path", "header"]},
                    "field": {"type": "string", "maxLength": MAX_FIELD_CHARACTERS},
                    "message": {"type": "string", "maxLength": MAX_MESSAGE_CHARACTERS},
                },
            },
        },
        "violated-policies": {
            "type": "array",
            "description": "The exceeded limits, as the header `RateLimit-Policy` names them.",
            "items": {"type": "string", "enum": ["read", "write"]},
        },
    },
}
FASTAPIS_ERRORS = ("HTTPValidationError", "ValidationError")
"""Schemas of FastAPI's own 422, which an `InvalidRequest` replaces."""
SECURITY_SCHEMES = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": (
            "An access token of the API's issuer, which `/.well-known/oauth-protected-resource` "
            "names. Its roles must grant the `x-permission` of an operation."
        ),
    }
}


def merged_openapi() -> dict[str, Any]:
    """Return the document over every function that has routes, by name, meta last.

    Raises `ValueError` if two of its paths, schemas or operations would have one name, if a page
    could be larger than Lambda's response, or if a body is not an object with known members.
    """
    of_layer = {"paths": {}, "components": {"schemas": {"Problem": PROBLEM_SCHEMA}}}
    documents: dict[str, dict[str, Any]] = {"the layer": of_layer}
    tags: list[dict[str, str]] = []
    names = [routes.parent.name for routes in FUNCTIONS.glob("*/routes.py")]
    for name in sorted(names, key=lambda name: (name == "meta", name)):
        module = import_module(f"{name}.routes")
        tags.append({"name": name, "description": inspect.cleandoc(module.__doc__ or "")})
        app = import_module(f"{name}.handler").app
        documents[name] = get_openapi(
            title=INFO["title"], version=INFO["version"], routes=app.routes
        )
    _check_names(documents)
    paths: dict[str, Any] = {}
    schemas: dict[str, Any] = {}
    for one in documents.values():
        paths |= one["paths"]
        schemas |= one.get("components", {}).get("schemas", {})
    for name in FASTAPIS_ERRORS:
        schemas.pop(name, None)
    document = {
        "openapi": "3.1.0",
        "info": INFO,
        # Relative to the document, which MetaFunction serves with the base path of the request.
        "servers": [{"url": "/", "description": "This API."}],
        "tags": tags,
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": SECURITY_SCHEMES},
    }
    _check_bodies(document)
    add_http_semantics(document)
    _make_bounds_exact(document)
    check_pages(document)
    return document


def _check_names(documents: dict[str, Any]) -> None:
    """Raise `ValueError` if parts of two functions' documents have one name."""
    known: dict[str, tuple[str, Any]] = {}
    for function, document in documents.items():
        for name, part in _parts(document):
            other, its_part = known.setdefault(name, (function, part))
            if part != its_part:
                raise ValueError(
                    f"{function} and {other} both have the {name} in their OpenAPI documents: "
                    "rename one, as the merged document can have only one."
                )


def _check_bodies(document: dict[str, Any]) -> None:
    """Raise `ValueError` for a body to which no optional member could be added later."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            content = operation.get("requestBody", {}).get("content", {})
            schema = content.get("application/json", {}).get("schema")
            if schema is not None and "properties" not in resolved(document, schema):
                raise ValueError(
                    f"{method.upper()} {path}: its body must be a Body, an object with known"
                    " members; an array, or one of several objects, is a member of it"
                )


def _parts(document: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the parts that are found by a name, each with its kind and name."""
    for path, item in document["paths"].items():
        yield f"path {path}", item
        for method, operation in item.items():
            yield f"operationId {operation['operationId']}", (method, path)
    for name, schema in document.get("components", {}).get("schemas", {}).items():
        yield f"schema {name}", schema


def _make_bounds_exact(node: Any) -> None:
    """Convert the bounds of integers to integers, as FastAPI's model of a schema has floats.

    As a float, the largest bigint would be one more. An integer without bounds is a count.
    """
    if isinstance(node, list):
        for item in node:
            _make_bounds_exact(item)
    if isinstance(node, dict):
        if node.get("type") == "integer":
            node.setdefault("minimum", 0)
            node.setdefault("maximum", MAX_ID)
            node.setdefault("format", "int32" if node["maximum"] < 2**31 else "int64")
            for bound in {"minimum", "maximum"} & node.keys():
                node[bound] = min(int(node[bound]), MAX_ID)
        _make_bounds_exact(list(node.values()))


def as_text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def write() -> None:
    text = as_text(merged_openapi())
    # `make run` would reload for nothing.
    if not OPENAPI_FILE.exists() or text != OPENAPI_FILE.read_text(encoding="utf-8"):
        unfinished = OPENAPI_FILE.with_suffix(".new")
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(OPENAPI_FILE)  # `make run` may be reading it
        print(f"wrote {OPENAPI_FILE}")


if __name__ == "__main__":
    write()
