"""Warm requests: the handler's time for one request, in a process that has answered many.

Ours, the baseline and the floors (`floors`) have a process each, on one PostgreSQL and one Redis
with equal rows, and take turns in rounds. Tracing is off in both, as they are shipped.
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


class Contender:
    """A process of `benchmarks.contender`."""

    def __init__(self, name: str, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.contender", name],
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
    """By kind of request, then by system: microseconds; `ratio` is ours to the baseline's median,
    `times_floor` ours to the floors' median."""
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        services = stack.enter_context(running_services(Path(directory)))
        environments = systems.prepare(services, USERS, posts_per_user=1)
        floors = environments["ours"] | {"REDIS_URL": services.redis_url.replace("db=0", "db=2")}
        contenders = {
            name: Contender(name, environment)
            for name, environment in {**environments, "floors": floors}.items()
        }
        for contender in contenders.values():
            stack.callback(contender.close)
        return {kind: _measured(contenders, kind) for kind in KINDS}


def markdown(results: Mapping[str, Any]) -> str:
    lines = [
        "| request | ours | baseline | ours ÷ baseline | ours ÷ floor |",
        "|---|---|---|---|---|",
    ]
    for kind, figures in results.items():
        ours, baseline = figures["ours"], figures["baseline"]
        lines.append(
            f"| {kind} | {ours['p50_us']} µs ({ours['p99_us']}) "
            f"| {baseline['p50_us']} µs ({baseline['p99_us']}) "
            f"| {figures['ratio']:.2f} | {figures['times_floor']:.2f} |"
        )
    return "\n".join(
        [
            *lines,
            "",
            f"Median (p99) of {ROUNDS} interleaved rounds of {REQUESTS_PER_ROUND} requests, "
            f"in the handler, {USERS} users. The floor is FastAPI and Mangum answering 404, plus "
            "one bare asynchronous round trip of the driver for each step.",
        ]
    )


def _measured(contenders: dict[str, Contender], kind: str) -> dict[str, Any]:
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for round_number in range(ROUNDS + 1):
        for name, contender in contenders.items():
            measured = contender.times_seconds(kind, REQUESTS_PER_ROUND)
            if round_number:  # the first one warms up
                times[name] += measured
    figures: dict[str, Any] = {name: _figures(all_times) for name, all_times in times.items()}
    ours = figures["ours"]["p50_us"]
    figures["ratio"] = round(ours / figures["baseline"]["p50_us"], 3)
    figures["times_floor"] = round(ours / figures["floors"]["p50_us"], 3)
    return figures


def _figures(times_seconds: list[float]) -> dict[str, int]:
    ordered = sorted(times_seconds)
    return {
        "p10_us": round(ordered[len(ordered) // 10] * 1e6),
        "p50_us": round(statistics.median(ordered) * 1e6),
        "p99_us": round(ordered[int(len(ordered) * 0.99)] * 1e6),
    }
