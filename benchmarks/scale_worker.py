"""A worker of the `project` or the `baseline`, for `benchmarks.scale`.

    python -m benchmarks.scale_worker project

Reads a line of JSON for each request, `{"method": "GET", "target": "/users"}`, empties Redis, and
calls the handler with the event of an HTTP API. Writes a line of JSON: the handler's time in
seconds, the response's status, and its body.
"""

import importlib
import json
import os
import sys
import time
import uuid
from typing import Any

import redis

from local.services.valkey import end_quarantine
from tests.in_process import LambdaContext, handler_of

REQUEST_SECONDS = 60.0


class Context(LambdaContext):
    """Has the attributes that Powertools' decorators, which the baseline uses, read."""

    function_name = "benchmark"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:benchmark"


def main() -> None:
    # The handlers log to stdout, so results are written to a copy of it.
    results = os.fdopen(os.dup(1), "w", buffering=1)
    sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - open until the process ends
    cache = redis.Redis.from_url(os.environ["REDIS_URL"])
    for line in sys.stdin:
        request = json.loads(line)
        cache.flushdb()
        end_quarantine(cache)
        print(json.dumps(_response(sys.argv[1], **request)), file=results)


def _response(system: str, method: str, target: str) -> dict[str, Any]:
    handler: Any = handler_of(target.partition("?")[0])
    if system == "baseline":
        handler = importlib.import_module("benchmarks.baseline.app").handler
    event, context = _event(method, target), Context(REQUEST_SECONDS)
    started = time.perf_counter()
    response = handler(event, context)
    seconds = time.perf_counter() - started
    return {
        "seconds": seconds,
        "status": response["statusCode"],
        "body": response.get("body") or "",
    }


def _event(method: str, target: str) -> dict[str, Any]:
    path, _, query = target.partition("?")
    http = {"method": method, "path": path, "sourceIp": "127.0.0.1", "protocol": "HTTP/1.1"}
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": {"host": "api.example.com"},
        "requestContext": {"requestId": str(uuid.uuid4()), "stage": "$default", "http": http},
        "isBase64Encoded": False,
    }


if __name__ == "__main__":
    main()
