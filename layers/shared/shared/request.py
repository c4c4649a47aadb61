"""A request and its context as one value, created by the front door and passed as an argument.

`shared.gateway` creates it from an event of API Gateway; another front door would replace that
module only. The route sets the caller's access, the limit and the conditions, once each.

Named tuples and slots are used, as a frozen data class costs each cold start 1 ms.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2s
from math import inf
from time import perf_counter
from typing import Any, Literal, NamedTuple, Protocol

from shared.conditions import UNCONDITIONAL, Conditions

CacheOutcome = Literal["hit", "miss", "bypass", "error"]
LimitOutcome = Literal["rejected", "unavailable"]
Headers = tuple[tuple[bytes, bytes], ...]

KEY_HEADER = "Idempotency-Key"
SCOPE_KEY = "shared.request"
"""The key of the `ApiRequest` in an ASGI scope."""


class Caller(NamedTuple):
    """The subject of a token; it identifies a caller only together with its issuer."""

    issuer: str
    subject: str
    roles: frozenset[str]

    @property
    def identity(self) -> str:
        """Issuer and subject as one text; the issuer, an absolute URL, contains no space."""
        return f"{self.issuer} {self.subject}"


class Access(NamedTuple):
    """The right of one request to `operation`: on all resources or, if `own_only`, the caller's.

    `permission` is the one that the operation needs, such as `articles:write`; `caller` is None for
    anonymous requests. `others_hidden`: the caller may not read others' resources of this kind.
    """

    operation: str
    permission: str
    caller: Caller | None = None
    own_only: bool = False
    others_hidden: bool = False

    @property
    def view(self) -> str:
        """A text of all on which the rows that are shown may depend, so for pages to be shared."""
        caller = self.caller or Caller("", "", frozenset())
        return repr((caller.identity, self.own_only, sorted(caller.roles)))

    @property
    def resource(self) -> str:
        """The resource of the permission: `articles`."""
        return self.permission.partition(":")[0]

    @property
    def is_read(self) -> bool:
        return self.permission.endswith(":read")


class CallerLimit(Protocol):
    """The limit of the request's caller.

    `headers`: the RateLimit fields, empty until the limiter has decided.
    """

    headers: Headers

    def take(self) -> Any:
        """Return the call to Redis that counts the request, None if it was taken before.

        The caller of this method sends it along with another call, and settles it.
        """

    def settle(self, counted: Any) -> None:
        """Record the call's result, None if Redis is unavailable."""

    def begin(self) -> None:
        """Start counting the request, unless the call was taken."""

    async def admitted(self) -> None:
        """Return once the request is known to be within the limit. Raises `TooManyRequests`."""


@dataclass(slots=True)
class Record:
    """Facts about a request for its log line and metrics."""

    cold_start: bool = False
    route: str | None = None
    status: int = 500
    cache: CacheOutcome | None = None
    limit: LimitOutcome | None = None
    database_seconds: float = 0.0
    started_at: float = field(default_factory=perf_counter)

    def observe_cache(self, outcome: CacheOutcome) -> None:
        """Record the outcome of a look-up in the cache; an error is not overwritten."""
        if self.cache != "error":
            self.cache = outcome


@dataclass(slots=True, eq=False)
class ApiRequest:
    """One request; the defaults suit one that no client has sent.

    `base_path` is the prefix under which clients reach the API, such as `/v1`, or empty; `path` is
    without it. `gateway_id` is the front door's id of the request, `client_id` the client's
    `X-Request-Id`, if valid. `deadline` is in seconds of `monotonic`. `source_address` is the
    client's, as the front door saw it. `claims` are those of the token that the front door has
    verified, None without one. `malformed` describes a part that could not be read. `item` is the
    name of one resource in messages: `user`. `has_committed`: one of its transactions has, so that
    it must not be repeated.
    """

    method: str = "GET"
    path: str = "/"
    gateway_id: str = ""
    client_id: str | None = None
    deadline: float = inf
    base_path: str = ""
    source_address: str = "127.0.0.1"
    claims: Mapping[Any, Any] | None = None
    malformed: str | None = None
    item: str = "resource"
    access: Access | None = None
    limit: CallerLimit | None = None
    conditions: Conditions = UNCONDITIONAL
    record: Record = field(default_factory=Record)
    has_committed: bool = False

    @property
    def id(self) -> str:
        return self.client_id or self.gateway_id

    @property
    def has_caller(self) -> bool:
        """Whether a caller's token authorized the request."""
        return self.access is not None and self.access.caller is not None

    def granted(self) -> Access:
        """Return the request's access. Raises `LookupError` if no route has authorized it."""
        if self.access is None:
            raise LookupError("The request was not authorized: its route has no permission.")
        return self.access

    def begin_counting(self) -> None:
        """Start counting the request towards its limit, if any."""
        if self.limit is not None:
            self.limit.begin()

    async def within_limit(self) -> None:
        """Return once it is known to be within the limit, if any. Raises `TooManyRequests`."""
        if self.limit is not None:
            await self.limit.admitted()

    @property
    def limit_headers(self) -> Headers:
        return () if self.limit is None else self.limit.headers


def digest(identity: str) -> str:
    """Return a pseudonym of a caller or an address for Redis, as these are personal data."""
    return blake2s(identity.encode(), digest_size=16).hexdigest()


def request_of(scope: Mapping[str, Any]) -> ApiRequest:
    """Return the request of an ASGI scope."""
    request: ApiRequest = scope[SCOPE_KEY]
    return request
