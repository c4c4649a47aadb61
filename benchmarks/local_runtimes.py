"""Cold and warm requests through the local runtimes: `python -m benchmarks.local_runtimes`.

All run on the same machine, on the end-to-end tests' own targets: the Docker-free runtime, with
AWS's emulator and in Python alone, and `sam local start-api` (which needs Docker). A cold request
is the first one to a function after the start, a warm one is `GET /users` from the cache. Prints a
Markdown table.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import httpx

from local.services import Services, running_services
from tests.e2e import targets

WARM_REQUESTS = 200
TARGETS: dict[str, Callable[[Services], AbstractContextManager[httpx.Client]]] = {
    "Docker-free (`make run`)": targets.docker_free,
    "the same, `LOCAL_RUNTIME=python`": partial(targets.docker_free, runtime="python"),
    "`sam local start-api`": targets.sam_local,
}


def main() -> None:
    print("| runtime | startup time | cold request | warm request, median (p95) |")
    print("|---|---|---|---|")
    with (
        tempfile.TemporaryDirectory() as directory,
        running_services(Path(directory)) as services,
    ):
        for name, target in TARGETS.items():
            print(f"| {name} | {_measured(target, services)} |")


def _measured(
    target: Callable[[Services], AbstractContextManager[httpx.Client]], services: Services
) -> str:
    started = time.perf_counter()
    with target(services) as api:
        ready_seconds = time.perf_counter() - started
        cold_seconds = _seconds_of_a_request(api)
        warm = sorted(_seconds_of_a_request(api) for _ in range(WARM_REQUESTS))
    p95_seconds = warm[int(WARM_REQUESTS * 0.95)]
    median_seconds = statistics.median(warm)
    return (
        f"{ready_seconds:.1f} s | {cold_seconds:.2f} s "
        f"| {median_seconds * 1000:.1f} ms ({p95_seconds * 1000:.1f} ms)"
    )


def _seconds_of_a_request(api: httpx.Client) -> float:
    started = time.perf_counter()
    api.get("/users").raise_for_status()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
