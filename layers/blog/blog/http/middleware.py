"""Request middleware: deadline, request ids, default headers, HEAD, body limit, log line.

Every response has an `X-Request-Id`. A request that would take longer than the function may run
receives a 503 in time. HEAD is routed as GET, and a body above `MAX_BODY_BYTES` is not parsed.
"""

import asyncio
import re
from contextlib import suppress
from time import monotonic
from typing import Any

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from blog.access import limit_headers
from blog.deadline import request_deadline
from blog.errors import MAX_BODY_BYTES, ContentTooLarge, DeadlineExceeded, MalformedRequest
from blog.http.base_path import base_path, split_path
from blog.http.headers import add_default_headers
from blog.http.problems import counted, problem_response
from blog.observability import (
    RequestRecord,
    cold_starts,
    current_request,
    report,
    report_error,
)

DEADLINE_MARGIN_SECONDS = 0.5
"""Reserved of the function's time to invalidate the cache, write the log line and respond."""

CLIENT_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")


class RequestMiddleware:
    """Wraps a function's application; expects the scope of an `HttpApiEvent`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        base, scope["path"] = split_path(scope["aws.event"])
        base_path.set(base)
        record = self._new_record(scope)
        current_request.set(record)
        request_id = (record.client_request_id or record.gateway_request_id).encode()
        started = False
        is_head = scope["method"] == "HEAD"
        if is_head:
            scope["method"] = "GET"  # the same headers; the body is dropped below

        async def receive_bounded() -> Message:
            message = await receive()  # the whole body: Mangum does not split it
            if len(message.get("body", b"")) > MAX_BODY_BYTES:
                raise HTTPException(ContentTooLarge.status)
            return message

        async def send_completed(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                record.status = message["status"]
                message["headers"].append((b"x-request-id", request_id))
                message["headers"].extend(limit_headers())
                add_default_headers(scope, message)
            elif is_head:
                message["body"] = b""
            await send(message)

        seconds = _remaining_seconds(scope)
        request_deadline.set(monotonic() + seconds)
        deadline = asyncio.timeout(seconds)
        try:
            async with deadline:
                app = await self._app_for(scope)
                await app(scope, receive_bounded, send_completed)
        except Exception as error:  # noqa: BLE001 - the outermost handler
            if not (deadline.expired() and isinstance(error, TimeoutError)):
                # Starlette has sent the problem, and raises the error again to be logged.
                report_error(record, error)
            elif not started:
                late = DeadlineExceeded("The request took too long; nothing was changed.")
                await problem_response(late)(scope, receive, send_completed)
        finally:
            record.route = getattr(scope.get("route"), "path_format", None)
            with suppress(Exception):  # what is committed and sent does not depend on a log line
                report(record)

    async def _app_for(self, scope: Scope) -> ASGIApp:
        if malformed := scope["malformed"]:
            problem = problem_response(MalformedRequest(malformed))
            return await counted(scope["aws.event"], problem)
        path: str = scope["path"]
        if path.endswith("\n"):  # the `$` of Starlette's patterns would let it through
            scope["path"] = ""  # no route's
        return self.app

    def _new_record(self, scope: Scope) -> RequestRecord:
        return RequestRecord(
            method=scope["method"],
            gateway_request_id=scope["aws.event"]["requestContext"]["requestId"],
            client_request_id=_client_request_id(scope["headers"]),
            cold_start=next(cold_starts()),
        )


def _remaining_seconds(scope: Scope) -> float:
    context: Any = scope["aws.context"]
    return float(context.get_remaining_time_in_millis()) / 1000 - DEADLINE_MARGIN_SECONDS


def _client_request_id(headers: list[tuple[bytes, bytes]]) -> str | None:
    sent = dict(headers).get(b"x-request-id", b"").decode("latin-1")
    return sent if CLIENT_REQUEST_ID.fullmatch(sent) else None
