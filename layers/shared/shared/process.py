"""Objects that a process creates at their first use and keeps: settings, the logger, connections.

@per_process
def settings() -> Settings: ...
"""

from collections.abc import Awaitable, Callable
from functools import cache
from typing import ParamSpec, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")

_forgets: list[Callable[[], None]] = []
_closes: list[Callable[[], Awaitable[None]]] = []


def per_process(make: Callable[P, R]) -> Callable[P, R]:
    """Cache the results of `make`, one for each set of arguments, until `reset`."""
    kept = cache(make)
    _forgets.append(kept.cache_clear)
    return cast("Callable[P, R]", kept)


def close_at_reset(close: Callable[[], Awaitable[None]]) -> None:
    """Have the next `reset` await `close`, which closes a connection."""
    _closes.append(close)


async def reset() -> None:
    """Close all connections and clear all caches, as in a new process."""
    while _closes:
        await _closes.pop()()
    for forget in _forgets:
        forget()
