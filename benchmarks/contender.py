"""One of the systems under measurement, in a process of its own: `ours`, `baseline`, or `floors`.

    python -m benchmarks.contender ours

Reads a line of JSON for each round, `{"request": name, "count": n}`, and answers with a line of
the handler's times in seconds. What a request needs (an empty cache, a user to update) is made
before the clock starts. The handler is called with the event of an HTTP API, as Lambda would.
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
from typing import Any

import redis

from tests.in_process import LambdaContext

Request = tuple[str, str, dict[str, Any] | None]
Handler = Callable[[dict[str, Any], LambdaContext], dict[str, Any]]
Timer = Callable[[str], float]

NOT_FOUND = "unknown path (404)"
KNOWN_IDS = itertools.cycle(range(1, 501))


class Context(LambdaContext):
    """With what Powertools' decorators, which the baseline has, read of it."""

    function_name = "benchmark"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:benchmark"


def requests() -> dict[str, Callable[[], Request]]:
    """How to make the next request of each kind."""
    return {
        "cached list": lambda: ("GET", "/users?limit=10", None),
        "uncached list": _uncached_list,
        "one user": lambda: ("GET", f"/users/{next(KNOWN_IDS)}", None),
        "one post": lambda: ("GET", f"/posts/{next(KNOWN_IDS)}", None),
        "create a user": lambda: ("POST", "/users", _body()),
        "update a user": lambda: ("PUT", f"/users/{next(KNOWN_IDS)}", _body()),
        NOT_FOUND: _not_found,
    }


def main() -> None:
    # The handlers log to stdout; the answers go where stdout was.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - open until the process ends
    seconds_of = _timer(sys.argv[1])
    for line in sys.stdin:
        asked = json.loads(line)
        times = [seconds_of(asked["request"]) for _ in range(asked["count"])]
        print(json.dumps(times), file=answers)


def _timer(system: str) -> Timer:
    """A function that makes one request of a kind, and gives its time in seconds."""
    if system == "floors":
        from benchmarks.floors import Floors

        floors = Floors()
        return lambda kind: floors.seconds(kind, _event(*_not_found()), Context())
    handler_of = _ours if system == "ours" else _baseline()
    make = requests()
    return lambda kind: _timed(handler_of, make[kind]())


def _timed(handler_of: Callable[[str], Handler], request: Request) -> float:
    method, target, body = request
    event = _event(method, target, body)
    handler = handler_of(target)
    context = Context()
    started = time.perf_counter()
    answer = handler(event, context)
    took_seconds = time.perf_counter() - started
    assert answer["statusCode"] in (200, 201, 404), answer
    return took_seconds


def _ours(target: str) -> Handler:
    handler: Handler = importlib.import_module(
        f"{target.split('/')[1].split('?')[0]}.handler"
    ).handler
    return handler


def _baseline() -> Callable[[str], Handler]:
    app = importlib.import_module("benchmarks.baseline.app")
    asyncio.get_event_loop_policy().get_event_loop().run_until_complete(app.create_schema())
    # It has no route for one post; this one is written as its others are.
    importlib.import_module("benchmarks.one_post")
    return lambda _target: app.handler


def _not_found() -> Request:
    return ("GET", "/users/no/such/path", None)


def _uncached_list() -> Request:
    redis.Redis.from_url(os.environ["REDIS_URL"]).flushdb()
    return ("GET", "/users?limit=10", None)


def _body() -> dict[str, Any]:
    return {"name": "Ada Lovelace", "email": f"{uuid.uuid4().hex}@example.com"}


def _event(method: str, target: str, body: dict[str, Any] | None) -> dict[str, Any]:
    path, _, query = target.partition("?")
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": {"host": "api.example.com", "content-type": "application/json"},
        "requestContext": {
            "requestId": str(uuid.uuid4()),
            "stage": "$default",
            "http": {
                "method": method,
                "path": path,
                "sourceIp": "127.0.0.1",
                "protocol": "HTTP/1.1",
            },
        },
        "isBase64Encoded": False,
    }
    if body is not None:
        event["body"] = json.dumps(body)
    return event


if __name__ == "__main__":
    main()
