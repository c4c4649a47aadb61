"""The front door: events of an API Gateway HTTP API (payload format 2.0) as ASGI requests.

Nothing else in the layer knows events. What the application needs of one is in its `ApiRequest`.

Mangum's own handler raises for a Host such as `[::1]`, for ports that are not numbers, and for text
that UTF-8 cannot encode: outside of the application, so the client would get a bare 500. Here
nothing that a client sends raises: a part that cannot be read is replaced, and
`ApiRequest.malformed` names it, so that the response is a 400 problem (`shared.http.middleware`).

The base path is a named stage's, or that of a domain's mapping. The paths of events begin with a
named stage, but never with a mapping's path: only the host tells that a request came by it.
"""

import re
from base64 import b64decode
from functools import cached_property
from time import monotonic
from typing import Any

from mangum.handlers import HTTPGateway
from mangum.types import LambdaConfig, LambdaContext, LambdaEvent, Scope

from shared.request import SCOPE_KEY, ApiRequest
from shared.settings import settings

HOST = re.compile(
    r"(?P<name>[A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:(?P<port>[0-9]{0,5}))?"
)
"""A name or an address, with a port, which may be empty (RFC 3986, section 3.2.2 and 3.2.3)."""
PORTS = {"http": 80, "https": 443}
CLIENT_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
DEADLINE_MARGIN_SECONDS = 0.5
"""Reserved of the function's time to invalidate the cache, write the log line and respond."""


class HttpApiEvent(HTTPGateway):
    """One request; Mangum makes it from the event, and asks it for scope, body and response."""

    @classmethod
    def infer(cls, event: LambdaEvent, context: LambdaContext, config: LambdaConfig) -> bool:
        return event.get("version") == "2.0" and "requestContext" in event

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
        event, headers = self.event, dict(self.headers)
        http = event["requestContext"]["http"]
        scheme = "http" if headers.get("x-forwarded-proto") == "http" else "https"
        host = HOST.fullmatch(headers.get("host", "localhost"))
        if host is None:
            del headers["host"]
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
            "aws.event": event,  # Mangum reads it, and nothing else does
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
    """Return the claims of the token that the JWT authorizer has verified."""
    found: Any = gateway
    for name in ("authorizer", "jwt", "claims"):
        found = found.get(name)
        if not isinstance(found, dict) or not found:
            return None
    return dict(found)


def _split_path(event: dict[str, Any]) -> tuple[str, str]:
    """Return the base path of an event, and the path of its route."""
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
    """Return the text in UTF-8; half of a surrogate pair, which it cannot encode, as `?`."""
    return str(text).encode(errors="replace")
