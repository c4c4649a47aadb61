"""Whether PostgreSQL and Redis answer, each asked at once and within `TIMEOUT_SECONDS`.

Redis is asked for all that the cache does, writes included: one that a failover demoted, or that
an ACL guards, answers a PING.
"""

import asyncio
from collections.abc import Awaitable
from typing import Literal

from pydantic import BaseModel
from redis.exceptions import RedisError, ResponseError

from blog import database
from blog.cache.pages import CacheUnavailable, redis_scripts
from blog.errors import ApiError
from meta import queries

TIMEOUT_SECONDS = 2.0

Answer = Literal["answers", "silent"]
RedisAnswer = Literal["answers", "read-only", "silent"]


class Health(BaseModel):
    """`ok`; `degraded` without Redis, which only costs speed; `down` without PostgreSQL.

    A Redis that is `read-only` answers, but rejects our writes, and so is not used.
    """

    status: Literal["ok", "degraded", "down"]
    postgresql: Answer
    redis: RedisAnswer


async def check_health() -> Health:
    postgresql, redis = await asyncio.gather(_answer(_ask_postgresql()), _redis_answer())
    if postgresql == "silent":
        return Health(status="down", postgresql=postgresql, redis=redis)
    status: Literal["ok", "degraded"] = "ok" if redis == "answers" else "degraded"
    return Health(status=status, postgresql=postgresql, redis=redis)


async def _redis_answer() -> RedisAnswer:
    try:
        return await _answer(_ask_redis())
    except ResponseError:
        return "read-only"


async def _answer(question: Awaitable[None]) -> Answer:
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await question
    except ResponseError:
        raise
    except (ApiError, CacheUnavailable, RedisError, OSError):  # TimeoutError is an OSError
        return "silent"
    return "answers"


async def _ask_postgresql() -> None:
    await database.read(queries.ping)


async def _ask_redis() -> None:
    await redis_scripts().check()
