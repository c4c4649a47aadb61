"""The tables of docs/api.md: every route with its permission, and the fields of every body.

They are derived from the OpenAPI document and the permissions. `python -m local.generate.derived`
writes them; a test fails when they are not current.
"""

import re
from collections.abc import Iterator
from typing import Any

from local import ROOT
from local.generate.http_semantics import resolved
from local.generate.openapi import merged_openapi
from shared.auth.permissions import ROLES, Grant, grant_of
from shared.errors import Unauthorized
from shared.http.route import PERMISSION

API_PAGE = ROOT / "docs" / "api.md"
ROUTES = f"| route | what it does | permission | {' | '.join(ROLES)} |\n"
FIELDS = "| route | field | value | description |\n"
WORDS = {Grant.NONE: "none", Grant.OWN: "own", Grant.ALL: "all"}
TYPES = {
    "boolean": "true or false",
    "integer": "integer",
    "null": "null",
    "number": "number",
    "object": "object",
    "date": "date",
    "date-time": "date-time",
    "email": "e-mail address",
    "uuid": "UUID",
}
"""The names of JSON's types, and of formats of texts, in the tables."""
Schema = dict[str, Any]


def with_tables(page: str) -> str:
    """Return the page with current tables in place of its own."""
    document = merged_openapi()
    operations = [
        (f"{method.upper()} {path}", operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
    ]
    routes = (_route(name, operation, page) for name, operation in operations)
    fields = (
        row
        for name, operation in operations
        if name.startswith("POST ")
        for row in _fields(name, operation, document)
    )
    return _with_rows(_with_rows(page, ROUTES, routes), FIELDS, fields)


def _with_rows(page: str, header: str, rows: Iterator[str]) -> str:
    before, _, rest = page.partition(header)
    after = re.sub(r"\A(?:\|.*\n)*", "", rest)
    rule = "|---" * (header.count("|") - 1)
    return f"{before}{header}{rule}|\n{''.join(rows)}{after}"


def _route(name: str, operation: Schema, page: str) -> str:
    """Return the row of a route, with a link to its section if there is one."""
    shown = f"`{name}`"
    if f"\n### {name}\n" in page:
        anchor = re.sub(r"[^\w\- ]", "", name).replace(" ", "-").lower()
        shown = f"[{shown}](#{anchor})"
    permission = operation.get(PERMISSION)
    others = "a signature" if str(Unauthorized.status) in operation["responses"] else "public"
    needed = f"`{permission}`" if permission else others
    grants = (WORDS[grant_of(permission, role)] if permission else "all" for role in ROLES)
    return f"| {shown} | {_sentence(operation)} | {needed} | {' | '.join(grants)} |\n"


def _fields(name: str, operation: Schema, document: Schema) -> Iterator[str]:
    """Yield the rows of the fields of a route's body."""
    if "requestBody" not in operation:
        return
    [content] = operation["requestBody"]["content"].values()
    body = resolved(document, content["schema"])
    for field, schema in body["properties"].items():
        value = " or ".join(_types(schema, document))
        optional = "" if field in body.get("required", ()) else "; may be left out"
        yield f"| `{name}` | `{field}` | {value}{optional} | {_sentence(schema)} |\n"


def _types(schema: Schema, document: Schema) -> Iterator[str]:
    schema = resolved(document, schema)
    if "anyOf" in schema:
        for one in schema["anyOf"]:
            yield from _types(one, document)
    elif "enum" in schema:
        yield from (f"`{value}`" for value in schema["enum"])
    elif schema.get("type") == "array":
        yield f"array of {' or '.join(_types(schema['items'], document))}"
    elif schema.get("format") in TYPES:
        yield TYPES[schema["format"]]
    elif schema.get("type") == "string":
        yield _text(schema)
    else:
        yield TYPES.get(schema.get("type", ""), "any value")


def _text(schema: Schema) -> str:
    if "maxLength" not in schema:
        return "text"
    least = f"{schema['minLength']} to " if schema.get("minLength") else "up to "
    return f"text of {least}{schema['maxLength']:,} characters"


def _sentence(described: Schema) -> str:
    """Return the first sentence of a description, for a cell of a table."""
    descriptions = (one.get("description") for one in (described, *described.get("anyOf", ())))
    first = re.split(r"(?<=\.)\s", next(filter(None, descriptions), ""))[0]
    return first.replace("|", r"\|")


def write() -> None:
    text = with_tables(API_PAGE.read_text(encoding="utf-8"))
    API_PAGE.write_text(text, encoding="utf-8")
    print(f"wrote {API_PAGE}")
