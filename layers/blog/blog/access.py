"""Who calls, what the request may do, and how often; passed from `blog.auth` to `blog.database`.

Named tuples: frozen data classes would cost each cold start 1 ms.
"""

from contextvars import ContextVar
from typing import Any, NamedTuple, Protocol

from blog.settings import settings

Headers = tuple[tuple[bytes, bytes], ...]


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

    @property
    def is_read(self) -> bool:
        return is_read(self.permission)


class CallerLimit(Protocol):
    """How often the request's caller may call; `headers` tell, once that is known."""

    headers: Headers

    def take(self) -> Any:
        """Return the call of Redis that counts the request, for the one who sends it along with
        another and settles it; None if it has been taken."""

    def settle(self, counted: Any) -> None:
        """Take note of the call's result; None if Redis is unavailable."""

    def begin(self) -> None:
        """Begin to count the request, unless that has begun."""

    async def admitted(self) -> None:
        """Return once it is known that the request is within the limit.

        Raises `TooManyRequests`.
        """


OPEN = Access(operation="", permission="", caller=None, own_only=False)

current_access: ContextVar[Access | None] = ContextVar("current_access", default=None)
current_limit: ContextVar[CallerLimit | None] = ContextVar("current_limit", default=None)


def granted_access() -> Access:
    """Return the request's. Raises `LookupError` if nothing has authorized it."""
    access = current_access.get()
    if access is not None:
        return access
    if settings().auth == "required":
        raise LookupError("The request was not authorized: its route is not an api_router's.")
    return OPEN


def has_caller() -> bool:
    """Whether the response is to a caller who needed a token for it."""
    access = current_access.get()
    return access is not None and access.caller is not None


def is_read(permission: str) -> bool:
    return permission.endswith(":read")


def begin_counting() -> None:
    """Begin to count the request towards its limit, if it has one."""
    if (limit := current_limit.get()) is not None:
        limit.begin()


async def within_limit() -> None:
    """Return once the request is known to be within its limit, if it has one.

    Raises `TooManyRequests`.
    """
    if (limit := current_limit.get()) is not None:
        await limit.admitted()


def limit_headers() -> Headers:
    """Return those that tell the caller of its limit; none while that is not known."""
    limit = current_limit.get()
    return () if limit is None else limit.headers
