"""Two awaitables at the same time, neither of which outlives the other."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


async def run_both(first: Awaitable[A], second: Awaitable[B]) -> tuple[A, B]:
    """Return both results when both have ended, also if one of them raises or this is cancelled.

    Raises the error of the first, or else the one of the second. `asyncio.gather` alone would leave
    the other one to itself, on a connection that is closed or used by then; a `TaskGroup` would
    cancel it.
    """
    one, other = await asyncio.gather(first, second, return_exceptions=True)  # noqa: TID251
    for result in (one, other):
        if isinstance(result, BaseException):
            raise result
    return one, other  # type: ignore[return-value]
