"""Many first requests at the same time: as many new workers as after a deployment, on few cores."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from benchmarks.emulator import Emulator

WORKERS = 32
FUNCTION_SECONDS = 10
"""What a function may take for a request (`template.yaml`); its imports beforehand do not count."""


def at_once(new_worker: Callable[[], Emulator], event: Mapping[str, Any]) -> dict[str, float]:
    """Return the longest first request, in seconds: with the worker's start, and in the handler.

    Raises RuntimeError where a response is not a 200.
    """
    with ExitStack() as stack:
        workers = [stack.enter_context(new_worker()) for _ in range(WORKERS)]
        with ThreadPoolExecutor(WORKERS) as threads:
            starts = list(threads.map(lambda worker: worker.invoke(event), workers))
        return {
            "cold_start_seconds": round(max(starts), 2),
            "request_seconds": round(max(map(_request_seconds, workers)), 2),
        }


def markdown(requests: Mapping[str, Mapping[str, float]]) -> str:
    slowest = "; ".join(
        f"`{name}` {figures['cold_start_seconds']:.1f} s, of which the request itself "
        f"{figures['request_seconds']:.1f} s"
        for name, figures in requests.items()
    )
    return (
        f"{WORKERS} new workers of this project at once, on the machine's cores: the slowest took "
        f"for {slowest}. A request may take {FUNCTION_SECONDS} s."
    )


def _request_seconds(worker: Emulator) -> float:
    """Of the worker's one request, as its log line has it."""
    fields = [line.fields for line in worker.log() if line.fields and not line.is_metrics]
    (milliseconds,) = [found["duration_ms"] for found in fields if "duration_ms" in found]
    return float(milliseconds) / 1000
