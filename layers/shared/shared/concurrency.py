"""Two awaitables that run concurrently, and end together."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


async def run_both(first: Awaitable[A], second: Awaitable[B]) -> tuple[A, B]:
    """Return both results once both have ended, even if one raises or this call is cancelled.

    Raises the error of the first, else of the second. `asyncio.gather` would leave the other one
    running, on a connection that is closed or in use by then; a `TaskGroup` would cancel it.
    """
    one, other = await asyncio.gather(first, second, return_exceptions=True)  # noqa: TID251
    for result in (one, other):
        if isinstance(result, BaseException):
            raise result
    return one, other  # type: ignore[return-value]
