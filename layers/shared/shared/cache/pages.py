"""Cached list pages that are never stale after an acknowledged write.

A page is valid while nothing that it was read from has changed. Keys, each after
`CACHE_KEY_PREFIX`:

    generations          a hash: `articles`, the token of a table; `articles|all`, the token of its
                         pages that show rows of any scope; `|epoch`, see below; no TTL
    scope:articles:7     the token of one scope of a table; of its rows whose writer_id is 7
    fences               a sorted set of writes in progress, `table|writer` by their deadline
    writers:{page}:{limit} the page's dependencies, a line end, and its bytes, which are left out if
                         the page is too large to cache
    …:lease              held by the reader that populates this page

The dependencies are `{digest of its schema};{table}@{scope}={token}+{token};…`: for every table
that its statements read, the table's token, and the token of the selected scope or of `all`. They
are derived from the statements (`shared.database.dependencies`), as are the changes of a write.

A hit compares the page's tokens with the current ones. A miss takes the page's lease and the
tokens, reads the database, and stores the page if the tokens are still the same. A writer sets
fences on its changes before it commits: pages that depend on them are not served until the writer
has given new tokens to `all` and to the scopes of its row, before and after, or to the table. If
the writer crashed, or does not know whether its COMMIT took effect, its fence expires after
PostgreSQL has ended the transaction (`transaction_timeout`, set by the migrations); the reader that
finds it expired gives the table a new token.

`|epoch` is the primary's replication id, new whenever a server starts or is promoted, and the end
of a quarantine. A Redis without an epoch, or with another server's, may have lost fences: nothing
is served or stored for `FENCE_SECONDS`, until every write whose fence was lost is over.

Redis is optional: without it reads use the database, and writes succeed. Readers skip Redis for
`BREAKER_PAUSE_SECONDS` after a failure. Writers always try it, as other workers may be using it
again: while it hangs, a write takes up to twice `REDIS_TIMEOUT_SECONDS` longer, and after each
pause `REDIS_CONNECT_TIMEOUT_SECONDS`. A worker that could not void pages, or whose command Redis
rejected, gives the tables new tokens before it uses Redis again. docs/cache.md has the limits, and
the configuration of Redis: cluster mode off, as the keys are on several slots, and `volatile-*` or
`noeviction`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from random import uniform
from time import monotonic
from typing import NamedTuple

from pydantic import BaseModel

from shared.cache.redis_connection import Call
from shared.cache.scripts import (
    FENCE_SECONDS,
    LOOK_UP,
    RELEASE_LEASE,
    STORE,
    CacheUnavailable,
    key,
    new_token,
    redis_scripts,
)
from shared.request import ApiRequest, CacheOutcome, Record
from shared.schema_digest import schema_digest
from shared.settings import settings

LEASE_SECONDS = 1.0
LEASE_WAIT_SECONDS = 1.0
LEASE_POLL_SECONDS = 0.005
LONGEST_LEASE_POLL_SECONDS = 0.08
NARROWING_WAITS = 2
"""A table's fence is narrowed within a round trip, but another writer may have set one by then."""
EMPTY_PAGE_SECONDS = 1
"""Lifetime of a page without rows, as short as a lease: clients can request any number of them,
past the end or of unknown scopes."""
MAX_PAGE_BYTES = 256 * 1024
"""A larger page is not cached: a few clients could have all other pages evicted, and each would
occupy Redis, which serves one command at a time. A page of 100 rows of 2 kB fits, and 1000 pages of
this size fit into the smallest cache of ElastiCache."""
SCOPE_TTLS = 3
"""Lifetime of a scope's token, in lifetimes of a page: tokens of all scopes cannot fill Redis."""


class Loaded(NamedTuple):
    """A page read from the database: its bytes, its dependencies, and whether it has no rows.

    `depends_on` has the scope of each table that was read: empty for the whole table, None if no
    cached page may depend on the table.
    """

    content: bytes
    depends_on: Mapping[str, str | None]
    is_empty: bool = False


class Lease(NamedTuple):
    """The right to populate a page, with all tokens as they were before the database is read."""

    token: str
    epoch: bytes
    scope_token: bytes
    generations: Mapping[bytes, bytes]


class PageCache:
    """The cached pages of a list of the table `name`; `prefix` begins their keys, or the name.

    A page with another version of the `schema`, from before a release or of a canary, is not
    served.
    """

    def __init__(self, name: str, schema: type[BaseModel], prefix: str = "") -> None:
        self.name = name
        self._prefix = prefix or name
        self.digest = schema_digest(schema)

    async def fetch(
        self,
        request: ApiRequest,
        page: str | None,
        load: Callable[[], Awaitable[Loaded]],
        scope: str = "",
    ) -> bytes:
        """Return the page's bytes: cached, or loaded and then cached.

        `page` is the rest of the page's key (`1:10`), None for a page that is not cached. `load`
        reads the database; its errors are raised, those of Redis are not. `scope` is the scope
        whose rows the page shows. If it is missing, or not the one that the statements select, the
        page is still correct, but depends on the whole table.
        """
        record = request.record
        if page is None:
            record.observe_cache("bypass")
            return (await load()).content
        try:
            found = await self._look_up(request, page, scope)
        except CacheUnavailable as error:
            found = error.outcome
        if isinstance(found, bytes):
            record.observe_cache("hit")
            return found
        if not isinstance(found, Lease):
            record.observe_cache(found)
            return (await load()).content
        record.observe_cache("miss")
        try:
            loaded = await load()
        except Exception:
            await self._release(record, page, found)
            raise
        await self._store(record, page, found, loaded, scope)
        return loaded.content

    async def _look_up(
        self, request: ApiRequest, page: str, scope: str
    ) -> bytes | Lease | CacheOutcome:
        """Return the content for a hit, a lease for a miss, or `bypass`."""
        redis, lease = redis_scripts(), new_token()
        keys = [key("generations"), key("fences"), *self.page_keys(page)]
        if scope:
            keys.append(self._scope_key(scope))
        deadline, waits = monotonic() + LEASE_WAIT_SECONDS, NARROWING_WAITS
        pause_seconds = LEASE_POLL_SECONDS
        while True:
            arguments = (
                int(FENCE_SECONDS * 1000),
                new_token(),
                lease,
                int(LEASE_SECONDS * 1000),
                self.digest,
                self.name,
                scope,
                key("scope:"),
                self._scope_milliseconds(),
            )
            found = await redis.run(Call(LOOK_UP, keys, arguments), request.limit)
            if isinstance(found, bytes):
                return found or "bypass"
            if found and found[0] == b"lease":
                _, epoch, scope_token, generations = found
                tokens = dict(zip(generations[::2], generations[1::2], strict=True))
                return Lease(lease, epoch, scope_token, tokens)
            is_narrowing = found == [b"narrowing"] and waits > 0
            if (found and not is_narrowing) or monotonic() > deadline:
                return "bypass"
            waits -= is_narrowing
            await asyncio.sleep(pause_seconds * uniform(0.5, 1.5))  # noqa: S311
            pause_seconds = min(2 * pause_seconds, LONGEST_LEASE_POLL_SECONDS)

    async def _store(
        self, record: Record, page: str, lease: Lease, loaded: Loaded, scope: str
    ) -> None:
        if not loaded.depends_on or None in loaded.depends_on.values():
            await self._release(record, page, lease)
            return
        header, generations, is_scoped = self._header(lease, loaded.depends_on, scope)
        # A page that is too large is stored without its bytes, so that readers do not queue for it.
        content = loaded.content if len(loaded.content) <= MAX_PAGE_BYTES else b""
        keys = [key("generations"), *self.page_keys(page)]
        if is_scoped:
            keys.append(self._scope_key(scope))
        arguments = (
            lease.token,
            lease.epoch,
            EMPTY_PAGE_SECONDS if loaded.is_empty else settings().cache_ttl_seconds,
            self._scope_milliseconds(),
            header + content,
            lease.scope_token,
            *generations,
        )
        with surviving_redis(record):
            await redis_scripts().post(Call(STORE, keys, arguments))

    def _header(
        self, lease: Lease, depends_on: Mapping[str, str | None], scope: str
    ) -> tuple[bytes, list[str | bytes], bool]:
        """Return the dependencies as they are stored, the arguments of `STORE` for the generations
        among them, and whether the page depends on `scope` only."""
        header, generations, is_scoped = [self.digest.encode()], list[str | bytes](), False
        for table, selected in depends_on.items():
            shown = scope if (table, selected) == (self.name, scope) else ""
            tokens: list[bytes] = []
            for field in (table,) if shown else (table, f"{table}|all"):
                known = lease.generations.get(field.encode())
                token = known or new_token().encode()
                generations += [field, token, "" if known else "1"]
                tokens.append(token)
            if shown:
                is_scoped = True
                tokens.append(lease.scope_token)
            header.append(f"{table}@{shown}=".encode() + b"+".join(tokens))
        return b";".join(header) + b"\n", generations, is_scoped

    async def _release(self, record: Record, page: str, lease: Lease) -> None:
        _, lease_key = self.page_keys(page)
        with surviving_redis(record):
            await redis_scripts().post(Call(RELEASE_LEASE, [lease_key], (lease.token,)))

    def page_keys(self, page: str) -> tuple[str, str]:
        return key(f"{self._prefix}:{page}"), key(f"{self._prefix}:{page}:lease")

    def _scope_key(self, scope: str) -> str:
        return key(f"scope:{self.name}:{scope}")

    def _scope_milliseconds(self) -> int:
        return SCOPE_TTLS * settings().cache_ttl_seconds * 1000


@contextmanager
def surviving_redis(record: Record) -> Iterator[None]:
    """Record a failure of Redis, and continue without it."""
    try:
        yield
    except CacheUnavailable as error:
        record.observe_cache(error.outcome)
