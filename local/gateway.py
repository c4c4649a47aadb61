"""The HTTP server in front of the sandboxes: an API Gateway HTTP API on 127.0.0.1.

One thread a connection, connections are kept open, and the answers that API Gateway gives by itself
are its own: 404 Not Found without a route, 413 for a payload over Lambda's 6 MB, 500 for a function
that failed, 503 when no sandbox became free.
"""

import contextlib
import errno
import http.server
import json
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from local.errors import LocalError
from local.http_api import (
    InvalidFunctionResponse,
    Request,
    Response,
    RouteTable,
    event_of,
    message_response,
    new_request_id,
    response_of,
)
from local.pool import SandboxesBusy, SandboxPool
from local.sandbox import Function, Invocation

HOST = "127.0.0.1"
MAX_BODY_BYTES = 10 * 1024 * 1024
MAX_EVENT_BYTES = 6 * 1024 * 1024
MAX_CHUNK_LINE_BYTES = 1024
IDLE_SECONDS = 75.0
LOG_WAIT_SECONDS = 0.1
NO_BODY_STATUS = frozenset({204, 304})


@dataclass(frozen=True)
class Exchange:
    """One request and its answer, for the console; `invocation` is None when no function ran."""

    method: str
    target: str
    status: int
    milliseconds: float
    function_name: str | None
    invocation: Invocation | None


@dataclass(frozen=True)
class Api:
    """What the gateway serves."""

    routes: RouteTable
    functions: Mapping[str, Function]
    pool: SandboxPool
    on_exchange: Callable[[Exchange], None]


class RefusedRequest(Exception):
    """The request cannot be read; its connection is closed after the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.response = message_response(status, message)


class Gateway(http.server.ThreadingHTTPServer):
    """Takes the port at once, so that a taken one is known before anything is started.

    Requests that come before `serve` wait for it. Raises LocalError when the port is taken.
    """

    request_queue_size = 128
    api: Api | None = None

    def __init__(self, port: int) -> None:
        try:
            super().__init__((HOST, port), _RequestHandler)
        except PermissionError:
            raise LocalError(f"port {port} needs more rights; try: PORT=3001 make run") from None
        except OverflowError:
            raise LocalError(f"PORT must be between 0 and 65535, not {port}") from None
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            another = port + 1 if port < 65535 else 3001
            raise LocalError(
                f"port {port} is taken by another program; end it, or try: PORT={another} make run"
            ) from None

    @property
    def port(self) -> int:
        """The port it listens on, also when it was asked for port 0."""
        return int(self.server_address[1])

    def server_bind(self) -> None:
        """Binds without the name lookup of HTTPServer, which can take seconds."""
        socketserver.TCPServer.server_bind(self)

    def serve(self, api: Api) -> None:
        """Starts to answer, on a thread of its own."""
        self.api = api
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Stops to take requests; those under way end with their sandboxes."""
        if self.api is not None:
            self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news; anything else is a defect and shows a traceback."""
        if not isinstance(sys.exception(), (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


class _RequestHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
    # Head and body leave in one segment at once; otherwise Nagle and delayed ACKs cost 40 ms.
    disable_nagle_algorithm = True
    wbufsize = -1
    server: Gateway

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name.startswith("do_"):
            return self._answer
        raise AttributeError(name)

    def log_message(self, format: str, *args: object) -> None:
        """The console has a line for each request."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answers a request that is no HTTP."""
        self.close_connection = True
        self.request_version = self.protocol_version  # a request without one still gets a head
        self._send(message_response(code, message or "Bad Request"), new_request_id())

    def _answer(self) -> None:
        started = time.perf_counter()
        request_id = new_request_id()
        function_name: str | None = None
        invocation: Invocation | None = None
        try:
            request = self._read_request()
            response, function_name, invocation = self._run(request, request_id)
        except RefusedRequest as refused:
            self.close_connection = True
            response = refused.response
        self._send(response, request_id)
        milliseconds = (time.perf_counter() - started) * 1000
        if invocation is not None:
            invocation.wait_for_logs(LOG_WAIT_SECONDS)
        assert self.server.api is not None
        self.server.api.on_exchange(
            Exchange(
                self.command, self.path, response.status, milliseconds, function_name, invocation
            )
        )

    def _run(
        self, request: Request, request_id: str
    ) -> tuple[Response, str | None, Invocation | None]:
        api = self.server.api
        assert api is not None
        match = api.routes.match(request.method, request.path)
        if match is None:
            return message_response(404, "Not Found"), None, None
        name = match.route.function_name
        event = json.dumps(event_of(request, match, request_id, self.server.port)).encode()
        if len(event) > MAX_EVENT_BYTES:
            return message_response(413, "Request Entity Too Large"), name, None
        try:
            invocation = api.pool.invoke(api.functions[name], event)
        except SandboxesBusy:
            return message_response(503, "Service Unavailable"), name, None
        except LocalError:
            return message_response(500, "Internal Server Error"), name, None
        return _response_to(invocation), name, invocation

    def _read_request(self) -> Request:
        return Request(
            method=self.command,
            target=self.path,
            headers=[(name, str(value)) for name, value in self.headers.items()],
            body=self._read_body(),
            source_ip=self.client_address[0],
            protocol=self.request_version,
        )

    def _read_body(self) -> bytes:
        self.wfile.flush()  # 100 Continue
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return self._read_chunks()
        length = self.headers.get("Content-Length", "0")
        if not (length.isascii() and length.isdigit()):
            raise RefusedRequest(400, "Bad Request")
        if int(length) > MAX_BODY_BYTES:
            raise RefusedRequest(413, "Request Entity Too Large")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise ConnectionResetError("the client closed the connection within the body")
        return body

    def _read_chunks(self) -> bytes:
        body = bytearray()
        while size := self._read_chunk_size():
            if len(body) + size > MAX_BODY_BYTES:
                raise RefusedRequest(413, "Request Entity Too Large")
            body += self.rfile.read(size)
            self.rfile.readline(MAX_CHUNK_LINE_BYTES)
        while self.rfile.readline(MAX_CHUNK_LINE_BYTES) not in (b"\r\n", b"\n", b""):
            pass  # trailers
        return bytes(body)

    def _read_chunk_size(self) -> int:
        line = self.rfile.readline(MAX_CHUNK_LINE_BYTES).partition(b";")[0].strip()
        try:
            size = int(line, 16)
        except ValueError:
            raise RefusedRequest(400, "Bad Request") from None
        if size < 0:
            raise RefusedRequest(400, "Bad Request")
        return size

    def _send(self, response: Response, request_id: str) -> None:
        without_body = self.command == "HEAD" or response.status in NO_BODY_STATUS
        self.send_response_only(response.status)
        self.send_header("Date", self.date_time_string())
        for name, value in response.headers:
            if name.lower() != "content-length":
                self.send_header(name, value)
        if response.status not in NO_BODY_STATUS:
            self.send_header("Content-Length", self._content_length(response))
        self.send_header("Apigw-Requestid", request_id)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        # A client that went away has no use for the rest.
        with contextlib.suppress(ConnectionError):
            if not without_body:
                self.wfile.write(response.body)
            self.wfile.flush()

    def _content_length(self, response: Response) -> str:
        """That of the body; for HEAD what the function says a GET would have."""
        if self.command == "HEAD":
            for name, value in response.headers:
                if name.lower() == "content-length" and value.isdigit():
                    return value
        return str(len(response.body))


def _response_to(invocation: Invocation) -> Response:
    if invocation.function_error:
        return message_response(500, "Internal Server Error")
    try:
        return response_of(invocation.payload)
    except InvalidFunctionResponse as error:
        invocation.function_error = f"answer that API Gateway refuses: {error}"
        return message_response(500, "Internal Server Error")
