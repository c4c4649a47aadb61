"""Ablation: the project as shipped, compared with copies that lack one optimization each.

Both servers are behind a slow network with TLS (`slow_network`). A copy is patched, then built like
the project; the shipped code has no switches. Warm requests are timed in processes of the virtual
environment; of cold starts, on Lambda's Python, the processor's time is measured, which is nearly
all of them and which other load on the machine touches least. A ratio is the median of those of the
interleaved rounds.

The rule: of all warm requests that a part serves, or of all cold starts, the mean ratio must be 5 %
beyond the noise, which is the largest deviation that a copy without any change shows in the same
run. Else the part stays only for a promise that the stock part cannot keep.
"""

import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from contextlib import ExitStack
from math import exp, log
from pathlib import Path
from typing import Any

import psycopg
import redis

from benchmarks import systems
from benchmarks.cold_profile import PROGRAM
from benchmarks.cold_sites import Sites
from benchmarks.emulator import Emulator, function_environment
from benchmarks.variants import FIRST_REQUESTS, SAME, SHIPPED, VARIANTS, Variant, copy_project
from benchmarks.warm import SystemProcess
from layers import build
from local.services import Services, running_services
from local.services.valkey import end_quarantine
from tests.network.slow_network import SlowNetwork

ROUND_TRIP_SECONDS = 0.0005
WARM_ROUNDS = 30
REQUESTS_PER_ROUND = 20
COLD_ROUNDS = 9
USERS = 100_000
POSTS_PER_USER = 1
HANDLER = "users.handler.handler"
WORTH_KEEPING = 0.05
KINDS = ("warm", "cold")


class Stage:
    """The servers, the network before them, and a copy of the project for each variant."""

    def __init__(self, stack: ExitStack, variants: tuple[Variant, ...]) -> None:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self._directory = directory
        services = stack.enter_context(running_services(directory / "services"))
        systems.migrate_and_fill(services.database_url, USERS, POSTS_PER_USER)
        self._network = stack.enter_context(SlowNetwork(directory, services))
        self._environments: dict[str, dict[str, str]] = {}
        for number, variant in enumerate(variants):
            copy_project(self._folder(variant), variant)
            database, redis_database = "blog", 0
            if variant.sql:
                database, redis_database = _own_database(services, variant, number), number
            self._environments[variant.name] = {
                "AUTH": "open",
                "DATABASE_URL": self._network.database_url(database),
                "REDIS_URL": self._network.redis_url(redis_database),
                "DIRECT_REDIS_URL": services.redis_url.replace("db=0", f"db={redis_database}"),
            }
        self._network.set_round_trip(ROUND_TRIP_SECONDS)
        self.empty_caches()

    def empty_caches(self) -> None:
        for url in {one["DIRECT_REDIS_URL"] for one in self._environments.values()}:
            with redis.Redis.from_url(url) as client:
                client.flushdb()
                end_quarantine(client)

    def process(self, variant: Variant) -> SystemProcess:
        folder = self._folder(variant)
        paths = [folder / "functions", folder / "layers" / "shared"]
        environment = self._environments[variant.name]
        return SystemProcess(
            "project", environment | {"PYTHONPATH": os.pathsep.join(map(str, paths))}
        )

    def build_sites(self, variants: tuple[Variant, ...]) -> Sites:
        sites = Sites(self._directory / "sites")
        for variant in variants:
            self._build(variant, sites)
        return sites

    def emulator(self, variant: Variant, sites: Sites) -> Emulator:
        environment = self._environments[variant.name]
        return Emulator(sites.python, self._roots(variant, sites), HANDLER, environment)

    def cold_start_seconds(self, variant: Variant, sites: Sites, event: Mapping[str, Any]) -> float:
        """Return the processor's time of a process, from its start to its first response."""
        environment = self._environments[variant.name]
        process = subprocess.Popen(
            [sites.python, str(PROGRAM), HANDLER, json.dumps(event)],
            env=function_environment(self._roots(variant, sites), HANDLER, environment),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"a cold start of {variant.name!r} failed")
        return usage.ru_utime + usage.ru_stime

    def _roots(self, variant: Variant, sites: Sites) -> tuple[Path, ...]:
        built = self._folder(variant) / "built"
        _, layers, runtime = sites.roots("users")
        if not variant.bytecode:
            layers = built / "dependencies"
        return (built / "users", built / "shared" / "python", layers, runtime)

    def _build(self, variant: Variant, sites: Sites) -> None:
        built = self._folder(variant) / "built"
        _run_build(self._folder(variant), "shared", str(built / "shared"))
        _run_build(self._folder(variant), "function", "users", build.HOST, str(built / "users"))
        if not variant.bytecode:
            _, layers, _ = sites.roots("users")
            shutil.copytree(layers, built / "dependencies")
            for bytecode in list(built.rglob("*.pyc")):
                bytecode.unlink()

    def _folder(self, variant: Variant) -> Path:
        return self._directory / "variants" / variant.name.replace(" ", "_")


def measure() -> dict[str, Any]:
    """Return milliseconds by variant, then by request, and the ratio to the shipped code's."""
    return measured(VARIANTS)


def measured(variants: tuple[Variant, ...]) -> dict[str, Any]:
    with ExitStack() as stack:
        stage = Stage(stack, variants)
        return {"warm": _warm(stage, variants), "cold": _cold(stack, stage, variants)}


def markdown(results: Mapping[str, Any]) -> str:
    lines = ["| without it | warm, ms | cold start, ms | verdict |", "|---|---|---|---|"]
    for variant in VARIANTS:
        kinds = [results[kind].get(variant.name, {}) for kind in KINDS]
        if any(kinds):
            cells = " | ".join("<br>".join(map(_shown, kind.items())) for kind in kinds)
            lines.append(f"| {variant.name} | {cells} | {verdict(variant, results)} |")
    return "\n".join(
        [
            *lines,
            "",
            "The project as shipped → without that part (ratio: the median of those of the "
            f"interleaved rounds), {USERS} users. Warm: the quickest quarter of "
            f"{REQUESTS_PER_ROUND} requests in each of {WARM_ROUNDS} rounds, a round trip of "
            f"{ROUND_TRIP_SECONDS * 1000:g} ms to both servers, by TLS. Cold: the processor's time "
            f"to the first response, in {COLD_ROUNDS} rounds. A part is kept if the mean of all "
            "warm requests that it serves, or of all cold starts, is 5 % beyond the noise: the "
            f"largest deviation of *{SAME}*. Else it is kept only for a promise that the stock "
            "part cannot keep.",
        ]
    )


def _shown(item: tuple[str, Mapping[str, float]]) -> str:
    request, figures = item
    times = f"{figures['shipped_ms']:.2f} → {figures['variant_ms']:.2f}"
    return f"{request}: {times} ({figures['ratio']:.3f})"


def verdict(variant: Variant, results: Mapping[str, Any]) -> str:
    """Return whether the part that the variant lacks is kept, and why; `results` has both kinds."""
    if variant.name == SAME:
        noises = (f"{kind} {exp(noise(results[kind])) - 1:.1%}" for kind in KINDS)
        return f"noise: {', '.join(noises)}"
    for kind in KINDS:
        if (saved := saved_beyond_noise(results[kind], variant.name)) >= WORTH_KEEPING:
            return f"keep: saves {saved:.0%} of its {kind} requests beyond the noise"
    return f"keep: {variant.promise}" if variant.promise else "remove"


def saved_beyond_noise(figures: Mapping[str, Any], name: str) -> float:
    """Return the share of all requests of the variant that the part it lacks saves for certain.

    It is the geometric mean's, less the noise: below 0 if the part costs more than it saves.
    """
    requests = figures.get(name)
    if not requests:
        return 0.0
    mean = statistics.fmean(log(request["ratio"]) for request in requests.values())
    return 1 - exp(noise(figures) - mean)


def noise(figures: Mapping[str, Any]) -> float:
    """Return the largest deviation of the identical copy from the shipped code, a logarithm."""
    return max(abs(log(request["ratio"])) for request in figures[SAME].values())


def _warm(stage: Stage, variants: tuple[Variant, ...]) -> dict[str, Any]:
    processes = {variant.name: stage.process(variant) for variant in variants}
    kinds = dict.fromkeys(kind for variant in variants for kind in variant.warm)
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    for round_number in range(WARM_ROUNDS + 1):
        for kind in kinds:
            for variant in _in_turn(variants, kind):
                measured = processes[variant.name].times_seconds(kind, REQUESTS_PER_ROUND)
                if round_number:  # the first one warms up
                    quickest = sorted(measured)[REQUESTS_PER_ROUND // 4]
                    times[variant.name, kind].append(quickest)
    for process in processes.values():
        process.close()
    return _figures({v.name: v.warm for v in variants}, times)


def _cold(stack: ExitStack, stage: Stage, variants: tuple[Variant, ...]) -> dict[str, Any]:
    sites = stage.build_sites(variants)
    stack.callback(sites.remove)
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    warm_worker = stack.enter_context(stage.emulator(variants[0], sites))
    for round_number in range(COLD_ROUNDS + 1):
        for name, request in FIRST_REQUESTS.items():
            for variant in _in_turn(variants, name):
                stage.empty_caches()
                if request.cached:
                    warm_worker.invoke(request.event())
                took_seconds = stage.cold_start_seconds(variant, sites, request.event())
                if round_number:  # the first one warms up the page cache
                    times[variant.name, name].append(took_seconds)
    return _figures({v.name: v.cold for v in variants}, times)


def _in_turn(variants: tuple[Variant, ...], request: str) -> list[Variant]:
    """Return the variants that the request concerns, and the shipped one, in random order."""
    concerned = [v for v in variants if request in v.warm + v.cold or v.name == SHIPPED]
    return random.sample(concerned, len(concerned))


def _figures(
    requests_of: Mapping[str, tuple[str, ...]], times: Mapping[tuple[str, str], list[float]]
) -> dict[str, Any]:
    return {
        variant: {
            request: _compared(times[SHIPPED, request], times[variant, request])
            for request in requests
        }
        for variant, requests in requests_of.items()
        if requests
    }


def _compared(shipped: list[float], variant: list[float]) -> dict[str, float]:
    """Both have a time for each round."""
    ratios = [one / other for one, other in zip(variant, shipped, strict=True)]
    return {
        "shipped_ms": round(statistics.median(shipped) * 1000, 3),
        "variant_ms": round(statistics.median(variant) * 1000, 3),
        "ratio": round(statistics.median(ratios), 3),
    }


def _own_database(services: Services, variant: Variant, number: int) -> str:
    name = f"variant_{number}"
    url = systems.create_database(services, name)
    systems.migrate_and_fill(url, USERS, POSTS_PER_USER)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(variant.sql.encode())
    return name


def _run_build(folder: Path, *arguments: str) -> None:
    # A copy of the project has no tools of its own.
    path = os.pathsep.join([str(build.OWN_UV.parent), os.environ["PATH"]])
    subprocess.run(
        [sys.executable, str(folder / "layers" / "build.py"), *arguments],
        env=os.environ | {"PATH": path},
        check=True,
        stdout=subprocess.DEVNULL,
    )
