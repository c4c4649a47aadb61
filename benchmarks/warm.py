"""Warm requests: the handler's time for one request, in a warm process.

This project, the baseline and the lower bound (`lower_bound`) have a process each, on the same
PostgreSQL and Redis with equal rows, and take turns in rounds. Tracing is off in both, as shipped.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import systems
from local.services import running_services

ROUNDS = 40
REQUESTS_PER_ROUND = 40
USERS = 1000
KINDS = (
    "cached list",
    "uncached list",
    "one user",
    "one post",
    "create a user",
    "update a user",
    "unknown path (404)",
)


class SystemProcess:
    """A process of `benchmarks.system_process`."""

    def __init__(self, name: str, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.system_process", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | dict(environment),
        )

    def times_seconds(self, kind: str, count: int) -> list[float]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps({"request": kind, "count": count}), file=self._process.stdin, flush=True)
        times: list[float] = json.loads(self._process.stdout.readline())
        return times

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def measure() -> dict[str, Any]:
    """Return microseconds by kind of request, then by system.

    `ratio` is this project's median to the baseline's, `times_lower_bound` to the lower bound.
    """
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        services = stack.enter_context(running_services(Path(directory)))
        environments = systems.prepare(services, USERS, posts_per_user=1)
        lower_bound = environments["project"] | {
            "REDIS_URL": services.redis_url.replace("db=0", "db=2")
        }
        processes = {
            name: SystemProcess(name, environment)
            for name, environment in {**environments, "lower_bound": lower_bound}.items()
        }
        for process in processes.values():
            stack.callback(process.close)
        return {kind: _measured(processes, kind) for kind in KINDS}


def markdown(results: Mapping[str, Any]) -> str:
    lines = [
        "| request | this project | baseline | ratio | ÷ lower bound |",
        "|---|---|---|---|---|",
    ]
    for kind, figures in results.items():
        project, baseline = figures["project"], figures["baseline"]
        lines.append(
            f"| {kind} | {project['p50_us']} µs ({project['p99_us']}) "
            f"| {baseline['p50_us']} µs ({baseline['p99_us']}) "
            f"| {figures['ratio']:.2f} | {figures['times_lower_bound']:.2f} |"
        )
    return "\n".join(
        [
            *lines,
            "",
            f"Median (p99) of {ROUNDS} interleaved rounds of {REQUESTS_PER_ROUND} requests, "
            f"in the handler, {USERS} users. The lower bound is a 404 of FastAPI and Mangum, plus "
            "one bare asynchronous round trip of the driver for each step.",
        ]
    )


def _measured(processes: dict[str, SystemProcess], kind: str) -> dict[str, Any]:
    times: dict[str, list[float]] = {name: [] for name in processes}
    for round_number in range(ROUNDS + 1):
        for name, process in processes.items():
            measured = process.times_seconds(kind, REQUESTS_PER_ROUND)
            if round_number:  # the first one warms up
                times[name] += measured
    figures: dict[str, Any] = {name: _figures(all_times) for name, all_times in times.items()}
    project = figures["project"]["p50_us"]
    figures["ratio"] = round(project / figures["baseline"]["p50_us"], 3)
    figures["times_lower_bound"] = round(project / figures["lower_bound"]["p50_us"], 3)
    return figures


def _figures(times_seconds: list[float]) -> dict[str, int]:
    ordered = sorted(times_seconds)
    return {
        "p10_us": round(ordered[len(ordered) // 10] * 1e6),
        "p50_us": round(statistics.median(ordered) * 1e6),
        "p99_us": round(ordered[int(len(ordered) * 0.99)] * 1e6),
    }
