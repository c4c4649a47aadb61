"""Default headers of every response; a route may set its own instead.

Only the documentation is HTML, and sets its own content security policy; all else may load nothing,
be embedded nowhere, and is not sniffed. Responses to successful GET requests may be stored but must
be revalidated (`no-cache`), and those that needed a token not in caches that callers share
(`private`); errors and responses to writes are not stored (`no-store`).
"""

from starlette.types import Message, Scope

from blog.access import Headers, has_caller

SECURITY: Headers = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
)
# RFC 6797 forbids it over plain HTTP, as from the local gateway. No includeSubDomains: only the
# owner of the domain knows what else is served there.
HTTPS: Headers = ((b"strict-transport-security", b"max-age=31536000"),)
NOT_STORED = b"no-store"
REVALIDATED = b"no-cache"
REVALIDATED_BY_ONE_CALLER = b"private, no-cache"

DEFAULTS = {
    (is_https, storage): SECURITY + (HTTPS if is_https else ()) + ((b"cache-control", storage),)
    for is_https in (True, False)
    for storage in (NOT_STORED, REVALIDATED, REVALIDATED_BY_ONE_CALLER)
}


def add_default_headers(scope: Scope, start: Message) -> None:
    """Complete the headers of an `http.response.start`."""
    headers = start["headers"]
    own = {name for name, _ in headers}
    defaults = DEFAULTS[scope["scheme"] == "https", _storage(scope, start)]
    headers.extend(header for header in defaults if header[0] not in own)


def _storage(scope: Scope, start: Message) -> bytes:
    if scope["method"] != "GET" or start["status"] >= 400:
        return NOT_STORED
    return REVALIDATED_BY_ONE_CALLER if has_caller() else REVALIDATED
