"""The sizes of pages: Lambda must be able to return the largest one of each list.

A value is as large as the bodies of its resource allow. A character takes up to 4 bytes in Lambda's
response, a quote too, since it is escaped in the body and around it. What clients may send without
a maximum is as large as a body may be. A text that no client sends counts as a line, an array or
object that no client sends as empty.
"""

import json
from collections.abc import Iterator
from typing import Any

from local.generate.http_semantics import resolved
from local.runtime.pure_python import MAX_RESPONSE_BYTES
from shared.errors import MAX_BODY_BYTES
from shared.http.fields import MAX_CHARACTERS, MAX_LINE_CHARACTERS
from shared.http.pagination import MAX_LIMIT

Schema = dict[str, Any]
MAX_ROWS_BYTES = MAX_RESPONSE_BYTES - 64 * 1024
"""The rest of a response are headers, and the fields of its page."""
LIMITS = (MAX_LIMIT, 50, 20, 10)
"""Of lists that are generated."""
FORMATS = {"uuid": 36, "date": 10, "date-time": 35, "time": 21, "duration": 40}
"""Characters of texts that have no `maxLength`."""
KEYS_BYTES = 600
"""Of a row's key, its parent's, and created_at."""
NUMBER_BYTES = 25
UNBOUNDED_BYTES = 2 * MAX_BODY_BYTES
"""Of what fills a body: quotes are escaped once there, and twice in Lambda's response."""


def largest_limit(characters: dict[str, int]) -> int:
    """Return a limit for rows of these fields, each with its maximum of characters, and keys."""
    row = sum(_member_bytes(name, _text_bytes(one)) for name, one in characters.items())
    row += KEYS_BYTES
    return next(limit for limit in (*LIMITS, 1) if limit == 1 or limit * row <= MAX_ROWS_BYTES)


def check_pages(document: Schema) -> None:
    """Raise `ValueError` for a list whose largest page is larger than Lambda's response."""
    for path, operations in document["paths"].items():
        operation = operations.get("get", {})
        for one in operation.get("parameters", ()):
            parameter = resolved(document, one)
            if parameter["name"] == "limit" and _is_list(document, operation):
                _check(path, parameter["schema"]["maximum"], _row(document, operation))


def _check(path: str, limit: int, row: dict[str, int]) -> None:
    size = sum(row.values())
    if limit * size > MAX_ROWS_BYTES:
        largest = ", ".join(sorted(row, key=row.__getitem__, reverse=True)[:3])
        raise ValueError(
            f"GET {path}: {limit} rows of up to {size:,} bytes are more than Lambda can return."
            f" Lower its limit, in a class of its query parameters (limit: Annotated[int,"
            f" limit_up_to({MAX_ROWS_BYTES // size}), DECIMAL_DIGITS] = 10), or shorten its"
            f" largest fields: {largest}"
        )


def _is_list(document: Schema, operation: Schema) -> bool:
    """Whether it responds with pages: a route of no kind may have another `limit`."""
    return "data" in _page(document, operation).get("properties", {})


def _page(document: Schema, operation: Schema) -> Schema:
    content = operation["responses"].get("200", {}).get("content", {})
    return resolved(document, content.get("application/json", {}).get("schema", {}))


def _row(document: Schema, operation: Schema) -> dict[str, int]:
    """Return the largest sizes of the members of a list's rows."""
    row = resolved(document, _page(document, operation)["properties"]["data"]["items"])
    sent = dict[str, int]()
    for name, schema in _sent(document, operation["tags"][0]):
        sent[name] = max(sent.get(name, 0), _largest(document, schema, is_sent=True))
    return {
        name: _member_bytes(name, sent.get(name) or _largest(document, schema, is_sent=False))
        for name, schema in row.get("properties", {}).items()
    }


def _sent(document: Schema, tag: str) -> Iterator[tuple[str, Schema]]:
    """Yield the fields of all bodies of a resource."""
    for operations in document["paths"].values():
        for operation in operations.values():
            if operation["tags"][0] == tag and "requestBody" in operation:
                for content in operation["requestBody"]["content"].values():
                    yield from resolved(document, content["schema"]).get("properties", {}).items()


def _largest(document: Schema, schema: Schema, *, is_sent: bool) -> int:
    """Return how many bytes a value of the schema may have in Lambda's response."""
    schema = resolved(document, schema)
    if "anyOf" in schema:
        return max(_largest(document, one, is_sent=is_sent) for one in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        values = schema.get("enum") or [schema["const"]]
        return max(_text_bytes(len(json.dumps(value, ensure_ascii=False))) for value in values)
    if MAX_CHARACTERS in schema:
        return _text_bytes(schema[MAX_CHARACTERS])
    unbounded = UNBOUNDED_BYTES if is_sent else 0
    match schema.get("type"):
        case "string":
            known = schema.get("maxLength") or FORMATS.get(schema.get("format", ""))
            return _text_bytes(known or MAX_LINE_CHARACTERS) if known or not is_sent else unbounded
        case "array":
            item = _largest(document, schema["items"], is_sent=is_sent)
            return (item + 1) * int(schema["maxItems"]) if "maxItems" in schema else unbounded
        case "object" if "maxProperties" in schema and "maxLength" in schema.get(
            "propertyNames", ()
        ):
            name = _text_bytes(schema["propertyNames"]["maxLength"])
            values = schema.get("patternProperties") or {"": schema["additionalProperties"]}
            largest = max(_largest(document, one, is_sent=is_sent) for one in values.values())
            return int(schema["maxProperties"]) * (name + largest + 2)
        case "object" if "properties" in schema:
            return sum(
                _member_bytes(name, _largest(document, one, is_sent=is_sent))
                for name, one in schema["properties"].items()
            )
        case "integer" | "number" | "boolean" | "null":
            return NUMBER_BYTES
    return unbounded


def _text_bytes(characters: int) -> int:
    return 4 * (characters + 1)  # with its quotes


def _member_bytes(name: str, value: int) -> int:
    return len(rf"\"{name}\":,") + value
