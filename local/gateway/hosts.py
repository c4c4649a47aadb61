"""Names of this machine. Others are rejected, as a web page could use one that resolves to it."""

import re

ANY_HOST = re.compile(r"([a-z0-9_.-]+|\[[0-9a-f:.]+\])(:[0-9]{0,5})?", re.IGNORECASE)
"""A name or an address, with a port, which may be empty (RFC 3986, section 3.2.2 and 3.2.3)."""
LOCAL_HOST = re.compile(
    r"(([a-z0-9_-]+\.)*localhost|127\.0\.0\.1|\[::1\])(:[0-9]{0,5})?", re.IGNORECASE
)
LOCAL_ORIGIN = re.compile(f"https?://{LOCAL_HOST.pattern}", re.IGNORECASE)
