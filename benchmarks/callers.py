"""What tokens and limits cost: this project with and without them, warm, a network away.

Each variant has a process of its own, on one PostgreSQL and one Redis behind `slow_network`, and
takes turns with the others in rounds. The audit log is written in all of them.
"""

import random
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import systems
from benchmarks.system_process import CLAIMS
from benchmarks.warm import SystemProcess
from local.services import running_services
from tests.network.slow_network import SlowNetwork

ROUND_TRIP_SECONDS = 0.001
ROUNDS = 40
REQUESTS_PER_ROUND = 20
USERS = 1000
TOKENS = {"AUTH": "required", "TOKEN_ISSUER": CLAIMS["iss"], "TOKEN_AUDIENCE": CLAIMS["aud"]}
LIMITS = {"READ_LIMIT": "1000000", "WRITE_LIMIT": "1000000"}
VARIANTS: dict[str, dict[str, str]] = {
    "open": {},
    "tokens": TOKENS,
    "tokens and limits": TOKENS | LIMITS,
}
HIT = "cached list"
GOAL = 1.03
"""The most that a hit with limits takes of one without."""
KINDS = (
    HIT,
    "uncached list",
    "one user",
    "create a user",
    "update a user",
    "unknown path (404)",
)


def measure() -> dict[str, Any]:
    """Return microseconds by kind of request, then by variant: the quickest quarter's longest,
    which other load on the machine touches least."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        services = stack.enter_context(running_services(directory / "services"))
        direct = systems.prepare(services, USERS, posts_per_user=1)
        network = stack.enter_context(SlowNetwork(directory, services))
        environment = systems.behind(network, direct)["project"]
        processes = {
            name: SystemProcess("project", environment | variables)
            for name, variables in VARIANTS.items()
        }
        for process in processes.values():
            stack.callback(process.close)
        network.set_round_trip(ROUND_TRIP_SECONDS)
        times = _times_seconds(processes)
        return {
            kind: {name: _quartile_us(times[kind, name]) for name in VARIANTS} for kind in KINDS
        }


def markdown(results: Mapping[str, Any]) -> str:
    lines = [f"| request | {' | '.join(VARIANTS)} |", "|---" * (len(VARIANTS) + 1) + "|"]
    for kind, figures in results.items():
        cells = [
            f"{figures[name]} µs" + (f" ({figures[name] / figures['open']:.2f})" if number else "")
            for number, name in enumerate(VARIANTS)
        ]
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    return "\n".join(
        [
            *lines,
            "",
            f"The quickest quarter of {ROUNDS * REQUESTS_PER_ROUND} requests (ratio to `open`) in "
            f"interleaved rounds, {USERS} users. A round trip takes "
            f"{ROUND_TRIP_SECONDS * 1000:g} ms to both servers, by TLS. The last row shows the "
            "measurement's error, as such a request has neither a caller nor a limit. A hit "
            f"with limits takes {_limits_to_tokens(results[HIT]):.3f} of one without; the goal is "
            f"at most {GOAL:g}.",
        ]
    )


def _limits_to_tokens(figures: Mapping[str, int]) -> float:
    return figures["tokens and limits"] / figures["tokens"]


def _times_seconds(processes: Mapping[str, SystemProcess]) -> dict[tuple[str, str], list[float]]:
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    for round_number in range(ROUNDS + 1):
        for kind in KINDS:
            for name in random.sample(list(processes), len(processes)):
                measured = processes[name].times_seconds(kind, REQUESTS_PER_ROUND)
                if round_number:  # the first one warms up
                    times[kind, name] += measured
    return times


def _quartile_us(times_seconds: list[float]) -> int:
    return round(statistics.quantiles(times_seconds, n=4)[0] * 1e6)
