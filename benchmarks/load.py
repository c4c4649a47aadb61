"""Load: many workers at once on one PostgreSQL and one Redis, and a worker's memory over time.

Each worker is a process that handles the requests of a mixed load one at a time (`load_worker`),
without a pause, so that N workers keep N requests in progress. The handlers are called directly:
the local gateway's HTTP would add the same noise to both systems. This project and the baseline
take turns in rounds. With 32 workers both also run behind PgBouncer.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from benchmarks import systems
from benchmarks.load_worker import POSTS, SHARES, USERS
from local.services import running_services
from tests.poolers.pgbouncer import PROGRAM, running_pgbouncer

WORKER_COUNTS = (1, 8, 32)
ROUNDS = 5
SECONDS_PER_ROUND = 3.0
WARM_UP_REQUESTS = 100
"""For each worker, so that deferred imports are done."""
TOGETHER_SECONDS = 0.2
"""From an order to its start, so that all workers have read it."""
POOLED_WORKERS = 32
POOLED_CONNECTIONS = 8
COUNT_EVERY_SECONDS = 0.1

REQUESTS_BEFORE_READING = 1000
REQUESTS_PER_READING = 1000
READINGS = 10

SYSTEMS = ("project", "baseline")
NAMES = {"project": "this project", "baseline": "baseline"}
# The workers connect under the name of their fleet, also through PgBouncer.
CONNECTIONS = """
SELECT application_name, count(*) FROM pg_stat_activity
WHERE backend_type = 'client backend' GROUP BY application_name
"""


@dataclass(frozen=True)
class Target:
    """The servers of a system's workers."""

    system: str
    database_url: str
    redis_url: str


@dataclass
class Measured:
    requests_per_second: list[float] = field(default_factory=list)
    times_us: dict[str, list[int]] = field(default_factory=dict)
    failed: int = 0


class Fleet:
    """Workers of one system, which begin and end each round together."""

    def __init__(self, name: str, target: Target, size: int, log: Path) -> None:
        self.name = name
        self.size = size
        self._log = log
        command = [sys.executable, "-m", "benchmarks.load_worker", target.system, str(size)]
        environment = os.environ | {
            "DATABASE_URL": target.database_url,
            "REDIS_URL": target.redis_url,
            "SERVICE": name,  # this project connects under this name, the baseline under PGAPPNAME
            "PGAPPNAME": name,
            "AUTH": "open",
            "TLS_REQUIRED": "false",  # PgBouncer has no certificate here
        }
        with log.open("a") as errors:
            self._process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self._pids: list[int] = []
        self._orders = 0

    def wait_until_ready(self) -> None:
        self._pids = self._read_results()

    def warm_up(self) -> None:
        """Warm up as many at a time as there are cores: in Lambda they do not share cores."""
        cores = os.cpu_count() or 1
        for first in range(0, self.size, cores):
            group = range(first, min(first + cores, self.size))
            self.work(to=group, requests=WARM_UP_REQUESTS)

    def work(self, to: range | None = None, **order: float) -> list[dict[str, Any]]:
        """Return the results of the order, from all workers or those of these numbers."""
        assert self._process.stdin is not None
        self._orders += 1
        # E-mail addresses are made from the seed.
        seed = f"{self.name}.{self.size}.{self._orders}"
        numbers = list(range(self.size) if to is None else to)
        print(
            json.dumps(order | {"to": numbers, "seed": seed}), file=self._process.stdin, flush=True
        )
        results: list[dict[str, Any]] = self._read_results()
        return results

    def resident_bytes(self) -> list[int]:
        """RSS of each of them, as /proc/PID/smaps_rollup sums it up."""
        return [_resident_bytes(pid) for pid in self._pids]

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _read_results(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} has ended: {self._log.read_text()[-2000:]}")
        return json.loads(line)


def measure() -> dict[str, Any]:
    """Requests, latencies and connections by number of workers; then memory, and a request's
    bytes. `ratio` is this project to the baseline in requests per second."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        services = stack.enter_context(running_services(directory, ephemeral=True))
        environments = systems.prepare(services, USERS, POSTS // USERS)
        targets = {
            system: Target(system, environment["DATABASE_URL"], environment["REDIS_URL"])
            for system, environment in environments.items()
        }
        log = directory / "workers.log"
        results: dict[str, Any] = {"shares": SHARES, "users": USERS, "posts": POSTS}
        for size in WORKER_COUNTS:
            named = dict(targets)
            if size == POOLED_WORKERS and PROGRAM is not None:
                named |= stack.enter_context(_pooled(targets, directory))
            results[f"{size} workers"] = _load(named, size, log, services.database_url)
        results["memory"] = {system: _memory(target, log) for system, target in targets.items()}
    return results


def markdown(results: Mapping[str, Any]) -> str:
    lines = [
        "| workers | this project, requests/s | baseline | ratio | this project, p50 (p99) "
        "| baseline, p50 (p99) | connections |",
        "|---|---|---|---|---|---|---|",
    ]
    for size in WORKER_COUNTS:
        stage = results[f"{size} workers"]
        lines.append(_row(str(size), stage["project"], stage["baseline"], stage["ratio"]))
    pooled = results[f"{POOLED_WORKERS} workers"]
    if "project-pooled" in pooled:
        name = f"{POOLED_WORKERS} through PgBouncer"
        row = (pooled["project-pooled"], pooled["baseline-pooled"], pooled["pooled_ratio"])
        lines.append(_row(name, *row))
    shares = ", ".join(f"{share:.1%} {kind}" for kind, share in results["shares"].items())
    lines += [
        "",
        f"A closed loop in each worker, in its handlers, over {results['users']} users and "
        f"{results['posts']} posts: {shares}. Median of {ROUNDS} interleaved rounds of "
        f"{SECONDS_PER_ROUND:g} s (lowest to highest); latencies of all their requests, on 2 cores "
        "that the workers share with PostgreSQL and Redis. PgBouncer is in transaction mode "
        f"with {POOLED_CONNECTIONS} server connections.",
        "",
        *_memory_lines(results["memory"]),
    ]
    return "\n".join(lines)


def _row(name: str, project: Mapping[str, Any], baseline: Mapping[str, Any], ratio: float) -> str:
    cells = [
        name,
        _rate(project),
        _rate(baseline),
        f"{ratio:.2f}",
        _latency(project),
        _latency(baseline),
        f"{project['connections_most']}",
    ]
    return f"| {' | '.join(cells)} |"


def _rate(figures: Mapping[str, Any]) -> str:
    rate = (
        f"{figures['requests_per_second']:.0f} ({figures['requests_per_second_lowest']:.0f}"
        f" to {figures['requests_per_second_highest']:.0f})"
    )
    failed = figures["failed_share"]
    return f"{rate}, {failed:.1%} failed" if failed else rate


def _latency(figures: Mapping[str, Any]) -> str:
    return f"{figures['p50_us'] / 1000:.1f} ms ({figures['p99_us'] / 1000:.1f})"


def _memory_lines(memory: Mapping[str, Any]) -> Iterator[str]:
    more = READINGS * REQUESTS_PER_READING
    yield f"| memory of a worker | after warm-up | after {more} more requests | growth |"
    yield "|---|---|---|---|"
    for system in SYSTEMS:
        readings = memory[system]["resident_bytes"]
        first, last = readings[0] / 2**20, readings[-1] / 2**20
        growth = f"{memory[system]['growth']:+.2%}"
        yield f"| {NAMES[system]} | {first:.1f} MB | {last:.1f} MB | {growth} |"
    yield ""
    yield (
        "Resident memory (RSS of /proc/PID/smaps_rollup) of a worker under the same load, first "
        f"after {REQUESTS_BEFORE_READING} requests."
    )


@contextmanager
def _pooled(targets: Mapping[str, Target], directory: Path) -> Iterator[dict[str, Target]]:
    """The same systems behind PgBouncer."""
    server = targets["project"].database_url
    with running_pgbouncer(directory, server, server_connections=POOLED_CONNECTIONS) as pooler:
        yield {
            f"{system}-pooled": Target(
                system,
                _driver_url(system, pooler.url(_plain(target.database_url))),
                target.redis_url,
            )
            for system, target in targets.items()
        }


def _driver_url(system: str, url: str) -> str:
    """The baseline's URL names the driver for SQLAlchemy."""
    return url if system == "project" else url.replace("postgresql://", "postgresql+psycopg://")


def _plain(url: str) -> str:
    return url.replace("+psycopg", "")


@contextmanager
def _fleets(targets: Mapping[str, Target], size: int, log: Path) -> Iterator[dict[str, Fleet]]:
    """A fleet of that size for each target, ready for orders."""
    with ExitStack() as stack:
        fleets = {name: Fleet(name, target, size, log) for name, target in targets.items()}
        for fleet in fleets.values():
            stack.callback(fleet.close)
        for fleet in fleets.values():
            fleet.wait_until_ready()
        yield fleets


def _load(targets: Mapping[str, Target], size: int, log: Path, server_url: str) -> dict[str, Any]:
    with _fleets(targets, size, log) as fleets, _counted_connections(server_url) as connections:
        for fleet in fleets.values():
            fleet.warm_up()
        measured = {name: Measured() for name in fleets}
        for round_number in range(ROUNDS):
            names = list(fleets)
            for name in names if round_number % 2 == 0 else reversed(names):
                _add(measured[name], _round(fleets[name], SECONDS_PER_ROUND))
    stage: dict[str, Any] = {
        name: _figures(figures) | {"connections_most": connections.get(name, 0)}
        for name, figures in measured.items()
    }
    stage["ratio"] = _ratio(stage["project"], stage["baseline"])
    if "project-pooled" in stage:
        stage["pooled_ratio"] = _ratio(stage["project-pooled"], stage["baseline-pooled"])
        stage["pooled_to_direct"] = _ratio(stage["project-pooled"], stage["project"])
    return stage


def _round(fleet: Fleet, seconds: float) -> list[dict[str, Any]]:
    return fleet.work(start_at=time.monotonic() + TOGETHER_SECONDS, seconds=seconds)


def _add(measured: Measured, results: Sequence[Mapping[str, Any]]) -> None:
    requests = 0
    for result in results:
        measured.failed += result["failed"]
        for kind, times_us in result["times_us"].items():
            measured.times_us.setdefault(kind, []).extend(times_us)
            requests += len(times_us)
    measured.requests_per_second.append(requests / SECONDS_PER_ROUND)


def _figures(measured: Measured) -> dict[str, Any]:
    times_us = [time_us for of_kind in measured.times_us.values() for time_us in of_kind]
    return {
        "requests_per_second": round(statistics.median(measured.requests_per_second), 1),
        "requests_per_second_lowest": round(min(measured.requests_per_second), 1),
        "requests_per_second_highest": round(max(measured.requests_per_second), 1),
        "requests": len(times_us),
        "failed_share": round(measured.failed / len(times_us), 4),
        **_latencies(times_us),
        "kinds": {kind: _latencies(measured.times_us.get(kind, [])) for kind in SHARES},
    }


def _latencies(times_us: Sequence[int]) -> dict[str, int]:
    ordered = sorted(times_us)
    if not ordered:
        return {}
    return {"p50_us": ordered[len(ordered) // 2], "p99_us": ordered[int(len(ordered) * 0.99)]}


def _ratio(figures: Mapping[str, Any], others: Mapping[str, Any]) -> float:
    return round(float(figures["requests_per_second"] / others["requests_per_second"]), 3)


@contextmanager
def _counted_connections(server_url: str) -> Iterator[dict[str, int]]:
    """The most connections that PostgreSQL had of each fleet, during the block."""
    most: dict[str, int] = {}
    ended = threading.Event()

    def count() -> None:
        with psycopg.connect(server_url, autocommit=True) as server:
            while not ended.wait(COUNT_EVERY_SECONDS):
                for name, number in server.execute(CONNECTIONS).fetchall():
                    most[name] = max(most.get(name, 0), number)

    counting = threading.Thread(target=count)
    counting.start()
    try:
        yield most
    finally:
        ended.set()
        counting.join()


def _memory(target: Target, log: Path) -> dict[str, Any]:
    """The memory of a system's worker: bytes at each reading, and the growth over all."""
    fleet = Fleet(f"{target.system}-memory", target, 1, log)
    try:
        fleet.wait_until_ready()
        fleet.work(requests=REQUESTS_BEFORE_READING)
        readings = fleet.resident_bytes()
        for _ in range(READINGS):
            fleet.work(requests=REQUESTS_PER_READING)
            readings += fleet.resident_bytes()
    finally:
        fleet.close()
    return {
        "resident_bytes": readings,
        "requests_between_readings": REQUESTS_PER_READING,
        "growth": round(readings[-1] / readings[0] - 1, 5),
    }


def _resident_bytes(pid: int) -> int:
    summed = Path(f"/proc/{pid}/smaps_rollup").read_text()
    (kilobytes,) = re.findall(r"^Rss:\s+(\d+) kB", summed, re.MULTILINE)
    return int(kilobytes) * 1024
