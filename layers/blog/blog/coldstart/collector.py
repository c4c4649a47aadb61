"""Tuning of Python's garbage collector: imported modules contain nothing to collect."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

COLLECT_AFTER_OBJECTS = 20_000
"""A request leaves some hundred objects to collect; Python's default is 700 (2000 since 3.13)."""


def collect_rarely() -> None:
    gc.set_threshold(COLLECT_AFTER_OBJECTS)


@contextmanager
def collector_paused() -> Iterator[None]:
    """Pause the collector within the block, and exclude what exists then from later collections."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
