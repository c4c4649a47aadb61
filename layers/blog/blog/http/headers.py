"""Default headers of every response; a route may set its own instead.

Only the documentation is HTML, and sets its own content security policy; all else may load nothing,
be embedded nowhere, and is not sniffed. Responses to successful GET requests may be stored but must
be revalidated (`no-cache`); errors and responses to writes are not stored (`no-store`).
"""

from starlette.types import Message, Scope

from blog.access import Headers

SECURITY: Headers = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
)
# RFC 6797 forbids it over plain HTTP, as from the local gateway. No includeSubDomains: only the
# owner of the domain knows what else is served there.
HTTPS: Headers = ((b"strict-transport-security", b"max-age=31536000"),)
REVALIDATED: Headers = ((b"cache-control", b"no-cache"),)
NOT_STORED: Headers = ((b"cache-control", b"no-store"),)

DEFAULTS = {
    (is_https, is_stored): SECURITY
    + (HTTPS if is_https else ())
    + (REVALIDATED if is_stored else NOT_STORED)
    for is_https in (True, False)
    for is_stored in (True, False)
}


def add_default_headers(scope: Scope, start: Message) -> None:
    """Complete the headers of an `http.response.start`."""
    is_stored = scope["method"] == "GET" and start["status"] < 400
    headers = start["headers"]
    own = {name for name, _ in headers}
    headers.extend(
        header for header in DEFAULTS[scope["scheme"] == "https", is_stored] if header[0] not in own
    )
