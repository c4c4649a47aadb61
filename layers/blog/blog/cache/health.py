"""Whether Redis does all that the cache needs."""

from secrets import token_bytes

from blog.cache.pages import PageCache
from blog.cache.redis_connection import Call
from blog.cache.scripts import (
    CLEAR_FENCES,
    GET_OR_LEASE,
    SET_FENCES,
    TOKEN_BYTES,
    redis_scripts,
)


async def check_redis() -> None:
    """Run what readers and writers run, on a list of its own.

    Raises `CacheUnavailable`, `RedisError` and `OSError`.
    """
    checked = PageCache("health")
    token, fence_keys = token_bytes(TOKEN_BYTES), [checked.fence_key, checked.generation_key]
    page_keys = [checked.generation_key, checked.fence_key, *checked.page_keys("1:1")]
    redis = redis_scripts().connection
    await redis.run(
        Call(GET_OR_LEASE, page_keys, (token, token, 1)),
        Call(SET_FENCES, fence_keys, (token, 1)),
        Call(CLEAR_FENCES, fence_keys, (token,)),
    )
