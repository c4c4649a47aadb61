"""Writes of tests that need no HTTP: what a transaction invalidates, and its query."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from blog.database import Transaction, transaction
from blog.database.transactions import Invalidation

R = TypeVar("R")


class NothingInvalidated:
    """An `Invalidation` of nothing; `calls` are the methods that were called, in their order."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def start(self) -> None:
        self.calls.append("start")

    async def ready(self) -> None:
        self.calls.append("ready")

    async def committed(self) -> None:
        self.calls.append("committed")

    async def rolled_back(self) -> None:
        self.calls.append("rolled back")


async def write(
    query: Callable[[Transaction], Awaitable[R]], invalidates: Invalidation | None = None
) -> R:
    """Return the query's result, committed."""
    async with transaction(invalidates=invalidates or NothingInvalidated()) as block:
        return await query(block)
