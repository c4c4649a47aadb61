"""Cached list pages that are never stale after an acknowledged write.

Keys of a list, here `users`, each after `CACHE_KEY_PREFIX`:

    users:generation     token ‖ server; no TTL; deleting it makes every page stale at once
    users:fence          sorted set of writes in progress, scored by their deadline (Redis's clock)
    users:{page}:{limit} token ‖ bytes of the page
    …:lease              who fills that page now

The token is random; the server is the primary's replication id, new whenever a server starts or
is promoted.

A reader makes one round trip for a hit. On a miss it takes the page's lease, reads the database
and fills the page, but only if the generation is still the one from before its read. While a
fence stands there is no generation, and readers fill nothing. A writer puts up its fence before
COMMIT and takes it down after COMMIT, deleting the generation both times, before it answers. A
fence whose writer crashed, or does not know whether COMMIT came through, runs out by itself, later
than PostgreSQL lets the transaction live (`transaction_timeout`, set by the migrations).

Redis is never needed: without it reads go to the database and writes go through. Readers leave a
Redis that failed alone for a while. Writers ask it every time, as it may be back for others: while
it hangs, a write takes up to twice `REDIS_TIMEOUT_SECONDS` longer. A sandbox that
wrote while Redis could not be reached deletes the generation before it uses Redis again; to other
sandboxes the pages may be stale until then, for their TTL at most.

A Redis that rejects writes (demoted, denied by an ACL, out of disk) has missed invalidations, so
its pages are not trusted: each look-up writes, or tries to (the hit deletes its page's lease, which
hardly ever exists: nothing is replicated). Who was rejected leaves the connection and deletes the
generation before it trusts a page again. A primary that lost what it had acknowledged (promoted
before the latest writes were replicated, or restored from a snapshot) has another replication id,
so the generation that it has, and every page with it, is void. What remains: a primary that was
replaced, is not told, and is still reached by some. There `min-replicas-to-write` makes it reject
writes, the connections to it end within `CONNECTION_SECONDS`, and no page outlives its TTL.

The keys are on several slots, so cluster mode must be off, and the eviction policy must be one of
`volatile-*` or `noeviction`, as an evicted fence would be a fence taken down.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from random import uniform
from secrets import token_bytes
from time import monotonic
from typing import Any, NamedTuple

from redis.exceptions import RedisError, ResponseError

from blog.cache.circuit_breaker import CircuitBreaker
from blog.cache.redis_connection import Argument, RedisConnection, Script
from blog.errors import OutcomeUnknown
from blog.observability import CacheOutcome, logger, observe_cache
from blog.process import close_at_reset, per_process
from blog.settings import settings

TOKEN_BYTES = 16
LEASE_SECONDS = 1.0
LEASE_WAIT_SECONDS = 1.0
LEASE_POLL_SECONDS = 0.02
LONGEST_LEASE_POLL_SECONDS = 0.16
FENCE_SECONDS = 15.0
"""Longer than `transaction_timeout`; a crashed writer costs the cache this long."""
BREAKER_PAUSE_SECONDS = 2.0
EMPTY_PAGE_SECONDS = 1
"""A page without rows is kept no longer than the lease that every miss takes: anybody can ask for
any number of them, past the end or of unknown users."""

# Answers the page, or {} while another reader fills it, {'fenced'}, or {'lease', token}.
GET_OR_LEASE = Script(f"""
local server = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
local generation = redis.call('GET', KEYS[1])
local token = generation and string.sub(generation, 1, {TOKEN_BYTES})
if generation ~= (token or '') .. server then token = nil end
if token then
    local page = redis.call('GET', KEYS[3])
    if page and string.sub(page, 1, {TOKEN_BYTES}) == token then
        redis.call('DEL', KEYS[4])
        return page
    end
end
local time = redis.call('TIME')
local now_milliseconds = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now_milliseconds)
if redis.call('EXISTS', KEYS[2]) == 1 then return {{'fenced'}} end
if not token then
    token = ARGV[1]
    redis.call('SET', KEYS[1], token .. server)
end
if not redis.call('SET', KEYS[4], ARGV[2], 'NX', 'PX', ARGV[3]) then return {{}} end
return {{'lease', token}}
""")

POPULATE = Script(f"""
local token = string.sub(ARGV[1], 1, {TOKEN_BYTES})
if string.sub(redis.call('GET', KEYS[1]) or '', 1, {TOKEN_BYTES}) == token then
    redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[2])
end
if redis.call('GET', KEYS[3]) == ARGV[3] then redis.call('DEL', KEYS[3]) end
""")

# Where Redis is full the deletion still happens.
SET_FENCES = Script("""
local time = redis.call('TIME')
local deadline_milliseconds = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[2]
for i = 2, #KEYS, 2 do redis.call('DEL', KEYS[i]) end
for i = 1, #KEYS, 2 do redis.call('ZADD', KEYS[i], deadline_milliseconds, ARGV[1]) end
""")

CLEAR_FENCES = Script("""
for i = 1, #KEYS, 2 do
    redis.call('ZREM', KEYS[i], ARGV[1])
    redis.call('DEL', KEYS[i + 1])
end
""")


class CacheUnavailable(Exception):
    """Redis failed (`outcome` error), or is not asked (`outcome` bypass): none is set, or it
    failed a moment ago. `rejects`: it answers, and takes no commands."""

    def __init__(self, outcome: CacheOutcome, *, rejects: bool = False) -> None:
        super().__init__(outcome)
        self.outcome = outcome
        self.rejects = rejects


class Loaded(NamedTuple):
    """A page's bytes as the database has them, and whether there is no row on it."""

    content: bytes
    is_empty: bool = False


class RedisScripts:
    """The protocol's steps, each one round trip; all raise `CacheUnavailable`."""

    def __init__(self, url_or_arn: str, timeout_seconds: float) -> None:
        self.connection = RedisConnection(url_or_arn, timeout_seconds)
        self.breaker = CircuitBreaker(BREAKER_PAUSE_SECONDS)
        self.stale_generations: set[str] = set()
        """Keys to delete before Redis is used again: a write of this sandbox could not, or a read
        of it was rejected, as writes of others will have been."""

    async def run(self, script: Script, keys: list[str], *arguments: Argument) -> Any:
        if self.breaker.is_open:
            raise CacheUnavailable("bypass")
        return await self.run_anyway(script, keys, *arguments)

    async def run_anyway(self, script: Script, keys: list[str], *arguments: Argument) -> Any:
        """Also while the breaker is open: Redis may be back already, and others use it."""
        try:
            await self._delete_stale_generations()
            return await self.connection.run(script, keys, arguments)
        except (RedisError, OSError) as error:
            if not self.breaker.is_open:
                logger().warning("redis error", error=type(error).__name__, reason=str(error))
            self.breaker.failed()
            rejects = isinstance(error, ResponseError)
            raise CacheUnavailable("error", rejects=rejects) from error

    async def check(self) -> None:
        """Run what readers and writers run, on a list of its own.

        Raises `RedisError` and `OSError`.
        """
        checked = PageCache("health")
        writer, keys = token_bytes(TOKEN_BYTES), [checked.fence_key, checked.generation_key]
        reader_keys = [checked.generation_key, checked.fence_key, *checked.page_keys("1:1")]
        await self.connection.run(GET_OR_LEASE, reader_keys, (writer, writer, 1))
        await self.connection.run(SET_FENCES, keys, (writer, 1))
        await self.connection.run(CLEAR_FENCES, keys, (writer,))

    async def _delete_stale_generations(self) -> None:
        if self.stale_generations:
            await self.connection.command("DEL", *self.stale_generations)
            self.stale_generations.clear()


@per_process
def redis_scripts() -> RedisScripts:
    """The sandbox's Redis. Raises `CacheUnavailable` where none is set."""
    url_or_arn = settings().redis_url
    if url_or_arn is None:
        raise CacheUnavailable("bypass")
    scripts = RedisScripts(url_or_arn, settings().redis_timeout_seconds)
    close_at_reset(scripts.connection.close)
    return scripts


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
        """The page's bytes: cached, or loaded and then cached.

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
        loaded = await load()
        if outcome == "miss":
            await self._fill(page, lease, found, loaded)
        return loaded.content

    async def _look_up(self, page: str, lease: bytes) -> tuple[CacheOutcome, bytes]:
        """A hit with the content, a miss with the token to fill with, or a bypass with nothing."""
        keys = [self.generation_key, self.fence_key, *self.page_keys(page)]
        lease_milliseconds = int(LEASE_SECONDS * 1000)
        give_up_at = monotonic() + LEASE_WAIT_SECONDS
        pause_seconds = LEASE_POLL_SECONDS
        while True:
            fresh = token_bytes(TOKEN_BYTES)
            answer = await self._run(GET_OR_LEASE, keys, fresh, lease, lease_milliseconds)
            if isinstance(answer, bytes):
                return "hit", answer[TOKEN_BYTES:]
            if answer and answer[0] == b"lease":
                return "miss", answer[1]
            if answer or monotonic() > give_up_at:
                return "bypass", b""
            await asyncio.sleep(pause_seconds * uniform(0.5, 1.5))  # noqa: S311
            pause_seconds = min(2 * pause_seconds, LONGEST_LEASE_POLL_SECONDS)

    async def _fill(self, page: str, lease: bytes, token: bytes, loaded: Loaded) -> None:
        keys = [self.generation_key, *self.page_keys(page)]
        ttl_seconds = EMPTY_PAGE_SECONDS if loaded.is_empty else settings().cache_ttl_seconds
        with _surviving_redis():
            await self._run(POPULATE, keys, token + loaded.content, ttl_seconds, lease)

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


@asynccontextmanager
async def invalidation(*caches: PageCache) -> AsyncIterator[None]:
    """Fences around a COMMIT: no page of `caches` from before it is served after it.

    Redis's failures do not stop the write; the module's docstring says what they cost.
    """
    writer = token_bytes(TOKEN_BYTES)
    keys = [key for cache in caches for key in (cache.fence_key, cache.generation_key)]
    with _surviving_redis():
        redis = redis_scripts()
        await redis.run_anyway(SET_FENCES, keys, writer, int(FENCE_SECONDS * 1000))
    try:
        yield
    except OutcomeUnknown:
        raise  # COMMIT may still come through: the fence stands until it no longer can
    except Exception:
        await _clear_fences(keys, writer)
        raise
    await _clear_fences(keys, writer)


async def _clear_fences(keys: list[str], writer: bytes) -> None:
    with _surviving_redis():
        redis = redis_scripts()
        try:
            await redis.run_anyway(CLEAR_FENCES, keys, writer)
        except (CacheUnavailable, asyncio.CancelledError):
            redis.stale_generations.update(keys[1::2])
            raise


@contextmanager
def _surviving_redis() -> Iterator[None]:
    """Redis's failure is counted, and is nobody else's."""
    try:
        yield
    except CacheUnavailable as error:
        observe_cache(error.outcome)
