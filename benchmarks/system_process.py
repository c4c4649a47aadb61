"""A process of a system under test: `project`, `baseline`, or `lower_bound`.

    python -m benchmarks.system_process project

Reads a line of JSON for each round, `{"request": name, "count": n}`, and writes a line with the
handler's times in seconds. Requests are prepared (a cache emptied, by `DIRECT_REDIS_URL` if set)
before the clock starts. The handler is called with the event of an HTTP API, as in Lambda.
"""

import asyncio
import importlib
import itertools
import json
import os
import sys
import time
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple

import redis

from local.services.valkey import end_quarantine
from tests.in_process import LambdaContext

Handler = Callable[[dict[str, Any], LambdaContext], dict[str, Any]]
Timer = Callable[[str], float]

NOT_FOUND = "unknown path (404)"
CLAIMS = {
    "iss": "https://issuer.example.com/",
    "aud": "benchmark",
    "sub": "benchmark",
    "exp": "4102444800",
    "roles": "[admin]",
}
"""Of the caller's token, where the system under test requires one."""
KNOWN_IDS = itertools.cycle(range(1, 501))
IDS_TO_DELETE = itertools.count(501)


class Request(NamedTuple):
    method: str
    target: str
    body: dict[str, Any] | None = None
    headers: dict[str, str] = {}  # noqa: RUF012 - never changed


class Context(LambdaContext):
    """Has the attributes that Powertools' decorators, which the baseline uses, read."""

    function_name = "benchmark"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:benchmark"


def requests() -> dict[str, Callable[[], Request]]:
    """Return a function for each kind of request that makes the next one."""
    return {
        "cached list": lambda: Request("GET", "/users?limit=10"),
        "uncached list": _uncached_list,
        "one user": lambda: Request("GET", f"/users/{next(KNOWN_IDS)}"),
        "one post": lambda: Request("GET", f"/posts/{next(KNOWN_IDS)}"),
        "create a user": lambda: Request("POST", "/users", _body()),
        "create a user with a key": _keyed_create,
        "update a user": lambda: Request("PUT", f"/users/{next(KNOWN_IDS)}", _body()),
        "delete a user": lambda: Request("DELETE", f"/users/{next(IDS_TO_DELETE)}"),
        "search": lambda: Request("GET", "/users/search?name=user&limit=10"),
        "statistics": lambda: Request("GET", "/users/stats"),
        NOT_FOUND: _not_found,
    }


def main() -> None:
    # The handlers log to stdout, so results are written to a copy of it.
    results = os.fdopen(os.dup(1), "w", buffering=1)
    sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - open until the process ends
    seconds_of = _timer(sys.argv[1])
    for line in sys.stdin:
        order = json.loads(line)
        times = [seconds_of(order["request"]) for _ in range(order["count"])]
        print(json.dumps(times), file=results)


def _timer(system: str) -> Timer:
    """Return a function that makes a request of a kind and returns its time in seconds."""
    if system == "lower_bound":
        from benchmarks.lower_bound import LowerBound

        lower_bound = LowerBound()
        return lambda kind: lower_bound.seconds(kind, event_of(_not_found()), Context())
    handler_of = _project if system == "project" else _baseline()
    make = requests()
    return lambda kind: _timed(handler_of, make[kind]())


def _timed(handler_of: Callable[[str], Handler], request: Request) -> float:
    event = event_of(request)
    handler = handler_of(request.target)
    context = Context()
    started = time.perf_counter()
    response = handler(event, context)
    took_seconds = time.perf_counter() - started
    assert response["statusCode"] in (200, 201, 204, 404), response
    return took_seconds


def _project(target: str) -> Handler:
    handler: Handler = importlib.import_module(
        f"{target.split('/')[1].split('?')[0]}.handler"
    ).handler
    return handler


def _baseline() -> Callable[[str], Handler]:
    app = importlib.import_module("benchmarks.baseline.app")
    asyncio.get_event_loop_policy().get_event_loop().run_until_complete(app.create_schema())
    # The baseline has no route for one post; add one in its style.
    importlib.import_module("benchmarks.one_post")
    return lambda _target: app.handler


def _not_found() -> Request:
    return Request("GET", "/users/no/such/path")


def _uncached_list() -> Request:
    url = os.environ.get("DIRECT_REDIS_URL", os.environ["REDIS_URL"])
    with redis.Redis.from_url(url) as client:
        client.flushdb()
        end_quarantine(client)
    return Request("GET", "/users?limit=10")


def _keyed_create() -> Request:
    return Request("POST", "/users", _body(), {"idempotency-key": uuid.uuid4().hex})


def _body() -> dict[str, Any]:
    return {"name": "Ada Lovelace", "email": f"{uuid.uuid4().hex}@example.com"}


def event_of(request: Request) -> dict[str, Any]:
    path, _, query = request.target.partition("?")
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": {"host": "api.example.com", "content-type": "application/json"}
        | request.headers,
        "requestContext": {
            "requestId": str(uuid.uuid4()),
            "stage": "$default",
            "http": {
                "method": request.method,
                "path": path,
                "sourceIp": "127.0.0.1",
                "protocol": "HTTP/1.1",
            },
            "authorizer": {"jwt": {"claims": CLAIMS, "scopes": None}},
        },
        "isBase64Encoded": False,
    }
    if request.body is not None:
        event["body"] = json.dumps(request.body)
    return event


if __name__ == "__main__":
    main()
