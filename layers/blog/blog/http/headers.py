"""Headers of every response; one that a route sets by itself stands.

Nothing here is a page but the documentation, which has a content security policy of its own, so by
default nothing may be loaded, embedded or guessed from a response. What is read may be stored, but
is asked for again each time (`no-cache`); errors and what a write returns are not stored.
"""

from starlette.types import Message, Scope

Headers = tuple[tuple[bytes, bytes], ...]

SECURITY: Headers = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
)
# RFC 6797 forbids it over plain HTTP, which is the local gateway's. Of subdomains it says nothing:
# whether others than this API are there, only the owner of the domain knows.
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
