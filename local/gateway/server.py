"""The HTTP server in front of the workers: an API Gateway HTTP API on 127.0.0.1.

uvicorn speaks HTTP with h11, a strict parser, on an event loop in a thread of its own. Functions
run on threads, as the pool blocks. Some responses are API Gateway's own: 401 without a valid token,
403 for a host other than this machine, 404 without a route, 413 for a payload above Lambda's 6 MB,
500 if the function failed, 503 if no worker became free.
"""

import asyncio
import errno
import json
import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import h11
import uvicorn
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from local.errors import LocalError
from local.gateway.authorizer import JwtAuthorizer, Unauthorized
from local.gateway.cors import Cors
from local.gateway.events import Request, event_of, new_request_id
from local.gateway.hosts import ANY_HOST, LOCAL_HOST
from local.gateway.responses import (
    InvalidFunctionResponse,
    Response,
    message_response,
    response_of,
)
from local.gateway.routing import RouteTable
from local.runtime.function import Function
from local.runtime.pool import WorkerPool, WorkersBusy
from local.runtime.worker import Invocation

HOST = "127.0.0.1"
# A path, or a full URL, as in requests to a proxy.
TARGET = re.compile(r"(https?://(?P<authority>[^/?#]*))?(/|$)", re.IGNORECASE)
MAX_HEAD_BYTES = 10 * 1024  # of the target and the headers' values
MAX_BODY_BYTES = 10 * 1024 * 1024
MAX_EVENT_BYTES = 6 * 1024 * 1024
# Each request that waits for a worker occupies a thread; more requests wait for a thread.
MAX_THREADS = 128
IDLE_SECONDS = 75
END_SECONDS = 2.0
LOG_WAIT_SECONDS = 0.1
NO_BODY_STATUS = frozenset({204, 304})


@dataclass
class Exchange:
    """A request and its response, for the console; `invocation` is None if no function ran."""

    method: str
    target: str
    status: int = 0
    milliseconds: float = 0.0
    function_name: str | None = None
    invocation: Invocation | None = None


@dataclass(frozen=True)
class Api:
    """An API to serve.

    `authorizer` is for the routes that require a token. `documents` are JSON by path, and take
    precedence over routes. `before` is called with the path of each request to a function.
    """

    routes: RouteTable
    functions: Mapping[str, Function]
    pool: WorkerPool
    on_exchange: Callable[[Exchange], None]
    authorizer: JwtAuthorizer | None = None
    cors: Cors | None = None
    documents: Mapping[str, bytes] = field(default_factory=dict)
    before: Callable[[str], None] = lambda _path: None


class RejectedRequest(Exception):
    """The request is malformed or forbidden; the connection is closed after the response."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.response = message_response(status, message)


class Gateway:
    """Binds the port when it is created, before anything else is started.

    Requests before `serve` wait for it. Raises LocalError if the port is in use.
    """

    def __init__(self, port: int) -> None:
        self._socket = _listen(port)
        self.port = int(self._socket.getsockname()[1])
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def serve(self, api: Api) -> None:
        """Start serving, on a thread of its own."""
        config = uvicorn.Config(
            _Application(api, self.port),
            http=_Protocol,
            ws="none",
            loop="asyncio",
            interface="asgi3",
            lifespan="off",
            log_config=None,
            log_level=logging.ERROR,
            access_log=False,
            proxy_headers=False,  # X-Forwarded-For of a client is only a header
            server_header=False,
            timeout_keep_alive=IDLE_SECONDS,
        )
        self._server = _Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Close all connections; the results of running requests are discarded."""
        if self._server and self._thread:
            self._server.should_exit = True
            self._thread.join(END_SECONDS)
        self._socket.close()


def _listen(port: int) -> socket.socket:
    if not 0 <= port <= 65535:
        raise LocalError(f"PORT must be between 0 and 65535, not {port}")
    try:
        listener = socket.create_server((HOST, port))
    except PermissionError:
        raise LocalError(f"port {port} needs more rights; try: PORT=3001 make run") from None
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        another = port + 1 if port < 65535 else 3001
        raise LocalError(
            f"port {port} is in use by another program; end it, or try: PORT={another} make run"
        ) from None
    # Inherited by each connection; head and body are two segments, and Nagle would add 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


class _Server(uvicorn.Server):
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Shut down at once: uvicorn would wait for clients that are still sending a request."""
        for connection in self.server_state.connections:
            connection.transport.abort()
        await super().shutdown(sockets)


class _Protocol(H11Protocol):
    def send_400_response(self, msg: str) -> None:
        """Send JSON, as in all other responses, instead of uvicorn's text."""
        response = message_response(400, "Bad Request")
        headers = _headers("GET", response, new_request_id(), close=True)
        head = h11.Response(status_code=400, headers=headers, reason=b"Bad Request")
        for event in (head, h11.Data(data=response.body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event))
        self.transport.close()


class _Application:
    """The ASGI application of one API."""

    def __init__(self, api: Api, port: int) -> None:
        self._api = api
        self._port = port
        self._threads = ThreadPoolExecutor(MAX_THREADS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        exchange = Exchange(scope["method"], _target(scope))
        request_id = new_request_id()
        rejected = False
        try:
            _check(scope, exchange.target)
            request = _request(scope, exchange.target, await _read_body(scope, receive))
            response = await asyncio.get_running_loop().run_in_executor(
                self._threads, self._run, request, request_id, exchange
            )
        except RejectedRequest as error:
            rejected = True
            response = error.response
        except ClientDisconnect:
            return
        exchange.status = status = response.status
        headers = _headers(exchange.method, response, request_id, close=rejected)
        body = b"" if status in NO_BODY_STATUS else response.body
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        exchange.milliseconds = (time.perf_counter() - started) * 1000
        # It is not awaited; `result` raises its error, if any, so that the traceback is printed.
        self._threads.submit(self._report, exchange).add_done_callback(Future.result)

    def _run(self, request: Request, request_id: str, exchange: Exchange) -> Response:
        cors = self._api.cors
        if cors is None:
            return self._respond(request, request_id, exchange)
        preflight = cors.preflight(request)
        return preflight or cors.completed(request, self._respond(request, request_id, exchange))

    def _respond(self, request: Request, request_id: str, exchange: Exchange) -> Response:
        if document := self._api.documents.get(request.path):
            return Response(200, [("Content-Type", "application/json")], document)
        match = self._api.routes.match(request.method, request.path)
        if match is None:
            return message_response(404, "Not Found")
        event = event_of(request, match, request_id, self._port)
        if match.route.requires_token:
            assert self._api.authorizer
            try:
                event["requestContext"]["authorizer"] = self._api.authorizer.authorize(request)
            except Unauthorized as error:
                return error.response
        self._api.before(request.path)
        return self._invoke(match.route.function_name, json.dumps(event).encode(), exchange)

    def _invoke(self, name: str, event: bytes, exchange: Exchange) -> Response:
        exchange.function_name = name
        if len(event) > MAX_EVENT_BYTES:
            return message_response(413, "Request Entity Too Large")
        try:
            exchange.invocation = self._api.pool.invoke(self._api.functions[name], event)
        except WorkersBusy:
            return message_response(503, "Service Unavailable")
        except LocalError:
            return message_response(500, "Internal Server Error")
        return _response_to(exchange.invocation)

    def _report(self, exchange: Exchange) -> None:
        if exchange.invocation:
            exchange.invocation.wait_for_logs(LOG_WAIT_SECONDS)
        self._api.on_exchange(exchange)


def _response_to(invocation: Invocation) -> Response:
    if invocation.function_error:
        return message_response(500, "Internal Server Error")
    try:
        return response_of(invocation.payload)
    except InvalidFunctionResponse as error:
        invocation.function_error = f"response that API Gateway rejects: {error}"
        return message_response(500, "Internal Server Error")


def _target(scope: Scope) -> str:
    path, query = scope["raw_path"].decode(), scope["query_string"].decode()
    return f"{path}?{query}" if query else path


def _check(scope: Scope, target: str) -> None:
    """Raises RejectedRequest for requests that h11 accepts, but a gateway must not."""
    headers, version = scope["headers"], scope["http_version"]
    if version not in ("1.0", "1.1"):
        raise RejectedRequest(505, "HTTP Version Not Supported")
    if len(target) + sum(len(value) for _, value in headers) > MAX_HEAD_BYTES:
        raise RejectedRequest(431, "Request Header Fields Too Large")
    names = {name for name, _ in headers}
    # h11 would use Transfer-Encoding, another server on the way perhaps Content-Length.
    if b"transfer-encoding" in names and (b"content-length" in names or version == "1.0"):
        raise RejectedRequest(400, "Bad Request")
    if not (found := TARGET.match(target)):
        raise RejectedRequest(400, "Bad Request")
    hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
    if found["authority"] is not None:
        hosts.append(found["authority"])
    if not all(ANY_HOST.fullmatch(host) for host in hosts):
        raise RejectedRequest(400, "Bad Request")
    if not all(LOCAL_HOST.fullmatch(host) for host in hosts):
        raise RejectedRequest(403, "Forbidden: only localhost and 127.0.0.1 are served here")


async def _read_body(scope: Scope, receive: Receive) -> bytes:
    length = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    too_large = RejectedRequest(413, "Request Entity Too Large")
    if int(length) > MAX_BODY_BYTES:
        raise too_large
    body = bytearray()
    async for chunk in HttpRequest(scope, receive).stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise too_large
    return bytes(body)


def _request(scope: Scope, target: str, body: bytes) -> Request:
    return Request(
        method=scope["method"],
        target=target,
        headers=[(name.decode(), value.decode("latin-1")) for name, value in scope["headers"]],
        body=body,
        source_ip=scope["client"][0],
        protocol=f"HTTP/{scope['http_version']}",
    )


def _headers(
    method: str, response: Response, request_id: str, *, close: bool
) -> list[tuple[bytes, bytes]]:
    """Return the function's headers, except Content-Length, and API Gateway's own."""
    headers = [pair for pair in response.headers if pair[0].lower() != "content-length"]
    headers.append(("Apigw-Requestid", request_id))
    if response.status not in NO_BODY_STATUS:
        headers.append(("Content-Length", _content_length(method, response)))
    if close:
        headers.append(("connection", "close"))
    return [(name.encode(), value.encode("latin-1")) for name, value in headers]


def _content_length(method: str, response: Response) -> str:
    """Return the body's length; for HEAD the Content-Length of the function."""
    if method == "HEAD":
        for name, value in response.headers:
            if name.lower() == "content-length" and value.isdigit():
                return value
    return str(len(response.body))
