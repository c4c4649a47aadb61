"""Requests over a network with TLS: warm latency, and sequential round trips.

In a VPC a request's time is mostly its round trips (0.3 to 1 ms each), which the other parts do not
show, as their servers are on the same machine. This project and the baseline have a process each,
on one PostgreSQL and one Redis with equal rows, both behind `slow_network`, and take turns in
rounds.
"""

import random
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import redis

from benchmarks import systems
from benchmarks.warm import SystemProcess
from local.services import running_services
from tests.network.slow_network import SlowNetwork

ROUND_TRIPS_SECONDS = (0.0005, 0.001, 0.005)
GOALS_FOR = 0.001
COUNTING_SECONDS = 0.05
"""Longer than what a request computes between two packets that it sends at the same time, and than
it takes to ask for the count."""
ROUNDS = 30
REQUESTS_PER_ROUND = 10
PINGS = 200
USERS = 2000
SYSTEMS = ("project", "baseline")
GOALS = {
    "cached list": 1.0,
    "uncached list": 0.42,
    "one user": 0.4,
    "create a user": 0.42,
    "create a user with a key": 0.6,
    "update a user": 0.58,
    "delete a user": 0.58,
    "search": None,
    "statistics": None,
}
"""The maximum share of the baseline's time at a round trip of `GOALS_FOR`."""


def measure() -> dict[str, Any]:
    """By kind of request: sequential round trips; by round trip and kind: milliseconds."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        services = stack.enter_context(running_services(directory / "services"))
        direct = systems.prepare(services, USERS, posts_per_user=1)
        network = stack.enter_context(SlowNetwork(directory, services))
        processes = {
            system: SystemProcess(system, environment)
            for system, environment in systems.behind(network, direct).items()
        }
        for process in processes.values():
            stack.callback(process.close)
        return {
            "round_trips": {kind: _round_trips(processes, network, kind) for kind in GOALS},
            "achieved_ms": {
                _name(seconds): _achieved_ms(network, services.redis_url, seconds)
                for seconds in ROUND_TRIPS_SECONDS
            },
            "latency": {
                _name(seconds): _latency(processes, network, seconds)
                for seconds in ROUND_TRIPS_SECONDS
            },
        }


def markdown(results: Mapping[str, Any]) -> str:
    latencies = results["latency"]
    titles = " | ".join(f"{name}: this project | baseline | ratio" for name in latencies)
    lines = [
        f"| request | round trips: this project / baseline | {titles} | goal |",
        "|---|---|" + "---|---|---|" * len(latencies) + "---|",
    ]
    for kind, round_trips in results["round_trips"].items():
        cells = []
        for figures in (latency[kind] for latency in latencies.values()):
            cells += [_shown(figures[system]) for system in SYSTEMS]
            cells.append(f"{figures['ratio']:.2f}")
        goal = f"{GOALS[kind]:.2f}" if GOALS[kind] else ""
        shown = f"{round_trips['project']} / {round_trips['baseline']}"
        lines.append(f"| {kind} | {shown} | {' | '.join(cells)} | {goal} |")
    achieved = ", ".join(
        f"{milliseconds:.2f} ms at {name}" for name, milliseconds in results["achieved_ms"].items()
    )
    return "\n".join(
        [
            *lines,
            "",
            f"Milliseconds in the handler, median (p95) of {ROUNDS} interleaved rounds of "
            f"{REQUESTS_PER_ROUND} requests, {USERS} users, by the time of a round trip. Both "
            "servers are behind a proxy that delays each packet by half of it and speaks TLS, which"
            f" the clients verify; a PING took {achieved} longer than without the proxy. Round "
            "trips are sequential ones over both servers: concurrent ones are counted once, and "
            "what is sent without awaiting its response is not. "
            f"The goal is for the ratio at {_name(GOALS_FOR)}. The baseline has no keys; its "
            "create is shown in both rows.",
            *_missed_goals(latencies[_name(GOALS_FOR)]),
        ]
    )


def _missed_goals(latency: Mapping[str, Any]) -> list[str]:
    """Return a paragraph on the goals that were missed, nothing if there are none."""
    missed = [
        f"{kind} ({latency[kind]['ratio']:.3f} instead of {goal:.2f})"
        for kind, goal in GOALS.items()
        if goal and latency[kind]["ratio"] > goal
    ]
    if not missed:
        return []
    return [
        "",
        f"Goals missed: {', '.join(missed)}. They were set by the round trips only, without the "
        "handler's and PostgreSQL's own time.",
    ]


def _round_trips(
    processes: Mapping[str, SystemProcess], network: SlowNetwork, kind: str
) -> dict[str, int]:
    counts = {}
    for system, process in processes.items():
        network.set_round_trip(0)
        process.times_seconds(kind, 2)  # connections are open,
        process.times_seconds("cached list", 1)  # and a page is cached, as it will be mostly
        network.set_round_trip(COUNTING_SECONDS)
        network.reset_count()
        process.times_seconds(kind, 1)
        counts[system] = network.sequential_round_trips()
    return counts


def _achieved_ms(network: SlowNetwork, direct_url: str, round_trip_seconds: float) -> float:
    network.set_round_trip(round_trip_seconds)
    with (
        redis.Redis.from_url(network.redis_url(0)) as far,
        redis.Redis.from_url(direct_url) as near,
    ):
        pings = [(_seconds(far.ping), _seconds(near.ping)) for _ in range(PINGS)]
    far_seconds, near_seconds = (statistics.median(times) for times in zip(*pings, strict=True))
    added: float = (far_seconds - near_seconds) * 1000
    return round(added, 3)


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _latency(
    processes: Mapping[str, SystemProcess], network: SlowNetwork, round_trip_seconds: float
) -> dict[str, Any]:
    network.set_round_trip(round_trip_seconds)
    times: dict[tuple[str, str], list[float]] = {}
    for round_number in range(ROUNDS + 1):
        for kind in GOALS:
            for system in random.sample(SYSTEMS, len(SYSTEMS)):
                measured = processes[system].times_seconds(kind, REQUESTS_PER_ROUND)
                if round_number:  # the first one warms up
                    times.setdefault((kind, system), []).extend(measured)
    return {kind: _figures({s: times[kind, s] for s in SYSTEMS}) for kind in GOALS}


def _figures(times_seconds: Mapping[str, list[float]]) -> dict[str, Any]:
    medians = {system: statistics.median(times) for system, times in times_seconds.items()}
    figures: dict[str, Any] = {
        system: {
            "p50_ms": round(medians[system] * 1000, 3),
            "p95_ms": round(sorted(times)[int(len(times) * 0.95)] * 1000, 3),
        }
        for system, times in times_seconds.items()
    }
    return figures | {"ratio": round(medians["project"] / medians["baseline"], 3)}


def _name(round_trip_seconds: float) -> str:
    return f"{round_trip_seconds * 1000:g} ms"


def _shown(figures: Mapping[str, float]) -> str:
    return f"{figures['p50_ms']:.2f} ({figures['p95_ms']:.2f})"
