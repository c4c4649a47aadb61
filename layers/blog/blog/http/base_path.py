"""The path below which clients reach the API: a named stage's, or that of a domain's mapping.

Links in responses begin with it; in between, and in the cache, which several mappings may share,
there is none. The paths of events begin with a named stage, but never with a mapping's path: only
the host tells that a request came by the mapping.
"""

from contextvars import ContextVar
from typing import Any

from blog.settings import settings

base_path: ContextVar[str] = ContextVar("base_path", default="")
"""The request's, such as `/v1`; empty for none."""


def split_path(event: dict[str, Any]) -> tuple[str, str]:
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
