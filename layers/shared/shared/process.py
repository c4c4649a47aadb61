"""Objects that a process makes at their first use and keeps: settings, the logger, connections.

    @per_process
    def settings() -> Settings: ...

`reset` closes and forgets all of it.
"""

from collections.abc import Awaitable, Callable
from functools import cache
from typing import ParamSpec, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")

_forgets: list[Callable[[], None]] = []
_closes: list[Callable[[], Awaitable[None]]] = []


def per_process(make: Callable[P, R]) -> Callable[P, R]:
    """Return `make` with its results kept, one for each set of arguments, until `reset`."""
    kept = cache(make)
    _forgets.append(kept.cache_clear)
    return cast("Callable[P, R]", kept)


def close_at_reset(close: Callable[[], Awaitable[None]]) -> None:
    """Let the next `reset` await `close`: for what holds a connection."""
    _closes.append(close)


async def reset() -> None:
    """Close and forget what the process has made: its next use is as in a new process."""
    while _closes:
        await _closes.pop()()
    for forget in _forgets:
        forget()
