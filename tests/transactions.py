"""Reads and writes of tests that need no HTTP: statements, and what a transaction invalidates."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Set
from typing import Any, TypeVar, cast

import psycopg
from sqlalchemy.sql.selectable import TypedReturnsRows

from shared.database import Transaction, sql, transaction
from shared.database.transactions import Invalidation
from shared.request import Access, ApiRequest
from tests.example.models import articles, writers

R = TypeVar("R")

POLL_SECONDS = 0.005

REQUEST = ApiRequest(access=Access("test", "writers:write"))
"""A request that no client has sent, and that may do everything."""


def statement_of(text: str) -> TypedReturnsRows[Any]:
    """A statement that reads nothing which is cached; a change is of writers or articles."""
    changes = [writers, articles] if text.startswith(("INSERT", "UPDATE", "DELETE")) else []
    return cast("TypedReturnsRows[Any]", sql(text, reads=[], changes=changes))


async def wait_for_a_lock(database: psycopg.Connection[Any]) -> None:
    """Return once a statement waits for a lock."""
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    while database.execute(waiting).fetchone() == (0,):  # noqa: ASYNC110 (PostgreSQL's)
        await asyncio.sleep(POLL_SECONDS)


class NothingInvalidated:
    """An `Invalidation` of nothing; `calls` are the methods that were called, in their order."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def start(self, tables: Mapping[str, str | None]) -> None:
        self.calls.append("start")

    async def ready(self, scopes: Mapping[str, Set[str] | None]) -> None:
        self.calls.append("ready")

    async def committed(self, scopes: Mapping[str, Set[str] | None]) -> None:
        self.calls.append("committed")

    async def rolled_back(self) -> None:
        self.calls.append("rolled back")


async def write(
    query: Callable[[Transaction], Awaitable[R]],
    invalidates: Invalidation | None = None,
    request: ApiRequest = REQUEST,
) -> R:
    """Return the query's result, committed."""
    async with transaction(request, invalidates or NothingInvalidated()) as block:
        return await query(block)
