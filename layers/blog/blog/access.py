"""Who calls, and what the request may do; passed from `blog.auth` to `blog.database`.

Named tuples: frozen data classes would cost each cold start 1 ms.
"""

from contextvars import ContextVar
from typing import NamedTuple

from blog.settings import settings


class Caller(NamedTuple):
    """The subject of a token; it identifies a caller only together with its issuer."""

    issuer: str
    subject: str
    roles: frozenset[str]


class Access(NamedTuple):
    """What one request may do: `operation`, with everything or, if `own_only`, with the caller's.

    `permission` is what it needs, such as `posts:write`; `caller` is None for anonymous requests.
    """

    operation: str
    permission: str
    caller: Caller | None
    own_only: bool

    @property
    def resource(self) -> str:
        """The kind of resource that it is for: `posts`."""
        return self.permission.partition(":")[0]


OPEN = Access(operation="", permission="", caller=None, own_only=False)

current_access: ContextVar[Access | None] = ContextVar("current_access", default=None)


def granted_access() -> Access:
    """Return the request's. Raises `LookupError` if nothing has authorized it."""
    access = current_access.get()
    if access is not None:
        return access
    if settings().auth == "required":
        raise LookupError("The request was not authorized: its route is not an api_router's.")
    return OPEN
