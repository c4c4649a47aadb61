"""Cold starts: from the event to the response of a new process, its first request included.

Each runs in AWS's Lambda runtime emulator under AWS's runtime client, on Lambda's version of
Python and from read-only directories (`cold_sites`), against one PostgreSQL and one Redis, both
behind a network with TLS (`slow_network`). The systems take turns in rounds:

    no_op      a handler that does nothing: Python, the runtime client and the emulator
    plain      the baseline as plain `sam build` ships it, without bytecode
    bytecode   the baseline, given bytecode
    project    this project, as `sam build` builds it

A page is `cached` when a warm worker of the same system responded to the same request a moment ago;
`not cached` when Redis has been emptied. The baseline does not cache posts.
"""

import json
import os
import platform
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from benchmarks import cold_at_once, cold_profile, systems
from benchmarks.cold_at_once import at_once
from benchmarks.cold_sites import RESOURCES, Sites
from benchmarks.emulator import Emulator, function_environment
from local.gateway.events import Request, default_event
from local.services import running_services
from local.services.valkey import end_quarantine
from tests.network.slow_network import SlowNetwork

ROUNDS = 7
ROUND_TRIP_SECONDS = 0.0005
USERS = 1000
POSTS_PER_USER = 5
SYSTEMS = ("no_op", "plain", "bytecode", "project")
RATIOS = (
    ("project", "plain"),
    ("project", "bytecode"),
    ("project", "no_op"),
    ("plain", "no_op"),
    ("bytecode", "no_op"),
)
LOG_SECONDS = 2.0


@dataclass(frozen=True)
class FirstRequest:
    """The first request of a cold start; `cached` is None for responses that are never cached."""

    target: str
    cached: bool | None

    @property
    def name(self) -> str:
        state = {None: "", True: ", cached", False: ", not cached"}[self.cached]
        return f"GET {self.target}{state}"

    @property
    def resource(self) -> str:
        return self.target.split("/")[1].partition("?")[0]

    def event(self) -> dict[str, Any]:
        request = Request("GET", self.target, [("host", "api.example.com")], b"", "192.0.2.1")
        return default_event(request, 80)


REQUESTS = (
    FirstRequest("/users", cached=True),
    FirstRequest("/users", cached=False),
    FirstRequest("/users/1", cached=None),
    FirstRequest("/posts?user_id=1&limit=10", cached=True),
    FirstRequest("/posts?user_id=1&limit=10", cached=False),
)
PROFILED = [request for request in REQUESTS if request.target == "/users"]
RESTORABLE = (REQUESTS[0], REQUESTS[2])
"""A page that is not cached is so only once: its warm requests would be hits."""
RESTORED = Path(__file__).with_name("cold_restored.py")


class Stage:
    """Everything that a cold start needs, and the warm workers that populate the caches."""

    def __init__(self, stack: ExitStack) -> None:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self.sites = Sites(directory / "sites")
        stack.callback(self.sites.remove)
        services = stack.enter_context(running_services(directory / "services"))
        direct = systems.prepare(services, USERS, POSTS_PER_USER)
        network = stack.enter_context(SlowNetwork(directory, services))
        network.set_round_trip(ROUND_TRIP_SECONDS)
        self._environments = systems.behind(network, direct)
        self._redis = stack.enter_context(redis.Redis.from_url(services.redis_url))
        self._warm_workers = {
            (system, resource): stack.enter_context(self._emulator(system, resource))
            for system in ("bytecode", "project")
            for resource in RESOURCES
        }

    def cold_start_seconds(self, system: str, request: FirstRequest) -> float:
        self._set_cache(system, request)
        with self._emulator(system, request.resource) as emulator:
            took_seconds = emulator.invoke(request.event())
            if system == "project" and request.cached is not None:
                _check_cache(emulator, "hit" if request.cached else "miss")
        self.sites.check_untouched()
        return took_seconds

    def at_once(self, request: FirstRequest) -> dict[str, float]:
        self._set_cache("project", request)
        return at_once(lambda: self._emulator("project", request.resource), request.event())

    def profiled(self, request: FirstRequest) -> dict[str, Any]:
        """Return where the time of this project's cold start goes."""
        return cold_profile.profile(self._cold_start(request))

    def restored(self, request: FirstRequest) -> dict[str, float]:
        """Return medians of milliseconds: the first request after a restore, warm ones, and
        connecting to the server that it needs."""
        start = self._cold_start(request, AWS_LAMBDA_INITIALIZATION_TYPE="snap-start")
        runs = [json.loads(start.run(program=RESTORED).stdout) for _ in range(ROUNDS)]
        server = "redis" if request.cached else "postgresql"
        return {
            "hooks_ms": _median(run["restore"] for run in runs),
            "first_ms": _median(run["first"] for run in runs),
            "warm_ms": _median(statistics.median(run["warm"]) for run in runs),
            "connect_ms": _median(statistics.median(run[server]) for run in runs),
        }

    def _cold_start(self, request: FirstRequest, **variables: str) -> cold_profile.ColdStart:
        roots, handler, environment = self._function("project", request.resource)
        return cold_profile.ColdStart(
            python=self.sites.python,
            handler=handler,
            event=request.event(),
            environment=function_environment(roots, handler, environment) | variables,
            prepare=lambda: self._set_cache("project", request),
        )

    def _emulator(self, system: str, resource: str) -> Emulator:
        return Emulator(self.sites.python, *self._function(system, resource))

    def _function(self, system: str, resource: str) -> tuple[tuple[Path, ...], str, dict[str, str]]:
        """Return the import roots, the handler and the environment."""
        if system == "project":
            roots, handler = self.sites.roots(resource), f"{resource}.handler.handler"
            return roots, handler, self._environments["project"]
        handler = "no_op.handler" if system == "no_op" else "app.handler"
        return self.sites.roots(system), handler, self._environments["baseline"]

    def _set_cache(self, system: str, request: FirstRequest) -> None:
        self._redis.flushall()
        end_quarantine(self._redis)
        if request.cached and system != "no_op":
            worker = "project" if system == "project" else "bytecode"
            self._warm_workers[worker, request.resource].invoke(request.event())


def measure() -> dict[str, Any]:
    """Milliseconds by request, then by system, with ratios of the lower quartiles, which other load
    on the machine affects least; then restored and concurrent starts, and the profile."""
    with ExitStack() as stack:
        stage = Stage(stack)
        times = _rounds(stage)
        return {
            "rounds": ROUNDS,
            "python": _version(stage.sites.python),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "requests": {request.name: _figures(times, request) for request in REQUESTS},
            "restored": {request.name: stage.restored(request) for request in RESTORABLE},
            "at_once": {request.name: stage.at_once(request) for request in PROFILED},
            "profile": {request.name: stage.profiled(request) for request in PROFILED},
        }


def markdown(results: Mapping[str, Any]) -> str:
    lines = [
        "| first request | this project | plain | bytecode | no-op | this project ÷ plain "
        "| this project ÷ bytecode | ÷ no-op: this project / plain / bytecode |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, figures in results["requests"].items():
        shown = " | ".join(_shown(figures[s]) for s in ("project", "plain", "bytecode", "no_op"))
        times_no_op = " / ".join(
            f"{figures[f'{system}_to_no_op']:.1f}" for system in ("project", "plain", "bytecode")
        )
        lines.append(
            f"| `{name}` | {shown} | {figures['project_to_plain']:.3f} "
            f"| {figures['project_to_bytecode']:.3f} | {times_no_op} |"
        )
    return "\n".join(
        [
            *lines,
            "",
            "Milliseconds from the event to the response of a new process, median (min to max) "
            f"of {results['rounds']} interleaved rounds, in AWS's emulator with AWS's runtime "
            f"client on Python {results['python']} ({results['machine']}), read-only directories. "
            "*plain* is the baseline as plain `sam build` ships it, without bytecode; *bytecode* "
            "is the baseline with bytecode; *no-op* is a handler that does nothing. Files are in "
            "the page cache, as the first round is discarded. A round trip takes "
            f"{ROUND_TRIP_SECONDS * 1000:g} ms to both servers, by TLS. Ratios are of "
            "lower quartiles.",
            "",
            _restored(results["restored"]),
            "",
            cold_at_once.markdown(results["at_once"]),
            "",
            cold_profile.markdown(results["profile"]),
        ]
    )


def _restored(requests: Mapping[str, Mapping[str, float]]) -> str:
    first = "; ".join(
        f"`{name}` {figures['first_ms']:.1f} ms, then {figures['warm_ms']:.1f} ms; "
        f"3 warm ones and a bare driver's new connection take "
        f"{3 * figures['warm_ms'] + figures['connect_ms']:.1f} ms"
        for name, figures in requests.items()
    )
    hooks = max(figures["hooks_ms"] for figures in requests.values())
    return (
        f"With SnapStart, the first request after a restore takes {first}. The hooks before it "
        f"take {hooks:.1f} ms, what Lambda takes to load a snapshot is not measured."
    )


def _median(milliseconds: Iterable[float]) -> float:
    return round(statistics.median(milliseconds), 2)


def _rounds(stage: Stage) -> dict[tuple[str, FirstRequest], list[float]]:
    times: dict[tuple[str, FirstRequest], list[float]] = defaultdict(list)
    for round_number in range(ROUNDS + 1):
        for request in REQUESTS:
            for system in SYSTEMS:
                took_seconds = stage.cold_start_seconds(system, request)
                if round_number:  # the first one warms up the page cache
                    times[system, request].append(took_seconds)
    return times


def _figures(
    times: Mapping[tuple[str, FirstRequest], list[float]], request: FirstRequest
) -> dict[str, Any]:
    medians = {system: statistics.median(times[system, request]) for system in SYSTEMS}
    figures: dict[str, Any] = {
        system: {
            "median_ms": round(medians[system] * 1000, 1),
            "min_ms": round(min(times[system, request]) * 1000, 1),
            "max_ms": round(max(times[system, request]) * 1000, 1),
        }
        for system in SYSTEMS
    }
    quick = {system: sorted(times[system, request])[ROUNDS // 4] for system in SYSTEMS}
    for one, other in RATIOS:
        figures[f"{one}_to_{other}"] = round(quick[one] / quick[other], 3)
    return figures


def _shown(figures: Mapping[str, float]) -> str:
    return f"{figures['median_ms']:.0f} ({figures['min_ms']:.0f} to {figures['max_ms']:.0f})"


def _check_cache(emulator: Emulator, expected: str) -> None:
    """Raises RuntimeError unless the function has logged that outcome of its cache."""
    deadline = time.monotonic() + LOG_SECONDS
    while not (outcomes := _cache_outcomes(emulator)) and time.monotonic() < deadline:
        time.sleep(0.01)  # the log may follow the response
    if outcomes != [expected]:
        raise RuntimeError(f"expected a cache {expected}, but {outcomes} was logged")


def _cache_outcomes(emulator: Emulator) -> list[str]:
    logged = (line.fields for line in emulator.log() if line.fields and not line.is_metrics)
    return [fields["cache"] for fields in logged if "cache" in fields]


def _version(python: str) -> str:
    printed = subprocess.run([python, "--version"], capture_output=True, text=True, check=True)
    return printed.stdout.split()[1]
