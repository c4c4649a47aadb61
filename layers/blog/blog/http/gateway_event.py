"""Events of an API Gateway HTTP API (payload format 2.0) as ASGI requests.

Mangum's own handler raises for a Host such as `[::1]`, for ports that are no numbers, and for text
that UTF-8 cannot encode: outside of the application, so the client would get a bare 500. Here
nothing that a client sends raises: what cannot be read is replaced, and `scope["malformed"]` tells
what it was, so that the response is a 400 problem (`blog.http.middleware`).
"""

import re
from base64 import b64decode
from functools import cached_property
from typing import Any

from mangum.handlers import HTTPGateway
from mangum.types import LambdaConfig, LambdaContext, LambdaEvent, Scope

HOST = re.compile(
    r"(?P<name>[A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:(?P<port>[0-9]{0,5}))?"
)
"""A name or an address, with a port, which may be empty (RFC 3986, section 3.2.2 and 3.2.3)."""
PORTS = {"http": 80, "https": 443}


class HttpApiEvent(HTTPGateway):
    """One request; Mangum makes it from the event, and asks it for scope, body and response."""

    @classmethod
    def infer(cls, event: LambdaEvent, context: LambdaContext, config: LambdaConfig) -> bool:
        return event.get("version") == "2.0" and "requestContext" in event

    @cached_property
    def scope(self) -> Scope:
        event = self.event
        http = event["requestContext"]["http"]
        headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
        if cookies := event.get("cookies"):
            headers["cookie"] = "; ".join(cookies)
        scheme = "http" if headers.get("x-forwarded-proto") == "http" else "https"
        host = HOST.fullmatch(headers.get("host", "localhost"))
        if host is None:
            del headers["host"]
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "http_version": "1.1",
            "method": http["method"],
            "scheme": scheme,
            # API Gateway has decoded it; decoded again, /users/%2531 would be user 1.
            "path": event["rawPath"] or "/",
            "raw_path": None,
            "root_path": "",
            "query_string": _encoded(event.get("rawQueryString", "")),
            "headers": [[_encoded(name), _encoded(value)] for name, value in headers.items()],
            "server": (
                host["name"] if host else "localhost",
                int((host and host["port"]) or PORTS[scheme]),
            ),
            "client": (http["sourceIp"], 0),
            "aws.event": event,
            "aws.context": self.context,
            "malformed": None if host else "The header Host is not a host name with a port.",
        }

    @property
    def body(self) -> bytes:
        body = self.event.get("body") or ""
        if not self.event.get("isBase64Encoded"):
            return _encoded(body)
        try:
            return b64decode(body, validate=True)
        except ValueError:
            self.scope["malformed"] = "The body is not Base64."
            return b""


def _encoded(text: Any) -> bytes:
    """Return the text in UTF-8; half of a surrogate pair, which it cannot encode, as `?`."""
    return str(text).encode(errors="replace")
