"""The front door: events of an API Gateway HTTP API (payload format 2.0) as ASGI requests.

No other module of the layer reads events: the application gets an `ApiRequest`.

Mangum's own handler raises for a Host such as `[::1]`, for ports that are not numbers, and for text
that UTF-8 cannot encode, all outside of the application, so that the client gets a bare 500. Here a
part that cannot be read is replaced, and `ApiRequest.malformed` names it, so that the response is a
400 problem (`shared.http.middleware`).

The base path is that of a named stage, or of a custom domain's mapping. The path of an event begins
with the stage's but never with the mapping's, so a mapping is recognized by the host.
"""

import re
from base64 import b64decode
from functools import cached_property
from time import monotonic
from typing import Any

from mangum.handlers import HTTPGateway
from mangum.types import Scope

from shared.request import SCOPE_KEY, ApiRequest
from shared.settings import settings

HOST = re.compile(
    r"(?P<name>[A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:(?P<port>[0-9]{0,5}))?"
)
"""A name or an address, with a port, which may be empty (RFC 3986, section 3.2.2 and 3.2.3)."""
PORTS = {"http": 80, "https": 443}
CLIENT_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
DEADLINE_MARGIN_SECONDS = 0.5
"""Time reserved to invalidate the cache, write the log line and respond."""


class HttpApiEvent(HTTPGateway):
    """Mangum's adapter of an event: the ASGI scope and body of its request."""

    @cached_property
    def headers(self) -> dict[str, str]:
        event = self.event
        headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
        if cookies := event.get("cookies"):
            headers["cookie"] = "; ".join(cookies)
        return headers

    @cached_property
    def request(self) -> ApiRequest:
        gateway = self.event["requestContext"]
        remaining_seconds = self.context.get_remaining_time_in_millis() / 1000
        base_path, path = _split_path(self.event)
        sent_id = self.headers.get("x-request-id", "")
        return ApiRequest(
            method=gateway["http"]["method"],
            path=path,
            gateway_id=gateway["requestId"],
            client_id=sent_id if CLIENT_REQUEST_ID.fullmatch(sent_id) else None,
            deadline=monotonic() + remaining_seconds - DEADLINE_MARGIN_SECONDS,
            base_path=base_path,
            source_address=gateway["http"]["sourceIp"],
            claims=verified_claims(gateway),
        )

    @cached_property
    def scope(self) -> Scope:
        event, headers = self.event, self.headers
        http = event["requestContext"]["http"]
        scheme = "http" if headers.get("x-forwarded-proto") == "http" else "https"
        host = HOST.fullmatch(headers.get("host", "localhost"))
        if host is None:
            self.request.malformed = "The header Host is not a host name with a port."
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "http_version": "1.1",
            "method": http["method"],
            "scheme": scheme,
            # API Gateway has decoded it; decoded again, /articles/%2531 would be article 1.
            "path": self.request.path,
            "raw_path": None,
            "root_path": "",
            "query_string": _encoded(event.get("rawQueryString", "")),
            "headers": [[_encoded(name), _encoded(value)] for name, value in headers.items()],
            "server": (
                host["name"] if host else "localhost",
                int((host and host["port"]) or PORTS[scheme]),
            ),
            "client": (http["sourceIp"], 0),
            "aws.event": event,  # for Mangum only
            SCOPE_KEY: self.request,
        }

    @property
    def body(self) -> bytes:
        body = self.event.get("body") or ""
        if not self.event.get("isBase64Encoded"):
            return _encoded(body)
        try:
            return b64decode(body, validate=True)
        except ValueError:
            self.request.malformed = "The body is not Base64."
            return b""


def verified_claims(gateway: dict[str, Any]) -> dict[Any, Any] | None:
    """Return the claims of the token that the JWT authorizer has verified, None without one."""
    found: Any = gateway
    for name in ("authorizer", "jwt", "claims"):
        found = found.get(name)
        if not isinstance(found, dict) or not found:
            return None
    return dict(found)


def _split_path(event: dict[str, Any]) -> tuple[str, str]:
    """Return the event's base path, and the path below it."""
    path = event["rawPath"] or "/"
    context = event["requestContext"]
    base = "" if context["stage"] == "$default" else f"/{context['stage']}"
    if path == base or path.startswith(f"{base}/"):
        path = path.removeprefix(base) or "/"
    else:
        base = ""
    own = settings().domain_name
    if own is not None and context.get("domainName", "").lower() == own:
        base = settings().base_path or ""
    return base, path


def _encoded(text: Any) -> bytes:
    """Return the text in UTF-8, with `?` for a lone surrogate, which UTF-8 cannot encode."""
    return str(text).encode(errors="replace")
