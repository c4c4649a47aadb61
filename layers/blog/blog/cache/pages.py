"""Cached list pages that are never stale after an acknowledged write.

Keys of a list, here `users`, each after `CACHE_KEY_PREFIX`:

    users:generation     token ‖ server; no TTL; deleting it makes every page stale at once
    users:fence          sorted set of writes in progress, scored by their deadline (Redis's clock)
    users:{page}:{limit} token ‖ bytes of the page; none of it if the page is too large to cache
    …:lease              held by the reader that populates this page

The token is random; the server is the primary's replication id, new whenever a server starts or
is promoted.

A reader makes one round trip for a hit. On a miss it takes the page's lease, reads the database
and populates the page, but only if the generation is still the one from before its read. While a
fence stands no page is served and none is leased: readers read the database. A writer sets its
fence before COMMIT; after COMMIT and before it responds it clears the fence and deletes the
generation. If nothing was committed, it clears the fence, and the pages are served again. A fence
whose writer crashed, or does not know whether COMMIT came through, expires later than PostgreSQL
lets the transaction live (`transaction_timeout`, set by the migrations); the reader that finds it
expired deletes the generation.

Redis is never needed: without it reads use the database and writes succeed. Readers do not ask a
Redis that failed for `BREAKER_PAUSE_SECONDS`. Writers ask it every time, as it may have recovered
for others: while it hangs, a write takes up to twice `REDIS_TIMEOUT_SECONDS` longer, and after each
pause `REDIS_CONNECT_TIMEOUT_SECONDS`. A worker that wrote while Redis could not be reached deletes
the generation before it uses Redis again; to other workers the pages may be stale until then, for
their TTL at most.

A Redis that rejects writes (demoted, denied by an ACL, out of disk) has missed invalidations, so
its pages are not trusted: each look-up writes, or tries to (the hit deletes its page's lease, which
hardly ever exists: nothing is replicated). A worker that was rejected leaves the connection and
deletes the generation before it trusts a page again. A primary that lost what it had acknowledged
(promoted before the latest writes were replicated, or restored from a snapshot) has another
replication id, so the generation that it has, and every page with it, is void. What remains: a
primary that was replaced, does not know it, and is still reached by some. There
`min-replicas-to-write` makes it reject writes, the connections to it end within
`CONNECTION_SECONDS`, and no page outlives its TTL.

The keys are on several slots, so cluster mode must be off, and the eviction policy must be one of
`volatile-*` or `noeviction`, as an evicted fence would be a cleared one. With `volatile-*` a full
Redis evicts pages and leases, which alone have a TTL; fences, generations and limits stay. With
`noeviction` it takes no pages, and its readers are not limited, until pages expire: `volatile-*` is
better.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from random import uniform
from secrets import token_bytes
from time import monotonic
from typing import Any, NamedTuple

from blog.cache.redis_connection import Argument, Script
from blog.cache.scripts import (
    GET_OR_LEASE,
    POPULATE,
    RELEASE_LEASE,
    TOKEN_BYTES,
    CacheUnavailable,
    redis_scripts,
)
from blog.observability import CacheOutcome, observe_cache
from blog.settings import settings

LEASE_SECONDS = 1.0
LEASE_WAIT_SECONDS = 1.0
LEASE_POLL_SECONDS = 0.005
LONGEST_LEASE_POLL_SECONDS = 0.08
EMPTY_PAGE_SECONDS = 1
"""A page without rows is kept no longer than the lease that every miss takes: any number of them
can be asked for, past the end or of unknown users."""


MAX_PAGE_BYTES = 256 * 1024
"""A larger page is not cached: a few clients that ask for the largest ones would have all others
evicted, and it would occupy Redis, which serves one command at a time. A page of 100 posts of 2 kB
fits, and 1000 pages of this size fit into the smallest cache of ElastiCache."""


class Loaded(NamedTuple):
    """A page's bytes as the database has them, and whether there is no row on it."""

    content: bytes
    is_empty: bool = False


class PageCache:
    """The cached pages of one list; `name` begins its keys, after the prefix of all."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def generation_key(self) -> str:
        return self._key("generation")

    @property
    def fence_key(self) -> str:
        return self._key("fence")

    async def fetch(self, page: str | None, load: Callable[[], Awaitable[Loaded]]) -> bytes:
        """Return the page's bytes: cached, or loaded and then cached.

        `page` is the rest of the page's key (`1:10`); None is not cached. `load` reads the
        database; what it raises is raised here. Redis's failures are not.
        """
        if page is None:
            observe_cache("bypass")
            return (await load()).content
        lease = token_bytes(TOKEN_BYTES)
        try:
            outcome, found = await self._look_up(page, lease)
        except CacheUnavailable as error:
            outcome, found = error.outcome, b""
        observe_cache(outcome)
        if outcome == "hit":
            return found
        if outcome != "miss":
            return (await load()).content
        try:
            loaded = await load()
        except Exception:
            await self._release(page, lease)
            raise
        await self._populate(page, lease, found, loaded)
        return loaded.content

    async def _look_up(self, page: str, lease: bytes) -> tuple[CacheOutcome, bytes]:
        """Return a hit with its content, a miss with the token to populate with, or a bypass."""
        keys = [self.generation_key, self.fence_key, *self.page_keys(page)]
        lease_milliseconds = int(LEASE_SECONDS * 1000)
        deadline = monotonic() + LEASE_WAIT_SECONDS
        pause_seconds = LEASE_POLL_SECONDS
        while True:
            fresh = token_bytes(TOKEN_BYTES)
            found = await self._run(GET_OR_LEASE, keys, fresh, lease, lease_milliseconds)
            if isinstance(found, bytes):
                content = found[TOKEN_BYTES:]
                return ("hit", content) if content else ("bypass", b"")
            if found and found[0] == b"lease":
                return "miss", found[1]
            if found or monotonic() > deadline:
                return "bypass", b""
            await asyncio.sleep(pause_seconds * uniform(0.5, 1.5))  # noqa: S311
            pause_seconds = min(2 * pause_seconds, LONGEST_LEASE_POLL_SECONDS)

    async def _populate(self, page: str, lease: bytes, token: bytes, loaded: Loaded) -> None:
        keys = [self.generation_key, *self.page_keys(page)]
        ttl_seconds = EMPTY_PAGE_SECONDS if loaded.is_empty else settings().cache_ttl_seconds
        # Readers of a page that is too large learn that here, and need not wait for each other.
        content = loaded.content if len(loaded.content) <= MAX_PAGE_BYTES else b""
        with surviving_redis():
            await self._run(POPULATE, keys, token + content, ttl_seconds, lease)

    async def _release(self, page: str, lease: bytes) -> None:
        _, lease_key = self.page_keys(page)
        with surviving_redis():
            await self._run(RELEASE_LEASE, [lease_key], lease)

    async def _run(self, script: Script, keys: list[str], *arguments: Argument) -> Any:
        redis = redis_scripts()
        try:
            return await redis.run(script, keys, *arguments)
        except CacheUnavailable as error:
            if error.rejects:  # writers were rejected as well, and could not delete it
                redis.stale_generations.add(self.generation_key)
            raise

    def page_keys(self, page: str) -> tuple[str, str]:
        return self._key(page), self._key(f"{page}:lease")

    def _key(self, rest: str) -> str:
        return f"{settings().cache_key_prefix}{self.name}:{rest}"


@contextmanager
def surviving_redis() -> Iterator[None]:
    """Record Redis's failure, and go on without it."""
    try:
        yield
    except CacheUnavailable as error:
        observe_cache(error.outcome)
