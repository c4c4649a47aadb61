"""One HTTP request to an endpoint of AWS."""

import http.client
import json
import ssl
from collections.abc import Mapping
from contextlib import closing
from urllib.parse import urlsplit


class RequestFailed(Exception):
    """No good response in time; the message quotes nothing of it but AWS's code of the error."""


def request(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes | None = None,
    *,
    timeout_seconds: float,
    tls: ssl.SSLContext | None = None,
) -> bytes:
    """The body of a response of status 200. Raises `RequestFailed`.

    `timeout_seconds` is for connecting, and for each wait for the response; `tls` None trusts the
    system's authorities.
    """
    parts = urlsplit(url)
    connection = (
        http.client.HTTPSConnection(parts.netloc, timeout=timeout_seconds, context=tls)
        if parts.scheme == "https"
        else http.client.HTTPConnection(parts.netloc, timeout=timeout_seconds)
    )
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    with closing(connection):
        try:
            connection.request(method, target, body, dict(headers))
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise RequestFailed(f"{type(error).__name__}: {error}") from error
    if response.status != http.client.OK:
        raise RequestFailed(f"status {response.status} {_error_code(content)}")
    return content


def _error_code(content: bytes) -> str:
    """Such as `ResourceNotFoundException`; empty if the response has none."""
    try:
        error = json.loads(content)
        return str(error.get("__type") or error.get("code") or "")
    except (ValueError, AttributeError):
        return ""
