"""The API in this process: an httpx transport that calls the Lambda handlers.

It does what API Gateway's HTTP API does: routes by the first part of the path, as `template.yaml`
does, and turns a request into an event of payload 2.0 and the handler's answer into a response.
"""

import base64
import importlib
import json
import time
import uuid
from typing import Any

import httpx

FUNCTION_SECONDS = 10.0
TEXT_TYPES = ("application/json", "text/", "application/javascript", "application/xml")


class LambdaContext:
    """What the handlers use of Lambda's context."""

    function_name = "in-process"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:in-process"

    def __init__(self, seconds: float = FUNCTION_SECONDS) -> None:
        self.aws_request_id = str(uuid.uuid4())
        self._ends_at = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self._ends_at - time.monotonic()) * 1000))


class LambdaTransport(httpx.BaseTransport):
    """Answers requests by the handlers; `last_event` is the event of the latest one."""

    def __init__(self, seconds: float = FUNCTION_SECONDS) -> None:
        self.seconds = seconds
        self.last_event: dict[str, Any] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.last_event = event_of(request)
        answer = handler_of(request.url.path)(self.last_event, LambdaContext(self.seconds))
        # Lambda sends the answer as JSON: what cannot be written so cannot be answered.
        return response_of(json.loads(json.dumps(answer)))


def handler_of(path: str) -> Any:
    """The handler that API Gateway would call for the path."""
    first = path.split("/")[1]
    function = first if first in ("users", "posts") else "docs"
    return importlib.import_module(f"{function}.handler").handler


def event_of(request: httpx.Request) -> dict[str, Any]:
    """The event of payload 2.0 that API Gateway would make of the request."""
    body = request.read()
    is_text = request.headers.get("content-type", "application/json").startswith(TEXT_TYPES)
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": request.url.path,
        "rawQueryString": request.url.query.decode("ascii"),
        "headers": {name.lower(): value for name, value in request.headers.items()},
        "requestContext": {
            "apiId": "in-process",
            "domainName": request.url.host,
            "requestId": str(uuid.uuid4()),
            "routeKey": "$default",
            "stage": "$default",
            "http": {
                "method": request.method,
                "path": request.url.path,
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": request.headers.get("user-agent", ""),
            },
        },
        "isBase64Encoded": bool(body) and not is_text,
    }
    if body:
        event["body"] = body.decode() if is_text else base64.b64encode(body).decode("ascii")
    return event


def response_of(answer: dict[str, Any]) -> httpx.Response:
    """The HTTP response that API Gateway would make of a handler's answer."""
    body = answer.get("body", "")
    content = base64.b64decode(body) if answer.get("isBase64Encoded") else body.encode()
    headers = {
        name: value
        for name, value in (answer.get("headers") or {}).items()
        if name.lower() != "content-length"
    }
    return httpx.Response(answer["statusCode"], headers=headers, content=content)
