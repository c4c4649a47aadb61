"""The health check: both servers are checked at once, each for at most `TIMEOUT_SECONDS`.

The check of Redis runs every command that the cache needs, writes included, since a demoted primary
or one with a restrictive ACL still responds to PING.

A database that pauses when idle (`DATABASE_PAUSES`) is not checked: it may take longer to resume
than a report may take, and monitors would keep it awake.
"""

import asyncio
from collections.abc import Awaitable
from time import monotonic
from typing import Literal

from pydantic import BaseModel
from redis.exceptions import RedisError, ResponseError

from meta import queries
from shared import database
from shared.cache.health import check_redis
from shared.cache.scripts import CacheUnavailable
from shared.concurrency import run_both
from shared.errors import ApiError, DatabaseUnavailable
from shared.process import per_process
from shared.request import ApiRequest
from shared.settings import settings

TIMEOUT_SECONDS = 2.0
MEMORY_SECONDS = 1.0
"""Lifetime of a report, as anyone may request it without a token."""

ServerStatus = Literal["up", "read-only", "down"]
DatabaseStatus = Literal[ServerStatus, "unchecked"]
RedisStatus = Literal["up", "read-only", "down", "none"]


class Health(BaseModel):
    """`ok`; `degraded` without Redis, which only costs speed; `down` without PostgreSQL.

    A `read-only` server responds but accepts no writes, and is not used: a Redis that rejects them,
    a PostgreSQL that was demoted. `none`: no Redis is configured. `unchecked`: PostgreSQL pauses
    when idle, and a check would keep it awake.
    """

    status: Literal["ok", "degraded", "down"]
    postgresql: DatabaseStatus
    redis: RedisStatus


@per_process
def _remembered() -> dict[float, Health]:
    """Return the latest report, by the time at which it expires."""
    return {}


async def check_health(request: ApiRequest) -> Health:
    """Return the report of the last `MEMORY_SECONDS`, or a new one."""
    for until, health in _remembered().items():
        if monotonic() < until:
            return health
    health = await _check_health(request)
    _remembered().clear()
    _remembered()[monotonic() + MEMORY_SECONDS] = health
    return health


async def _check_health(request: ApiRequest) -> Health:
    postgresql, redis = await run_both(_database_status(request), _redis_status())
    if postgresql not in ("up", "unchecked"):
        return Health(status="down", postgresql=postgresql, redis=redis)
    is_ok = redis in ("up", "none")
    return Health(status="ok" if is_ok else "degraded", postgresql=postgresql, redis=redis)


async def _database_status(request: ApiRequest) -> DatabaseStatus:
    if settings().database_pauses:
        return "unchecked"
    return await _server_status(database.read(request, queries.ping))


async def _redis_status() -> RedisStatus:
    if settings().redis_url is None:
        return "none"
    return await _server_status(check_redis())


async def _server_status(check: Awaitable[None]) -> ServerStatus:
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await check
    except DatabaseUnavailable as error:
        return "read-only" if error.read_only else "down"
    except ResponseError:  # Redis responds, with an error
        return "read-only"
    except (ApiError, CacheUnavailable, RedisError, OSError):  # TimeoutError is an OSError
        return "down"
    return "up"
