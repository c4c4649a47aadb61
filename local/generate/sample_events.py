"""Sample events, one for every route and for the migrations.

`python -m local.generate.sample_events` writes them. They are made from the OpenAPI document and
committed below `local/events/`, for `sam local invoke` and `python -m local invoke`. Ids are 1.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from local.gateway.events import Request, default_event
from local.generate.openapi import OPENAPI_FILE, resolved

EVENTS = Path(__file__).parents[1] / "events"
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
    """Return events by the names of their files: `users-create_user` of the function users."""
    document = json.loads(OPENAPI_FILE.read_text(encoding="utf-8"))
    return dict(_route_events(document)) | MIGRATIONS


def _route_events(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            body = _example_body(document, operation)
            name = f"{operation['tags'][0]}-{operation['operationId']}"
            yield name, _event(method.upper(), path, body)


def _event(method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
    target = "/".join("1" if part.startswith("{") else part for part in path.split("/"))
    content = b"" if body is None else json.dumps(body).encode()
    headers = [("host", HOST), ("user-agent", "sample-event")]
    if body is not None:
        headers.append(("content-type", "application/json"))
    request = Request(method, target, headers, content, source_ip="127.0.0.1")
    event = default_event(request, 3000)
    # They would change every file each time.
    del event["headers"]["x-amzn-trace-id"]
    return event | {"requestContext": event["requestContext"] | FIXED_CONTEXT}


def _example_body(document: dict[str, Any], operation: dict[str, Any]) -> dict[str, Any] | None:
    """Return the fields' examples, None if the operation takes no body."""
    if "requestBody" not in operation:
        return None
    schema = resolved(document, operation["requestBody"]["content"]["application/json"]["schema"])
    return {
        name: field.get("examples", [1])[0]
        for name, field in schema["properties"].items()
        if name in schema.get("required", schema["properties"])
    }


def as_text(event: dict[str, Any]) -> str:
    """Return JSON with a line for each member of the event."""
    members = (f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in event.items())
    return "{\n" + ",\n".join(members) + "\n}\n"


if __name__ == "__main__":
    for name, event in sample_events().items():
        (EVENTS / f"{name}.json").write_text(as_text(event), encoding="utf-8")
    print(f"wrote {len(sample_events())} events to {EVENTS}")
