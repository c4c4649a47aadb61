"""The steps of the cache's protocol: Lua scripts, each one round trip and atomic.

`blog.cache.pages` says what they do together. Scripts that take several lists take the keys of
each list's fence and generation, in turn.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

from redis.exceptions import RedisError, ResponseError

from blog.cache.access import InvalidRedisUrl
from blog.cache.circuit_breaker import CircuitBreaker
from blog.cache.redis_connection import Argument, Call, RedisConnection, Script
from blog.observability import CacheOutcome, logger
from blog.process import close_at_reset, per_process
from blog.settings import settings

TOKEN_BYTES = 16
BREAKER_PAUSE_SECONDS = 2.0


def is_page_or_lease(result: Any) -> bool:
    match result:
        case bytes() as page:
            return len(page) >= TOKEN_BYTES
        case [b"lease", bytes() as token]:
            return len(token) == TOKEN_BYTES
    return result in ([], [b"fenced"])


# Return the page, or {} while another reader populates it, {'fenced'}, or {'lease', token}.
GET_OR_LEASE = Script(
    f"""
if redis.call('EXISTS', KEYS[2]) == 1 then
    local time = redis.call('TIME')
    local now_milliseconds = time[1] * 1000 + math.floor(time[2] / 1000)
    if redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now_milliseconds) > 0 then
        redis.call('DEL', KEYS[1])
    end
    if redis.call('EXISTS', KEYS[2]) == 1 then return {{'fenced'}} end
end
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
if not token then
    token = ARGV[1]
    redis.call('SET', KEYS[1], token .. server)
end
if not redis.call('SET', KEYS[4], ARGV[2], 'NX', 'PX', ARGV[3]) then
    -- It is this reader's own if the response to an earlier call of it was lost.
    if redis.call('GET', KEYS[4]) ~= ARGV[2] then return {{}} end
end
return {{'lease', token}}
""",
    is_page_or_lease,
)

POPULATE = Script(f"""
local token = string.sub(ARGV[1], 1, {TOKEN_BYTES})
if string.sub(redis.call('GET', KEYS[1]) or '', 1, {TOKEN_BYTES}) == token then
    redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[2])
end
if redis.call('GET', KEYS[3]) == ARGV[3] then redis.call('DEL', KEYS[3]) end
""")

RELEASE_LEASE = Script("""
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
""")

# A Redis that is full takes no fence; it takes no page either once the generation is deleted.
SET_FENCES = Script("""
local time = redis.call('TIME')
local deadline_milliseconds = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[2]
for i = 1, #KEYS, 2 do
    local set = redis.pcall('ZADD', KEYS[i], deadline_milliseconds, ARGV[1])
    if type(set) == 'table' and set.err then redis.call('DEL', KEYS[i + 1]) end
end
""")

DELETE_GENERATIONS = Script("redis.call('DEL', unpack(KEYS))")

CLEAR_FENCES = Script("""
for i = 1, #KEYS, 2 do
    redis.call('ZREM', KEYS[i], ARGV[1])
    redis.call('DEL', KEYS[i + 1])
end
""")

WITHDRAW_FENCES = Script("""
for i = 1, #KEYS, 2 do redis.call('ZREM', KEYS[i], ARGV[1]) end
""")


class CacheUnavailable(Exception):
    """Redis failed (`outcome` error), or is not asked (`outcome` bypass): none is set, or it
    failed a moment ago. `rejects`: it responds, and rejects commands."""

    def __init__(self, outcome: CacheOutcome, *, rejects: bool = False) -> None:
        super().__init__(outcome)
        self.outcome = outcome
        self.rejects = rejects


@dataclass(frozen=True)
class SentAhead:
    """A call that is sent with the next one, and its result."""

    call: Call
    result: asyncio.Future[Any]


class RedisScripts:
    """Runs scripts on the worker's Redis connection."""

    def __init__(self, url_or_arn: str, timeout_seconds: float) -> None:
        self.connection = RedisConnection(url_or_arn, timeout_seconds)
        self.breaker = CircuitBreaker(BREAKER_PAUSE_SECONDS)
        self.stale_generations: set[str] = set()
        """Keys to delete before Redis is used again: a write of this worker could not, or one of
        its reads was rejected, as writes of others will have been."""
        self._ahead: SentAhead | None = None
        self._invalid_url = ""

    async def run(self, script: Script, keys: list[str], *arguments: Argument) -> Any:
        """Return the script's result. Raises `CacheUnavailable`, also while the breaker is open."""
        if self.breaker.is_open:
            raise CacheUnavailable("bypass")
        return await self.run_anyway(script, keys, *arguments)

    async def run_anyway(self, script: Script, keys: list[str], *arguments: Argument) -> Any:
        """As `run`, but whatever the breaker: Redis may have recovered, and others use it."""
        call, ahead = Call(script, keys, arguments), self._ahead
        if ahead is None:
            return (await self._run(call))[0]
        self._ahead = None
        try:
            first, result = await self._run(ahead.call, call)
        except CacheUnavailable as error:
            ahead.result.set_exception(error)
            raise
        except BaseException:
            # Only this call is cancelled; what waits for the other goes on without Redis.
            ahead.result.set_exception(CacheUnavailable("error"))
            raise
        ahead.result.set_result(first)
        return result

    def send_ahead(self, script: Script, keys: list[str], *arguments: Argument) -> SentAhead:
        """Run this in one round trip with the next script, and before it, or in `result_of`."""
        result = asyncio.get_running_loop().create_future()
        self._ahead = SentAhead(Call(script, keys, arguments), result)
        return self._ahead

    async def result_of(self, ahead: SentAhead) -> Any:
        """Return its result, running it now if nothing has taken it along. Raises as `run`."""
        if ahead is not self._ahead:
            # Who is no longer interested must not stop the call that has taken it along.
            return await asyncio.shield(ahead.result)
        self._ahead = None
        script, keys, arguments = ahead.call
        return await self.run(script, list(keys), *arguments)

    async def _run(self, *calls: Call) -> list[Any]:
        # A Redis that has just failed may hang: what asks it anyway does not wait for as long.
        self.connection.connect_timeout_seconds = (
            self.connection.timeout_seconds
            if self.breaker.is_open
            else settings().redis_connect_timeout_seconds
        )
        try:
            await self._delete_stale_generations()
            return await self.connection.run(*calls)
        except (RedisError, OSError) as error:
            self._log(error)
            self.breaker.failed()
            rejects = isinstance(error, ResponseError)
            raise CacheUnavailable("error", rejects=rejects) from error

    async def _delete_stale_generations(self) -> None:
        if self.stale_generations:
            await self.connection.run(Call(DELETE_GENERATIONS, list(self.stale_generations)))
            self.stale_generations.clear()

    def _log(self, error: Exception) -> None:
        """Once for each pause; an invalid URL, which does not mend itself, once."""
        kind, reason = type(error).__name__, str(error)
        if isinstance(error, InvalidRedisUrl):
            if reason != self._invalid_url:
                logger().error("redis is not used", error=kind, reason=reason)
            self._invalid_url = reason
        elif not self.breaker.is_open:
            logger().warning("redis error", error=kind, reason=reason)


@per_process
def redis_scripts() -> RedisScripts:
    """Return the worker's Redis. Raises `CacheUnavailable` if none is set."""
    url_or_arn = settings().redis_url
    if url_or_arn is None:
        raise CacheUnavailable("bypass")
    scripts = RedisScripts(url_or_arn, settings().redis_timeout_seconds)
    close_at_reset(scripts.connection.close)
    return scripts
