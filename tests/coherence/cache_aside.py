"""Cache-aside, the stale pages of which the tests must find: a write deletes pages after COMMIT."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Set
from typing import cast

from shared.cache.fences import Fences
from shared.cache.pages import Loaded, PageCache
from shared.cache.redis_connection import Call, Script
from shared.cache.scripts import redis_scripts
from shared.request import ApiRequest

GET = Script("return redis.call('GET', KEYS[1])", lambda _: True)
SET = Script("redis.call('SET', KEYS[1], ARGV[1], 'EX', 60)")
DELETE = Script(
    "for _, page in ipairs(redis.call('KEYS', ARGV[1] .. ':*')) do redis.call('DEL', page) end"
)


class CacheAside:
    """The pages of a table, in place of `PageCache`."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def fetch(
        self,
        _request: ApiRequest,
        page: str | None,
        load: Callable[[], Awaitable[Loaded]],
        _scope: str = "",
    ) -> bytes:
        redis = redis_scripts().connection
        cached = await redis.run(Call(GET, [f"{self.name}:{page}"]))
        if cached is not None:
            return cast("bytes", cached)
        content = (await load()).content
        await redis.run(Call(SET, [f"{self.name}:{page}"], [content]))
        return content


class DeletedPages:
    """What a write of `CacheAside` invalidates, in place of `Fences`."""

    def start(self, tables: Mapping[str, str | None]) -> None:
        pass

    async def ready(self, scopes: Mapping[str, Set[str] | None]) -> None:
        pass

    async def committed(self, tables: Iterable[str]) -> None:
        for table in tables:
            await redis_scripts().connection.run(Call(DELETE, [], [table]))

    async def rolled_back(self) -> None:
        pass


def use_cache_aside() -> None:
    """Have all functions of this process use it."""
    PageCache.fetch = CacheAside.fetch  # type: ignore[assignment, method-assign]
    for name in ("start", "ready", "committed", "rolled_back"):
        setattr(Fences, name, getattr(DeletedPages, name))
