"""Fences of a write: no page of the lists that it invalidates is served from before its COMMIT
until after it.

They are set while the statement runs, so they cost a write no round trip before its COMMIT, and
one after it. Redis's failures do not stop a write; `blog.cache.pages` says what they cost.
"""

import asyncio
from secrets import token_bytes

from blog.cache.pages import PageCache, surviving_redis
from blog.cache.scripts import (
    CLEAR_FENCES,
    SET_FENCES,
    TOKEN_BYTES,
    WITHDRAW_FENCES,
    CacheUnavailable,
    redis_scripts,
)

FENCE_SECONDS = 20.0
"""Longer than a request and its transaction together may last, as a fence may be set before BEGIN
is received; a writer that crashes costs the cache this long."""


class Fences:
    """The fences of one write, on each of the lists: a transaction's `Invalidation`.

    A write whose outcome is unknown calls neither `committed` nor `rolled_back`: its COMMIT may
    still come through, and the fences stand until it no longer can.
    """

    def __init__(self, *lists: PageCache) -> None:
        self._keys = [key for one in lists for key in (one.fence_key, one.generation_key)]
        self._writer = token_bytes(TOKEN_BYTES)
        self._setting: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to set them."""
        if self._setting is None:
            self._setting = asyncio.create_task(self._set())

    async def ready(self) -> None:
        """Return when they stand, or Redis has failed."""
        if self._setting is not None:
            # A deadline that expires here must not stop it: `rolled_back` waits for its end.
            await asyncio.shield(self._setting)

    async def committed(self) -> None:
        """Void the pages, and clear the fences."""
        with surviving_redis():
            redis = redis_scripts()
            try:
                await redis.run_anyway(CLEAR_FENCES, self._keys, self._writer)
            except (CacheUnavailable, asyncio.CancelledError):
                redis.stale_generations.update(self._keys[1::2])
                raise

    async def rolled_back(self) -> None:
        """Clear the fences; the pages are as good as before."""
        if self._setting is None:
            return
        await self._setting
        with surviving_redis():
            await redis_scripts().run_anyway(WITHDRAW_FENCES, self._keys, self._writer)

    async def _set(self) -> None:
        with surviving_redis():
            milliseconds = int(FENCE_SECONDS * 1000)
            await redis_scripts().run_anyway(SET_FENCES, self._keys, self._writer, milliseconds)
