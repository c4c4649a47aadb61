"""Rate limits of callers, for reads and for writes, by the generic cell rate algorithm (GCRA).

A limit allows `quota` requests in any `window_seconds`, of which `burst` may arrive at once; the
others are spread evenly over the window. A caller is the issuer and subject of a token, else the
address that API Gateway saw, not `X-Forwarded-For`, which clients can set. Of an IPv6 address only
the network (/64) counts, as one host has many addresses.

The clock is Redis's, and the script is atomic, so a limit holds over all workers together. It costs
no round trip: the script is sent with the request's first call to Redis, or concurrently with its
first statement. So a read is rejected after its statement, whose rows are dropped, and a write
before its COMMIT. A worker that has rejected a caller keeps rejecting it, without Redis, until the
time that Redis returned, so a flood reaches neither server. A request that needs no token (for the
documentation, the health check, unknown paths and methods) counts as a read of its address.
Requests without a token or the permission (401, 403) are not counted; writes to another caller's
resource (also 403) are, as only their statement can tell.

While Redis is unavailable all requests pass, and `LimitUnavailable` counts them. A request whose
connection to Redis broke may be counted twice.

Sources: GCRA is defined in ITU-T I.371; the headers in draft-ietf-httpapi-ratelimit-headers-11.
"""

import asyncio
from contextlib import AbstractAsyncContextManager, nullcontext
from math import ceil
from time import monotonic
from types import TracebackType
from typing import Any, NamedTuple, Self

from shared.cache.redis_connection import Call, Script
from shared.cache.scripts import CacheUnavailable, key, redis_scripts
from shared.errors import TooManyRequests
from shared.process import per_process
from shared.request import ApiRequest, Headers, Record, digest
from shared.settings import SettingsError, settings

MAX_REMEMBERED = 1000
"""Maximum number of rejected callers that a worker remembers; at more, it forgets all."""


def is_decision(result: Any) -> bool:
    return isinstance(result, int) and result != 0


# KEYS: a sorted set of callers, scored by GCRA's theoretical arrival time (`due`), in microseconds.
# It has no TTL, so a full Redis evicts pages but no limits. Callers whose time has passed have the
# whole burst again, and are removed, so the set stays small. Redis checks its memory only before a
# script's first write, here a removal, so a full Redis under `noeviction` still counts.
# ARGV: the interval between even requests in microseconds, the burst, and the caller.
# Return the microseconds until all of the burst is available. If the request is rejected, return a
# negative number: minus the microseconds until one request is available.
COUNT_REQUEST = Script(
    """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local due = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[3]) or now)
local wait = due - now - (ARGV[2] - 1) * ARGV[1]
if wait > 0 then return -wait end
due = due + ARGV[1]
redis.call('ZADD', KEYS[1], string.format('%.0f', due), ARGV[3])
return due - now
""",
    is_decision,
)


class Limit(NamedTuple):
    """At most `quota` requests in any window, of which at most `burst` at once."""

    name: str
    quota: int
    window_seconds: int
    burst: int

    @property
    def interval_microseconds(self) -> int:
        """GCRA's emission interval."""
        return ceil(self.window_seconds * 1_000_000 / (self.quota - self.burst))


class Decision(NamedTuple):
    """`remaining` requests are available at once, and one more in `seconds`."""

    is_admitted: bool
    remaining: int
    seconds: int


class RequestLimit:
    """The limit of a request, a context manager around its handling.

    At its end it raises `TooManyRequests`, even in place of another error. The request is counted
    along with another call to Redis (`take`), or concurrently with its statement (`begin`).
    """

    def __init__(self, limit: Limit, caller: str, record: Record) -> None:
        self.headers: Headers = ()
        self._record = record
        self._limit = limit
        self._caller = caller
        self._is_taken = False
        self._decided = asyncio.Event()
        self._decision: Decision | None = None
        self._counting: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        known = rejected_until().get((self._limit.name, self._caller), 0.0)
        seconds = known - monotonic()
        if seconds > 0:
            self._require(self._set_headers(Decision(False, remaining=0, seconds=ceil(seconds))))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None or isinstance(error, Exception):
            await self.admitted()
        elif self._counting is not None:  # the deadline has expired; nothing outlives it
            self._counting.cancel()
            await asyncio.wait([self._counting])

    def take(self) -> Call | None:
        if self._is_taken:
            return None
        self._is_taken = True
        arguments = (self._limit.interval_microseconds, self._limit.burst, self._caller)
        return Call(COUNT_REQUEST, [key(f"limit:{self._limit.name}")], arguments)

    def settle(self, counted: int | None) -> None:
        if counted is None:
            self._record.limit = "unavailable"
        else:
            self._decision = self._set_headers(self._decide(counted))
        self._decided.set()

    def begin(self) -> None:
        if (call := self.take()) is not None:
            self._counting = asyncio.create_task(self._count(call))

    async def admitted(self) -> None:
        self.begin()
        await self._decided.wait()
        if self._decision is not None:
            self._require(self._decision)

    async def _count(self, call: Call) -> None:
        counted = None
        try:
            counted = await redis_scripts().run(call)
        except CacheUnavailable:
            pass
        finally:
            self.settle(counted)

    def _decide(self, microseconds: int) -> Decision:
        if microseconds < 0:
            seconds = -microseconds / 1e6
            _remember(self._limit.name, self._caller, seconds)
            return Decision(False, remaining=0, seconds=ceil(seconds))
        interval = self._limit.interval_microseconds
        used = ceil(microseconds / interval)
        until_next = (microseconds - (used - 1) * interval) / 1e6
        return Decision(True, self._limit.burst - used, ceil(until_next))

    def _set_headers(self, decision: Decision) -> Decision:
        """Set the headers, and record a rejection."""
        name, quota, window_seconds, _ = self._limit
        policy = f'"{name}";q={quota};w={window_seconds}'
        state = f'"{name}";r={decision.remaining};t={decision.seconds}'
        self.headers = (
            (b"ratelimit-policy", policy.encode()),
            (b"ratelimit", state.encode()),
        )
        if not decision.is_admitted:
            self._record.limit = "rejected"
        return decision

    def _require(self, decision: Decision) -> None:
        if not decision.is_admitted:
            raise TooManyRequests(self._limit.name, decision.seconds)


def within_limit(request: ApiRequest) -> AbstractAsyncContextManager[object]:
    """Count the request, once, for its caller or address, as a read or as a write.

    Nothing is counted if no limit is set, or there is no Redis. Raises `TooManyRequests` at the end
    of the block.
    """
    access = request.access
    limit = limits().read if access is None or access.is_read else limits().write
    if limit is None or settings().redis_url is None or request.limit is not None:
        return nullcontext()
    caller = access.caller if access is not None else None
    identity = caller.identity if caller else network_of(request.source_address)
    request.limit = counted = RequestLimit(limit, digest(identity), request.record)
    return counted


class Limits(NamedTuple):
    """The limits of a caller; None if no limit is set."""

    read: Limit | None
    write: Limit | None


@per_process
def limits() -> Limits:
    """Return the limits of a caller. Raises `SettingsError`."""
    one = settings()
    return Limits(
        read=_limit("read", one.read_limit, one.read_burst),
        write=_limit("write", one.write_limit, one.write_burst),
    )


def _limit(name: str, quota: int | None, burst: int | None) -> Limit | None:
    if quota is None:
        return None
    if burst is not None and burst >= quota:
        raise SettingsError(f"{name.upper()}_BURST must be less than {name.upper()}_LIMIT")
    return Limit(name, quota, settings().limit_window_seconds, burst or quota // 2)


def network_of(address: str) -> str:
    """Return an IPv4 address, or the network (/64) of an IPv6 address."""
    if ":" not in address:
        return address
    from ipaddress import IPv6Address  # callers by IPv6 pay for the import

    parsed = IPv6Address(address)
    return str(parsed.ipv4_mapped or int(parsed) >> 64)


@per_process
def rejected_until() -> dict[tuple[str, str], float]:
    """Return when the rejection of each limit and caller ends, in seconds of `monotonic`."""
    return {}


def _remember(limit: str, caller: str, seconds: float) -> None:
    if len(rejected_until()) >= MAX_REMEMBERED:
        rejected_until().clear()
    rejected_until()[limit, caller] = monotonic() + seconds
