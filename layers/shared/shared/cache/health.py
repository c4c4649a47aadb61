"""A check that Redis supports everything that the cache needs."""

from shared.cache.redis_connection import Call
from shared.cache.scripts import (
    CLEAR_FENCES,
    FENCE_SECONDS,
    LOOK_UP,
    SET_FENCES,
    key,
    new_token,
    redis_scripts,
)

TABLE = "health check"
"""No table has this name."""


async def check_redis() -> None:
    """Run the scripts of readers and writers on a page of their own.

    Raises `CacheUnavailable`, `RedisError` and `OSError`.
    """
    token, keys = new_token(), [key("generations"), key("fences")]
    page_keys = [key(f"{TABLE}:1:1"), key(f"{TABLE}:1:1:lease")]
    member = f"{TABLE}|{token}"
    quarantine = int(FENCE_SECONDS * 1000)
    look_up = (quarantine, token, token, 1, "0", TABLE, "", key("scope:"), 1)
    fence = Call(SET_FENCES, keys, (1, 1, member))
    clear = Call(CLEAR_FENCES, keys, (token, 1, member, TABLE))
    looked_up = Call(LOOK_UP, [*keys, *page_keys], look_up)
    await redis_scripts().connection.run(looked_up.before(fence).before(clear))
