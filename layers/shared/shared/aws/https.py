"""A single HTTP request to an AWS endpoint."""

import http.client
import json
import ssl
from collections.abc import Mapping
from contextlib import closing
from urllib.parse import urlsplit


class RequestFailed(Exception):
    """There was no successful response in time; of it the message has only AWS's error code."""


def request(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes | None = None,
    *,
    timeout_seconds: float,
    tls: ssl.SSLContext | None = None,
) -> bytes:
    """Return the body of a response with status 200. Raises `RequestFailed`.

    `timeout_seconds` applies to connecting, and to each wait for data. Without `tls` the system's
    certificate authorities are trusted.
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
        except OSError as error:
            raise RequestFailed(f"{type(error).__name__}: {error}") from error
        except (http.client.HTTPException, ValueError) as error:
            # Their texts quote what was received, or the header that cannot be sent.
            raise RequestFailed(type(error).__name__) from None
    if response.status != http.client.OK:
        raise RequestFailed(f"status {response.status} {_error_code(content)}")
    return content


def _error_code(content: bytes) -> str:
    """Return the error code, such as `ResourceNotFoundException`, or an empty string."""
    try:
        error = json.loads(content)
        return str(error.get("__type") or error.get("code") or "")
    except (ValueError, AttributeError):
        return ""
