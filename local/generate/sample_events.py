"""Sample events, one for every route and for the migrations.

They are generated from the OpenAPI document by `python -m local.generate.derived`, and committed in
`local/events/`, for `sam local invoke` and `python -m local invoke`. Ids are 1,
other keys the example of their type. A query has the parameters that are required.
"""

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from local import ROOT
from local.gateway.events import Request, default_event
from local.generate.http_semantics import resolved
from local.generate.openapi import OPENAPI_FILE

EVENTS = ROOT / "local" / "events"
FORMATS = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "time": "12:00:00",
    "duration": "PT1H",
    "email": "ada@example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-0000-0000-000000000001",
}
"""A text of each format of JSON Schema."""
HOST = "127.0.0.1:3000"
FIXED_CONTEXT = {
    "requestId": "sample-event",
    "time": "01/Jan/2026:00:00:00 +0000",
    "timeEpoch": 1767225600000,
}
MIGRATIONS = {
    "migrations-upgrade": {"action": "upgrade", "revision": "head"},
    "migrations-downgrade": {"action": "downgrade", "revision": "-1"},
}


def sample_events() -> dict[str, dict[str, Any]]:
    """Return events by the names of their files, such as `articles-create_article`."""
    document = json.loads(OPENAPI_FILE.read_text(encoding="utf-8"))
    return dict(_route_events(document)) | MIGRATIONS


def _route_events(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            body = _example_body(document, operation)
            name = f"{operation['tags'][0]}-{operation['operationId']}"
            yield name, _event(method.upper(), _example_target(document, path, operation), body)


def _example_target(document: dict[str, Any], path: str, operation: dict[str, Any]) -> str:
    """Return the path with its parameters, and the query of those that are required."""
    values: dict[str, dict[str, Any]] = {"path": {}, "query": {}}
    for one in (resolved(document, parameter) for parameter in operation.get("parameters", [])):
        if one.get("required") and one["in"] in values:
            value = example(one["schema"], document["components"]["schemas"])
            values[one["in"]][one["name"]] = value
    target = path.format(**values["path"])
    return f"{target}?{urlencode(values['query'], doseq=True)}" if values["query"] else target


def _event(method: str, target: str, body: Any) -> dict[str, Any]:
    content = b"" if body is None else json.dumps(body).encode()
    headers = [("host", HOST), ("user-agent", "sample-event")]
    if body is not None:
        headers.append(("content-type", "application/json"))
    request = Request(method, target, headers, content, source_ip="127.0.0.1")
    event = default_event(request, 3000)
    # Random values would change every file each time.
    del event["headers"]["x-amzn-trace-id"]
    return event | {"requestContext": event["requestContext"] | FIXED_CONTEXT}


def _example_body(document: dict[str, Any], operation: dict[str, Any]) -> Any:
    """Return a body with all fields, None if the operation takes none."""
    if "requestBody" not in operation:
        return None
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    return example(schema, document["components"]["schemas"])


def example(schema: dict[str, Any], schemas: dict[str, Any]) -> Any:
    """Return a value that the JSON Schema allows: its first example, or one derived from its type.

    Of alternatives it is the last one that is not null, such as the text of a decimal; of
    enumerated values the last one that is not the default, as of true and false.

    Raises `ValueError` for a type without a known value: give such a field an example,
    `Field(examples=[…])`.
    """
    if "$ref" in schema:
        return example(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    if examples := schema.get("examples"):
        return examples[0]
    if values := [one for one in schema.get("enum", []) if one != schema.get("default")]:
        return values[-1]
    if alternatives := schema.get("anyOf", schema.get("oneOf")):
        *_, chosen = (one for one in alternatives if one.get("type") != "null")
        return example(chosen, schemas)
    return schema["const"] if "const" in schema else _of_type(schema, schemas)


def _of_type(schema: dict[str, Any], schemas: dict[str, Any]) -> Any:
    match schema.get("type"):
        case "object":
            return _example_object(schema, schemas)
        case "array":
            return [example(schema["items"], schemas)] * max(1, schema.get("minItems", 1))
        case "boolean":
            return not schema.get("default", False)
        case "integer" | "number":
            return schema.get("minimum") or 1
        case "string":
            return FORMATS.get(schema.get("format", "")) or _example_text(schema)
        case None:
            return "value"
    raise ValueError(f"no value is known for {schema}: give the field an example")


def _example_object(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    if "properties" in schema:
        return {name: example(field, schemas) for name, field in schema["properties"].items()}
    values = schema.get("additionalProperties", True)
    return {"key": example(values if isinstance(values, dict) else {}, schemas)}


def _example_text(schema: dict[str, Any]) -> str:
    """Return a text of the schema's length and pattern. Raises `ValueError` if none is known."""
    minimum, pattern = schema.get("minLength", 0), schema.get("pattern", "")
    text = "text".ljust(minimum, "x")[: schema.get("maxLength")]
    for one in ("1", text) if pattern else (text,):  # of a decimal, whose pattern has no end
        if len(one) >= minimum and re.search(pattern, one):
            return one
    raise ValueError(f"no text is known for {schema}: give the field an example")


def as_text(event: dict[str, Any]) -> str:
    """Return JSON with a line for each member of the event."""
    members = (f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in event.items())
    return "{\n" + ",\n".join(members) + "\n}\n"


def write() -> None:
    events = sample_events()
    for path in EVENTS.glob("*.json"):
        if path.stem not in events:
            path.unlink()
    for name, event in events.items():
        (EVENTS / f"{name}.json").write_text(as_text(event), encoding="utf-8")
    print(f"wrote {len(events)} events to {EVENTS}")
