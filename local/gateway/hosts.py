"""Names of this machine. A foreign one that DNS points here would let a web page read the API."""

import re

LOCAL_HOST = re.compile(
    r"(([a-z0-9_-]+\.)*localhost|127\.0\.0\.1|\[::1\])(:[0-9]*)?", re.IGNORECASE
)
LOCAL_ORIGIN = re.compile(f"https?://{LOCAL_HOST.pattern}", re.IGNORECASE)
