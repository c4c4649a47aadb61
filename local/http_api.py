"""What an API Gateway HTTP API does to a request and to a function's answer, as plain functions.

Routing, the event of payload format 2.0, and the answer's translation into HTTP. No I/O.
SAM's own local gateway is not used for this: it keeps one request id for all requests, writes
header names in title case, decodes no body that is not UTF-8, answers 200 to an exception, closes
every connection and pauses 10 ms after each response.
"""

import base64
import binascii
import json
import re
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, unquote_to_bytes

# What `Method: ANY` means to SAM; HTTP APIs pass other methods on as well.
ANY_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
PRINTABLE_ASCII = "".join(chr(code) for code in range(0x21, 0x7F))
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
TEXT_TYPE = re.compile(r"text/.+|application/(json|javascript|xml|.+\+json|.+\+xml)")
ACCOUNT_ID = "123456789012"
API_ID = "1234567890"


class InvalidFunctionResponse(ValueError):
    """The function's answer is none that API Gateway accepts; the client gets a 500."""


@dataclass(frozen=True)
class Request:
    """An HTTP request as it came: `target` in latin-1, header names as sent, duplicates kept."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    source_ip: str
    protocol: str = "HTTP/1.1"

    @property
    def path(self) -> str:
        """Percent-decoded, as HTTP APIs hand it on; bytes that are not UTF-8 become U+FFFD."""
        return unquote_to_bytes(self._parts[0].encode("latin-1")).decode(errors="replace")

    @property
    def query(self) -> str:
        """Still percent-encoded; raw bytes beyond printable ASCII are encoded too."""
        return quote(self._parts[1].encode("latin-1"), safe=PRINTABLE_ASCII)

    @property
    def _parts(self) -> tuple[str, str]:
        path, _, query = self.target.partition("#")[0].partition("?")
        if not path.startswith("/"):  # absolute form: http://host/path
            path = "/" + path.partition("://")[2].partition("/")[2]
        return path, query


@dataclass(frozen=True)
class Response:
    """What goes to the client; header names as the function wrote them."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


@dataclass(frozen=True)
class Route:
    """A route of the API: `path` as in the template, `$default` for the catch-all."""

    path: str
    methods: frozenset[str]
    function_name: str

    @property
    def is_default(self) -> bool:
        """Takes what no other route takes."""
        return self.path == "$default"

    @property
    def is_any(self) -> bool:
        """Takes every method."""
        return self.is_default or self.methods >= ANY_METHODS


@dataclass(frozen=True)
class Match:
    """A route that takes a request, and what its path variables captured."""

    route: Route
    path_parameters: dict[str, str]

    def route_key(self, method: str) -> str:
        """The route's name in the event: `GET /users/{id}`, `ANY /users`, `$default`."""
        if self.route.is_default:
            return "$default"
        return f"{'ANY' if self.route.is_any else method} {self.route.path}"


class RouteTable:
    """Selects the route as HTTP APIs do: a full match, then a greedy variable, then `$default`."""

    def __init__(self, routes: Iterable[Route]) -> None:
        ordered = sorted(routes, key=_precedence)
        self._default = next((route for route in ordered if route.is_default), None)
        self._compiled = [
            (route, *_compile(route.path)) for route in ordered if not route.is_default
        ]

    def match(self, method: str, path: str) -> Match | None:
        """None when no route takes the request. One trailing slash is ignored, as SAM does."""
        candidates = [path] if path in ("", "/") else [path, path.removesuffix("/")]
        for route, pattern, names in self._compiled:
            if not route.is_any and method not in route.methods:
                continue
            for candidate in candidates:
                if found := pattern.fullmatch(candidate):
                    return Match(route, dict(zip(names, found.groups(), strict=True)))
        return Match(self._default, {}) if self._default else None


def _precedence(route: Route) -> tuple[bool, int, int, bool]:
    return ("+}" in route.path, route.path.count("{"), -len(route.path), route.is_any)


def _compile(path: str) -> tuple[re.Pattern[str], list[str]]:
    names: list[str] = []
    pattern = ""
    for literal, variable in re.findall(r"([^{]*)(?:\{([^}]*)\})?", path):
        pattern += re.escape(literal)
        if variable:
            names.append(variable.removesuffix("+"))
            pattern += "(.+)" if variable.endswith("+") else "([^/]+)"
    return re.compile(pattern, re.DOTALL), names


def new_request_id() -> str:
    """Unique, in the shape of API Gateway's own: 15 characters and an equals sign."""
    return base64.urlsafe_b64encode(secrets.token_bytes(11)).decode()


def event_of(request: Request, match: Match, request_id: str, port: int) -> dict[str, Any]:
    """The event of payload format 2.0; members that would be empty are left out, as in AWS."""
    headers = _combined_headers(request)
    cookies = [part for part in headers.pop("cookie", "").split("; ") if part]
    headers.setdefault("x-amzn-trace-id", f"Root=1-{int(time.time()):08x}-{secrets.token_hex(12)}")
    headers["x-forwarded-for"] = request.source_ip
    headers["x-forwarded-port"] = str(port)
    headers["x-forwarded-proto"] = "http"
    if request.body:
        headers["content-length"] = str(len(request.body))
    body, is_base64 = _event_body(request.body, headers.get("content-type", ""))
    route_key = match.route_key(request.method)
    optional = {
        "cookies": cookies,
        "queryStringParameters": _query_parameters(request.query),
        "pathParameters": match.path_parameters,
        "body": body,
    }
    return {
        "version": "2.0",
        "routeKey": route_key,
        "rawPath": request.path,
        "rawQueryString": request.query,
        "headers": headers,
        "requestContext": _context(request, headers, route_key, request_id),
        "isBase64Encoded": is_base64,
        **{name: value for name, value in optional.items() if value},
    }


def _context(
    request: Request, headers: dict[str, str], route_key: str, request_id: str
) -> dict[str, Any]:
    domain = headers.get("host", "localhost").rpartition(":")[0] or headers.get("host", "localhost")
    now = time.time()
    return {
        "accountId": ACCOUNT_ID,
        "apiId": API_ID,
        "domainName": domain,
        "domainPrefix": domain.partition(".")[0],
        "http": {
            "method": request.method,
            "path": request.path,
            "protocol": request.protocol,
            "sourceIp": request.source_ip,
            "userAgent": headers.get("user-agent", ""),
        },
        "requestId": request_id,
        "routeKey": route_key,
        "stage": "$default",
        "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now)),
        "timeEpoch": int(now * 1000),
    }


def _combined_headers(request: Request) -> dict[str, str]:
    """Lower-case names; repeated headers joined by commas, cookies by semicolons."""
    combined: dict[str, str] = {}
    for name, value in request.headers:
        key = name.lower()
        if key in HOP_BY_HOP or key == "expect":
            continue
        separator = "; " if key == "cookie" else ","
        combined[key] = f"{combined[key]}{separator}{value}" if key in combined else value
    return combined


def _query_parameters(query: str) -> dict[str, str]:
    combined: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        combined[name] = f"{combined[name]},{value}" if name in combined else value
    return combined


def _event_body(body: bytes, content_type: str) -> tuple[str, bool]:
    """Text types as text, everything else in base64; text that is not UTF-8 in base64 too."""
    if TEXT_TYPE.fullmatch(content_type.partition(";")[0].strip().lower()):
        try:
            return body.decode(), False
        except UnicodeDecodeError:
            pass
    return base64.b64encode(body).decode(), bool(body)


def response_of(payload: bytes) -> Response:
    """Translates the function's JSON answer.

    Raises InvalidFunctionResponse for an answer that is not of payload format 2.0.
    """
    result = json.loads(payload)
    if not isinstance(result, dict) or "statusCode" not in result:
        text = result.encode() if isinstance(result, str) else payload
        return Response(200, [("Content-Type", "application/json")], text)
    headers = _response_headers(result.get("headers") or {})
    headers += [("Set-Cookie", _header_value(cookie)) for cookie in result.get("cookies") or []]
    return Response(_status(result["statusCode"]), headers, _response_body(result))


def _status(value: Any) -> int:
    try:
        status = int(value)
    except (TypeError, ValueError):
        status = 0
    if not 200 <= status <= 599:
        raise InvalidFunctionResponse(f"statusCode is {value!r}")
    return status


def _response_headers(headers: Any) -> list[tuple[str, str]]:
    if not isinstance(headers, dict):
        raise InvalidFunctionResponse("headers is not an object")
    pairs = [(name, _header_value(value)) for name, value in headers.items()]
    for name, _ in pairs:
        if not HEADER_NAME.fullmatch(name):
            raise InvalidFunctionResponse(f"header name {name!r}")
    if "content-type" not in {name.lower() for name, _ in pairs}:
        pairs.append(("Content-Type", "application/json"))
    return [(name, value) for name, value in pairs if name.lower() not in HOP_BY_HOP]


def _header_value(value: Any) -> str:
    if isinstance(value, bool):
        value = str(value).lower()
    if not isinstance(value, (str, int, float)):
        raise InvalidFunctionResponse(f"header value {value!r}")
    text = str(value)
    if any(character in text for character in "\r\n\0"):
        raise InvalidFunctionResponse(f"header value {value!r}")
    return text.encode().decode("latin-1")  # on the wire as UTF-8


def _response_body(result: dict[str, Any]) -> bytes:
    body = result.get("body") or ""
    if not isinstance(body, str):
        raise InvalidFunctionResponse("body is not a string")
    if result.get("isBase64Encoded") is not True:
        return body.encode(errors="replace")
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidFunctionResponse("body is not base64") from error


def message_response(status: int, message: str) -> Response:
    """An answer of API Gateway itself."""
    body = json.dumps({"message": message}, separators=(",", ":")).encode()
    return Response(status, [("Content-Type", "application/json")], body)
