"""Request middleware: deadline, request ids, default headers, HEAD, body limit, log line.

Every response has an `X-Request-Id`. A request that takes too long gets a 503 before the function
times out. HEAD is routed as GET, and a body above `MAX_BODY_BYTES` is not parsed.

A route may override the default headers. Only the documentation is HTML, and sets its own content
security policy; other responses may load nothing, be embedded nowhere, and are not sniffed.
Successful responses to GET may be stored but must be revalidated (`no-cache`), and if they needed a
token not by caches that callers share (`private`); errors and responses to writes are not stored
(`no-store`).
"""

import asyncio
import re
from contextlib import suppress
from time import monotonic

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.errors import (
    MAX_BODY_BYTES,
    PART_COMMITTED,
    ContentTooLarge,
    DeadlineExceeded,
    MalformedRequest,
    OutcomeUnknown,
)
from shared.http.problems import counted, problem_response
from shared.observability import is_cold_start, report, report_error
from shared.request import ApiRequest, Headers, request_of

SECURITY: Headers = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
)
# RFC 6797 forbids it over plain HTTP, as from the local gateway. No includeSubDomains: the domain
# may have other sites.
HTTPS: Headers = ((b"strict-transport-security", b"max-age=31536000"),)
NOT_STORED = b"no-store"
REVALIDATED = b"no-cache"
REVALIDATED_BY_ONE_CALLER = b"private, no-cache"

NOT_IN_PATHS = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
"""Control characters, and surrogates. PostgreSQL has no text with NUL, UTF-8 none with a surrogate,
and the `$` of Starlette's patterns matches before a line end."""

DEFAULTS = {
    (is_https, storage): SECURITY + (HTTPS if is_https else ()) + ((b"cache-control", storage),)
    for is_https in (True, False)
    for storage in (NOT_STORED, REVALIDATED, REVALIDATED_BY_ONE_CALLER)
}


class RequestMiddleware:
    """Wraps an application; the front door must put an `ApiRequest` into each scope."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = request_of(scope)
        request.record.cold_start = is_cold_start()
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
                request.record.status = message["status"]
                message["headers"].append((b"x-request-id", request.id.encode()))
                message["headers"].extend(request.limit_headers)
                _add_default_headers(request, scope, message)
            elif is_head:
                message["body"] = b""
            await send(message)

        deadline = asyncio.timeout(request.deadline - monotonic())
        try:
            async with deadline:
                app = await self._app_for(request, scope)
                await app(scope, receive_bounded, send_completed)
        except Exception as error:  # noqa: BLE001 - the outermost handler
            if not (deadline.expired() and isinstance(error, TimeoutError)):
                # Starlette has sent the problem, and raises the error again.
                report_error(request, error)
            elif not started:
                late = (
                    OutcomeUnknown(PART_COMMITTED)
                    if request.has_committed
                    else DeadlineExceeded("The request took too long; nothing was changed.")
                )
                await problem_response(late, request)(scope, receive, send_completed)
        finally:
            request.record.route = getattr(scope.get("route"), "path_format", None)
            with suppress(Exception):  # a log line must not fail a request that is committed
                report(request)

    async def _app_for(self, request: ApiRequest, scope: Scope) -> ASGIApp:
        if request.malformed:
            problem = problem_response(MalformedRequest(request.malformed), request)
            return await counted(request, problem)
        if NOT_IN_PATHS.search(scope["path"]):
            scope["path"] = ""  # matches no route
        return self.app


def _add_default_headers(request: ApiRequest, scope: Scope, start: Message) -> None:
    """Complete the headers of an `http.response.start`."""
    headers = start["headers"]
    own = {name for name, _ in headers}
    defaults = DEFAULTS[scope["scheme"] == "https", _storage(request, scope, start)]
    headers.extend(header for header in defaults if header[0] not in own)


def _storage(request: ApiRequest, scope: Scope, start: Message) -> bytes:
    if scope["method"] != "GET" or start["status"] >= 400:
        return NOT_STORED
    return REVALIDATED_BY_ONE_CALLER if request.has_caller else REVALIDATED
