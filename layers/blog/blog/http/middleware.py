"""What surrounds each request: its deadline, its ids, its default headers, its log line.

Every response carries `X-Request-Id`; one that would come later than the function may run is a 503
in time instead. HEAD is answered wherever GET is, and a body that is larger than any valid one is
not parsed.
"""

import asyncio
import re
from time import monotonic
from typing import Any

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from blog.deadline import request_deadline
from blog.errors import MAX_BODY_BYTES, ContentTooLarge, DeadlineExceeded
from blog.http.headers import add_default_headers
from blog.http.problems import problem_response, unknown_path
from blog.observability import RequestRecord, current_request, report, report_error

DEADLINE_MARGIN_SECONDS = 0.5
"""Kept of the function's time for the response itself: invalidating, logging, sending."""

CLIENT_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")


class RequestMiddleware:
    """Wraps the application of a function; its scope is Mangum's."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._cold_start = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # API Gateway has decoded the path once; Mangum decodes it again: /users/%2531 would be 1.
        scope["path"] = scope["aws.event"]["rawPath"] or "/"
        record = self._new_record(scope)
        current_request.set(record)
        request_id = (record.client_request_id or record.gateway_request_id).encode()
        started = False
        is_head = scope["method"] == "HEAD"
        if is_head:
            scope["method"] = "GET"  # with the same headers, but without its content

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
                add_default_headers(scope, message)
            elif is_head:
                message["body"] = b""
            await send(message)

        seconds = _seconds_to_answer(scope)
        request_deadline.set(monotonic() + seconds)
        deadline = asyncio.timeout(seconds)
        try:
            async with deadline:
                await self._app_for(scope)(scope, receive_bounded, send_completed)
        except Exception as error:  # noqa: BLE001 - the last resort of a request
            if not (deadline.expired() and isinstance(error, TimeoutError)):
                # Starlette has answered with the problem and raises the error again to be logged.
                report_error(record, error)
            elif not started:
                late = DeadlineExceeded("The answer took too long; nothing was changed.")
                await problem_response(late)(scope, receive, send_completed)
        finally:
            record.route = getattr(scope.get("route"), "path_format", None)
            report(record)

    def _app_for(self, scope: Scope) -> ASGIApp:
        """Starlette's patterns end in `$`, which matches before a line end too."""
        path: str = scope["path"]
        return problem_response(unknown_path()) if path.endswith("\n") else self.app

    def _new_record(self, scope: Scope) -> RequestRecord:
        cold_start, self._cold_start = self._cold_start, False
        return RequestRecord(
            method=scope["method"],
            gateway_request_id=scope["aws.event"]["requestContext"]["requestId"],
            client_request_id=_client_request_id(scope["headers"]),
            cold_start=cold_start,
        )


def _seconds_to_answer(scope: Scope) -> float:
    context: Any = scope["aws.context"]
    return float(context.get_remaining_time_in_millis()) / 1000 - DEADLINE_MARGIN_SECONDS


def _client_request_id(headers: list[tuple[bytes, bytes]]) -> str | None:
    sent = dict(headers).get(b"x-request-id", b"").decode("latin-1")
    return sent if CLIENT_REQUEST_ID.fullmatch(sent) else None
