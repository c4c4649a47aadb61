"""A lower bound of a request's time: the frameworks, and the drivers' bare round trips.

It is a 404 of an otherwise empty FastAPI and Mangum application, plus one asynchronous round trip
for each step that the kind of request waits for, with the same SQL on the same rows.
"""

import asyncio
import os
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
from fastapi import FastAPI
from mangum import Mangum
from redis.asyncio import Redis

PAGE = b"x" * 1500
COLUMNS = "id, name, email, created_at"
POST_COLUMNS = "id, user_id, title, content, created_at"

Step = Callable[[], Awaitable[object]]


class LowerBound:
    """Times the steps of each kind of request; one connection to each server."""

    def __init__(self) -> None:
        self._handler = Mangum(FastAPI(openapi_url=None), lifespan="off")
        self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        self._redis = Redis.from_url(os.environ["REDIS_URL"], protocol=2)
        self._connection = self._loop.run_until_complete(
            psycopg.AsyncConnection.connect(
                os.environ["DATABASE_URL"], autocommit=True, prepare_threshold=None
            )
        )
        self._loop.run_until_complete(self._redis.set("lower_bound", PAGE))
        self._steps: dict[str, tuple[Step, ...]] = {
            "cached list": (self._get,),
            "uncached list": (self._get, self._select_page),
            "one user": (self._select_user,),
            "one post": (self._select_post,),
            "create a user": (self._set, self._insert),
            "update a user": (self._set, self._update),
            "unknown path (404)": (),
        }

    def seconds(self, kind: str, event: dict[str, Any], context: Any) -> float:
        started = time.perf_counter()
        self._handler(event, context)
        handled_seconds = time.perf_counter() - started
        return handled_seconds + self._loop.run_until_complete(self._timed(self._steps[kind]))

    async def _timed(self, steps: tuple[Step, ...]) -> float:
        started = time.perf_counter()
        for step in steps:
            await step()
        return time.perf_counter() - started

    async def _get(self) -> object:
        return await self._redis.get("lower_bound")

    async def _set(self) -> object:
        return await self._redis.set("lower_bound", PAGE)

    async def _select_user(self) -> object:
        statement = f"SELECT {COLUMNS} FROM users WHERE id = %s"
        return await (await self._connection.execute(statement, [5])).fetchone()

    async def _select_post(self) -> object:
        statement = f"SELECT {POST_COLUMNS} FROM posts WHERE id = %s"
        return await (await self._connection.execute(statement, [5])).fetchone()

    async def _select_page(self) -> object:
        statement = f"SELECT {COLUMNS} FROM users ORDER BY id LIMIT 11"
        return await (await self._connection.execute(statement)).fetchall()

    async def _insert(self) -> object:
        statement = f"INSERT INTO users (name, email) VALUES (%s, %s) RETURNING {COLUMNS}"
        return await self._in_transaction(statement, ["Ada Lovelace", _address()])

    async def _update(self) -> object:
        statement = f"UPDATE users SET name = %s, email = %s WHERE id = %s RETURNING {COLUMNS}"
        return await self._in_transaction(statement, ["Ada Lovelace", _address(), 5])

    async def _in_transaction(self, statement: Any, values: list[object]) -> object:
        await self._connection.execute("BEGIN")
        row = await (await self._connection.execute(statement, values)).fetchone()
        await self._connection.execute("COMMIT")
        return row


def _address() -> str:
    return f"{uuid.uuid4().hex}@example.com"
