"""The event loop of this process, in which Mangum runs requests and to which clients are bound.

`asyncio.run` would take it from the process at its end: the next request made another one, and the
connections of the first were a ResourceWarning in whichever test the garbage collector ran.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

R = TypeVar("R")


def run(coroutine: Coroutine[Any, Any, R]) -> R:
    try:
        loop = asyncio.get_event_loop()
    except RuntimeError:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
    return loop.run_until_complete(coroutine)
