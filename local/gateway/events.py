"""Events for requests, as from an API Gateway HTTP API: payload format 2.0. No I/O.

The path is percent-decoded, once, and the query is not, as measured in AWS (aws/aws-lambda-dotnet,
pull request 1901; honojs/hono, issue 2156). SAM's own local gateway has one request id for all
requests, header names in title case, no bodies other than UTF-8, 200 for an exception, and a new
connection and a pause of 10 ms for each request.
"""

import base64
import re
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, unquote_to_bytes

from local.gateway.routing import Match, Route

HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
PRINTABLE_ASCII = "".join(chr(code) for code in range(0x21, 0x7F))
TEXT_TYPE = re.compile(r"text/.+|application/(json|javascript|xml|.+\+json|.+\+xml)")
PORT = re.compile(":[0-9]*$")  # the colons of an IPv6 address are within brackets
ACCOUNT_ID = "123456789012"
API_ID = "1234567890"


@dataclass(frozen=True)
class Request:
    """An HTTP request as received: `target` in latin-1, header names as sent, duplicates kept."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    source_ip: str
    protocol: str = "HTTP/1.1"

    @property
    def path(self) -> str:
        """The path, percent-decoded; bytes that are not UTF-8 become U+FFFD."""
        return unquote_to_bytes(self._parts[0].encode("latin-1")).decode(errors="replace")

    @property
    def query(self) -> str:
        """The query, percent-encoded, including raw bytes beyond printable ASCII."""
        return quote(self._parts[1].encode("latin-1"), safe=PRINTABLE_ASCII)

    def values(self, name: str) -> list[str]:
        """Return the values of the headers with this name, which is in lower case."""
        return [value for key, value in self.headers if key.lower() == name]

    @property
    def _parts(self) -> tuple[str, str]:
        path, _, query = self.target.partition("#")[0].partition("?")
        if not path.startswith("/"):  # absolute form: http://host/path
            path = "/" + path.partition("://")[2].partition("/")[2]
        return path, query


def new_request_id() -> str:
    """Return a unique id like API Gateway's: 15 characters and an equals sign."""
    return base64.urlsafe_b64encode(secrets.token_bytes(11)).decode()


def event_of(request: Request, match: Match, request_id: str, port: int) -> dict[str, Any]:
    """Return the event; empty members are left out, as in AWS."""
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


def default_event(request: Request, port: int) -> dict[str, Any]:
    """Return the event of a request to the route `$default`."""
    return event_of(request, Match(Route("$default", frozenset(), ""), {}), new_request_id(), port)


def _context(
    request: Request, headers: dict[str, str], route_key: str, request_id: str
) -> dict[str, Any]:
    domain = PORT.sub("", headers.get("host", "localhost"))
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
    """Return headers by lower-case names; repeated ones are joined by commas, cookies by `; `."""
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
    """Return the body, and whether it is base64: text types are text, if they are UTF-8."""
    if TEXT_TYPE.fullmatch(content_type.partition(";")[0].strip().lower()):
        with suppress(UnicodeDecodeError):
            return body.decode(), False
    return base64.b64encode(body).decode(), bool(body)
