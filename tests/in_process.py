"""The API in this process: an httpx transport that calls the Lambda handlers.

Requests become events, and payloads become responses, as in the local gateway; the function is
chosen by the routes of template.yaml, and of the tests' own example.
"""

import asyncio
import importlib
import json
import re
import time
import uuid
from collections.abc import Callable
from functools import cache
from typing import Any

import httpx

from local.gateway.events import Request, default_event
from local.gateway.responses import response_of
from local.gateway.routing import ANY_METHODS, Route, RouteTable
from tests.example import ROUTES
from tests.resources import ROOT

FUNCTION_SECONDS = 10.0
PORT = 3000


class LambdaContext:
    """The attributes of Lambda's context that the handlers use."""

    def __init__(self, seconds: float = FUNCTION_SECONDS) -> None:
        self.aws_request_id = str(uuid.uuid4())
        self._ends_at = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self._ends_at - time.monotonic()) * 1000))


class LambdaTransport(httpx.BaseTransport):
    """Sends requests to `handler`, or to the one that API Gateway would call for the path.

    `last_event` is the event of the latest request, `last_payload` what its handler returned.
    `claims` are those of the token that the gateway has verified, None if there was no token;
    `source_ip` is the client's address.
    """

    def __init__(
        self,
        seconds: float = FUNCTION_SECONDS,
        handler: Callable[..., Any] | None = None,
        claims: dict[str, str] | None = None,
        source_ip: str = "127.0.0.1",
    ) -> None:
        self.seconds = seconds
        self.handler = handler
        self.claims = claims
        self.source_ip = source_ip
        self.last_event: dict[str, Any] = {}
        self.last_payload: dict[str, Any] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        handler = self.handler or handler_of(request.url.path)
        self.last_event = _event_of(request, self.source_ip)
        if self.claims is not None:
            authorizer = {"jwt": {"claims": self.claims, "scopes": None}}
            self.last_event["requestContext"]["authorizer"] = authorizer
        self.last_payload = handler(self.last_event, LambdaContext(self.seconds))
        # A task that outlives its request uses the connections of the next one.
        assert not asyncio.all_tasks(asyncio.get_event_loop())
        response = response_of(json.dumps(self.last_payload).encode())
        return httpx.Response(response.status, headers=response.headers, content=response.body)

    def last_payload_bytes(self) -> int:
        """The size of the latest payload as it is sent to Lambda."""
        return len(json.dumps(self.last_payload, ensure_ascii=False).encode())


def client_of(**transport: Any) -> httpx.Client:
    """A client of the API in this process, with these arguments of `LambdaTransport`."""
    return httpx.Client(transport=LambdaTransport(**transport), base_url="http://api.test")


def handler_of(path: str) -> Any:
    """The handler that API Gateway would call for the path."""
    match = _routes().match("GET", path)
    assert match is not None
    return importlib.import_module(match.route.function_name).handler


@cache
def _routes() -> RouteTable:
    """The template's routes to modules, read without SAM, whose import takes seconds."""
    template = (ROOT / "template.yaml").read_text(encoding="utf-8")
    routes, module = [Route("$default", ANY_METHODS, "meta.handler")], ""
    for handler, path in re.findall(
        r"Handler: (\S+)\.handler$|Path: \"?(/[^,\"]*)", template, re.M
    ):
        module = handler or module
        if path:
            routes.append(Route(path, ANY_METHODS, module))
    for path, module in ROUTES.items():
        routes += [Route(path + rest, ANY_METHODS, module) for rest in ("", "/{proxy+}")]
    return RouteTable(routes)


def _event_of(request: httpx.Request, source_ip: str) -> dict[str, Any]:
    received = Request(
        method=request.method,
        target=request.url.raw_path.decode("latin-1"),
        headers=list(request.headers.items()),
        body=request.read(),
        source_ip=source_ip,
    )
    event = default_event(received, PORT)
    event["headers"]["x-forwarded-proto"] = request.url.scheme
    return event
