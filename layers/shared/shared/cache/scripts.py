"""The steps of the cache's protocol: Lua scripts, each one round trip and atomic.

`shared.cache.pages` describes the protocol and its keys. KEYS[1] is the hash of the generations,
KEYS[2] the sorted set of the fences. Other keys have names that the scripts read from values, so
cluster mode must be off.
"""

from collections.abc import Iterable
from secrets import token_hex
from typing import Any

from redis.exceptions import RedisError

from shared.cache.circuit_breaker import CircuitBreaker
from shared.cache.redis_connection import (
    Call,
    PostedCallFailed,
    RedisConnection,
    Script,
)
from shared.cache.redis_url import InvalidRedisUrl
from shared.observability import logger
from shared.process import close_at_reset, per_process
from shared.request import CacheOutcome, CallerLimit
from shared.settings import settings

FENCE_SECONDS = 20.0
"""Longer than a request and its transaction together, as a fence may be set before the server gets
BEGIN. After a writer crashes, the pages of its tables are not cached for this long."""
BREAKER_PAUSE_SECONDS = 2.0
ALL_TABLES = "*"
TOKEN_BYTES = 8

# A full Redis accepts neither a fence nor a new token: the generations are deleted instead, and the
# next look-up begins a quarantine.
VOID_TABLE = """
local function void(field, token)
    local set = redis.pcall('HSET', KEYS[1], field, token)
    if type(set) == 'table' and set.err then redis.call('DEL', KEYS[1]) end
end
"""
NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""


def is_page_or_lease(result: Any) -> bool:
    match result:
        case bytes():
            return True
        case [b"lease", bytes(), bytes(), list() as generations]:
            return len(generations) % 2 == 0
    return result in ([], [b"fenced"], [b"narrowing"])


# The last of ARGV is the call's tag (`shared.cache.redis_connection`).
# KEYS: generations, fences, page, lease, and the scope's key, if the page has one.
# ARGV: milliseconds of a fence, a new token, the lease, its milliseconds, the schema's digest, the
# page's table, its scope, the prefix of scopes' keys, milliseconds of a scope.
# Return the page; {} while another reader populates it; {'fenced'}; {'narrowing'} if only fences of
# whole tables apply to it, which are about to be narrowed, perhaps to other scopes; or
# {'lease', epoch, the scope's token, fields and tokens of generations}.
LOOK_UP = Script(
    f"""{NOW}{VOID_TABLE}
local server = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
local epoch = redis.call('HGET', KEYS[1], '|epoch')
if not epoch or string.sub(epoch, 1, #server) ~= server then
    epoch = string.format('%s:%.0f', server, now + ARGV[1])
    redis.call('DEL', KEYS[1])
    redis.call('HSET', KEYS[1], '|epoch', epoch)
end
local members = redis.call('ZRANGE', KEYS[2], 0, -1)
if #members > 0 then
    for _, expired in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now)) do
        void(string.match(expired, '^[^@|]+'), ARGV[2])
        redis.call('ZREM', KEYS[2], expired)
    end
    members = redis.call('ZRANGE', KEYS[2], 0, -1)
end
if now < tonumber(string.sub(epoch, #server + 2)) then return {{'fenced'}} end
local fenced = {{}}
for _, member in ipairs(members) do
    local name = string.match(member, '^[^|]+')
    local table_, scope = string.match(name, '^([^@]+)@?(.*)$')
    fenced[name] = true
    fenced[table_ .. '@*'] = true
end
local function is_fenced(table_, scope)
    return fenced[table_ .. '@' .. (scope == '' and '*' or scope)]
end
local page = redis.call('GET', KEYS[3])
local header_ends = page and string.find(page, '\\n', 1, true)
if header_ends then
    local header = string.sub(page, 1, header_ends)
    local valid, narrowing = string.match(header, '^%x*') == ARGV[5], false
    for table_, scope, whole, part in string.gmatch(header, ';([^@]+)@([^=]*)=(%x+)%+(%x+)') do
        if is_fenced(table_, scope) then return {{'fenced'}} end
        narrowing = narrowing or fenced[table_]
        if valid and redis.call('HGET', KEYS[1], table_) ~= whole then valid = false end
        local token = valid and (scope == '' and redis.call('HGET', KEYS[1], table_ .. '|all')
            or scope ~= '' and redis.call('GET', ARGV[8] .. table_ .. ':' .. scope))
        if token ~= part then valid = false end
    end
    if valid then
        if narrowing then return {{'narrowing'}} end
        redis.call('DEL', KEYS[4])
        return string.sub(page, header_ends + 1)
    end
end
if is_fenced(ARGV[6], ARGV[7]) then return {{'fenced'}} end
local leased = redis.call('SET', KEYS[4], ARGV[3], 'NX', 'PX', ARGV[4])
if not leased and redis.call('GET', KEYS[4]) ~= ARGV[3] then return {{}} end
local scope_token = ''
if KEYS[5] then
    redis.call('SET', KEYS[5], ARGV[2], 'NX', 'PX', ARGV[9])
    scope_token = redis.call('GET', KEYS[5])
end
return {{'lease', epoch, scope_token, redis.call('HGETALL', KEYS[1])}}
""",
    is_page_or_lease,
)

# KEYS: generations, page, lease, and the scope's key, if the page has one.
# ARGV: the lease, the epoch, seconds of the page, milliseconds of a scope, the page, the scope's
# token, and a field, its token, and '1' if the token is new, for each generation it depends on.
STORE = Script("""
if redis.call('GET', KEYS[3]) == ARGV[1] then redis.call('DEL', KEYS[3]) end
if redis.call('HGET', KEYS[1], '|epoch') ~= ARGV[2] then return end
for i = 7, #ARGV - 1, 3 do
    local token = redis.call('HGET', KEYS[1], ARGV[i])
    if ARGV[i + 2] == '1' and token or ARGV[i + 2] == '' and token ~= ARGV[i + 1] then return end
end
if KEYS[4] then
    if redis.call('GET', KEYS[4]) ~= ARGV[6] then return end
    redis.call('PEXPIRE', KEYS[4], ARGV[4])
end
for i = 7, #ARGV - 1, 3 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('SET', KEYS[2], ARGV[5], 'EX', ARGV[3])
""")

RELEASE_LEASE = Script("""
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
""")

# ARGV: milliseconds of a fence, the number of fences, their members, and the members that they
# replace.
SET_FENCES = Script(f"""{NOW}
local fences = tonumber(ARGV[2])
for i = 3, 2 + fences do
    local set = redis.pcall('ZADD', KEYS[2], now + ARGV[1], ARGV[i])
    if type(set) == 'table' and set.err then redis.call('DEL', KEYS[1]) end
end
for i = 3 + fences, #ARGV - 1 do redis.call('ZREM', KEYS[2], ARGV[i]) end
""")

# KEYS: generations, fences, and the keys of scopes to void.
# ARGV: a new token, the number of fences, their members, and the fields to void.
CLEAR_FENCES = Script(f"""{VOID_TABLE}
local fences = tonumber(ARGV[2])
for i = 3, 2 + fences do redis.call('ZREM', KEYS[2], ARGV[i]) end
for i = 3 + fences, #ARGV - 1 do void(ARGV[i], ARGV[1]) end
for i = 3, #KEYS do redis.call('DEL', KEYS[i]) end
""")

# KEYS: generations. ARGV: a new token, and tables, or '*' for all.
VOID_TABLES = Script(f"""{VOID_TABLE}
if ARGV[2] ~= '*' then
    for i = 2, #ARGV - 1 do void(ARGV[i], ARGV[1]) end
    return
end
local fields = redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
    if fields[i] ~= '|epoch' then void(fields[i], ARGV[1]) end
end
""")


def new_token() -> str:
    return token_hex(TOKEN_BYTES)


def key(name: str) -> str:
    """Return the key with the deployment's prefix."""
    return f"{settings().cache_key_prefix}{name}"


class CacheUnavailable(Exception):
    """Redis failed (`outcome` error), or was skipped (`outcome` bypass), as no URL is set or the
    circuit is open."""

    def __init__(self, outcome: CacheOutcome) -> None:
        super().__init__(outcome)
        self.outcome = outcome


class RedisScripts:
    """Runs scripts on the worker's Redis connection."""

    def __init__(self, url_or_arn: str, timeout_seconds: float) -> None:
        self.connection = RedisConnection(url_or_arn, timeout_seconds)
        self.breaker = CircuitBreaker(BREAKER_PAUSE_SECONDS)
        self._invalid_url = ""
        self.stale_tables: set[str] = set()
        """Tables to void before Redis is used again, as a write of this worker could not. All
        tables if Redis rejected a command, as it may have rejected other workers' too."""

    async def run(
        self, call: Call, counts: CallerLimit | None = None, *, ignores_breaker: bool = False
    ) -> Any:
        """Return the script's result; in the same round trip count a request towards its limit.

        Raises `CacheUnavailable`, also while the breaker is open, unless it is ignored: Redis may
        have recovered, and other workers may be using it.
        """
        count = counts.take() if counts is not None else None
        if counts is None or count is None:
            return await self._run(call, ignores_breaker=ignores_breaker)
        counted = None
        try:
            joined = count.before(call)
            counted, result = await self._run(joined, ignores_breaker=ignores_breaker)
            return result
        finally:
            counts.settle(counted)

    async def _run(self, call: Call, *, ignores_breaker: bool) -> Any:
        if self.breaker.is_open and not ignores_breaker:
            raise CacheUnavailable("bypass")
        try:
            try:
                result = await self._run_once(call)
            except PostedCallFailed:
                return await self._run_once(call)
            # An earlier attempt was rejected: this result may be older than other workers' writes.
            return await self._run_once(call) if self.connection.was_rejected else result
        except (RedisError, OSError) as error:
            raise self._failed(error) from error

    async def _run_once(self, call: Call) -> Any:
        await self._prepare()
        return await self.connection.run(call)

    async def post(self, call: Call, voids: Iterable[str] = ()) -> None:
        """Send a script without awaiting its response, which is read before the next call's.

        If the call fails, the tables are voided before Redis is used again. Raises
        `CacheUnavailable` if it cannot be sent.
        """
        tables = frozenset(voids)
        try:
            await self._prepare()
            await self.connection.post(call, failed=lambda: self.stale_tables.update(tables))
        except BaseException as error:
            self.stale_tables.update(tables)
            if isinstance(error, RedisError | OSError):
                raise self._failed(error) from error
            raise

    async def void(self, call: Call, voids: Iterable[str]) -> None:
        """As `post`, but await the response."""
        try:
            await self.run(call, ignores_breaker=True)
        except BaseException:
            self.stale_tables.update(voids)
            raise

    async def _prepare(self) -> None:
        # A Redis that has just failed may hang: calls that ignore the breaker wait less to connect.
        self.connection.connect_timeout_seconds = (
            self.connection.timeout_seconds
            if self.breaker.is_open
            else settings().redis_connect_timeout_seconds
        )
        if self.connection.was_rejected:
            self.connection.was_rejected = False
            self.stale_tables.add(ALL_TABLES)
        if not self.stale_tables:
            return
        tables = [ALL_TABLES] if ALL_TABLES in self.stale_tables else sorted(self.stale_tables)
        await self.connection.run(Call(VOID_TABLES, [key("generations")], (new_token(), *tables)))
        self.stale_tables.clear()

    def _failed(self, error: RedisError | OSError) -> CacheUnavailable:
        self._log(error)
        self.breaker.failed()
        return CacheUnavailable("error")

    def _log(self, error: Exception) -> None:
        """Log one error in each pause of the breaker, and an invalid URL only once."""
        kind, reason = type(error).__name__, str(error)
        if isinstance(error, InvalidRedisUrl):
            if reason != self._invalid_url:
                logger().error("redis is not used", error=kind, reason=reason)
            self._invalid_url = reason
        elif not self.breaker.is_open:
            logger().warning("redis error", error=kind, reason=reason)


@per_process
def redis_scripts() -> RedisScripts:
    """Return the worker's scripts. Raises `CacheUnavailable` if no `REDIS_URL` is set."""
    url_or_arn = settings().redis_url
    if url_or_arn is None:
        raise CacheUnavailable("bypass")
    scripts = RedisScripts(url_or_arn, settings().redis_timeout_seconds)
    close_at_reset(scripts.connection.close)
    return scripts
