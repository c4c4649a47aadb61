"""The OpenAPI document of all functions, merged: `python -m local.openapi` writes it.

It is committed where the docs function serves it; a test fails when it is not current.
"""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

from fastapi.openapi.utils import get_openapi

from blog.application import create_app

FUNCTIONS = Path(__file__).parents[1] / "functions"
OPENAPI_FILE = FUNCTIONS / "docs" / "openapi.json"

INFO = {
    "title": "Users & Posts API",
    "version": "1.0.0",
    "description": (
        "Users and their posts. Lists are walked by `skip`, by `page`, or by following `next`, "
        "which also stands in the `Link` header. Every error is a problem as "
        "[RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) has it; [/problems](/problems) "
        "explains them. Every answer carries `X-Request-Id`."
    ),
}

PROBLEM_SCHEMA = {
    "type": "object",
    "title": "Problem",
    "description": "An error, as RFC 9457 has it.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference", "description": "What went wrong."},
        "title": {"type": "string", "description": "The same for people."},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "What went wrong with this very request."},
        "errors": {
            "type": "array",
            "description": "Every wrong field of the request.",
            "items": {
                "type": "object",
                "required": ["in", "field", "message"],
                "properties": {
                    "in": {"type": "string", "enum": ["body", "query", "path", "header"]},
                    "field": {"type": "string"},
                    "message": {"type": "string"},
                },
            },
        },
    },
}


def merged_openapi() -> dict[str, Any]:
    """The document over every function that has routes, by name; those of no resource come last."""
    paths: dict[str, Any] = {}
    schemas: dict[str, Any] = {"Problem": PROBLEM_SCHEMA}
    for name in sorted(_function_names(), key=lambda name: (name == "docs", name)):
        app = create_app(import_module(f"{name}.routes").router)
        document = get_openapi(title=INFO["title"], version=INFO["version"], routes=app.routes)
        paths |= document["paths"]
        schemas |= document.get("components", {}).get("schemas", {})
    return {
        "openapi": "3.1.0",
        "info": INFO,
        "paths": paths,
        "components": {"schemas": dict(sorted(schemas.items()))},
    }


def _function_names() -> list[str]:
    return [routes.parent.name for routes in FUNCTIONS.glob("*/routes.py")]


def as_text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    OPENAPI_FILE.write_text(as_text(merged_openapi()), encoding="utf-8")
    print(f"wrote {OPENAPI_FILE}")
