"""The path below which API Gateway serves the API: a named stage, or a custom domain's mapping.

The paths of events begin with it, and those of responses must; in between, and in the cache, which
several mappings may share, there is none.
"""

from contextvars import ContextVar
from typing import Any

from blog.settings import settings

base_path: ContextVar[str] = ContextVar("base_path", default="")
"""The request's, such as `/v1`; empty for none."""


def split_path(event: dict[str, Any]) -> tuple[str, str]:
    """Return the base path of an event, and its path below that."""
    path = event["rawPath"] or "/"
    stage = event["requestContext"]["stage"]
    of_stage = None if stage == "$default" else f"/{stage}"
    for base in filter(None, (settings().base_path, of_stage)):
        if path == base or path.startswith(f"{base}/"):
            return base, path.removeprefix(base) or "/"
    return "", path
