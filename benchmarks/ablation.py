"""Ablation: the project as shipped, compared with copies that lack one optimization each.

Both servers are behind a slow network with TLS (`slow_network`). A copy is patched, then built like
the project; the shipped code has no switches. Warm requests are measured in processes of the
virtual environment, cold starts in Lambda's emulator on Lambda's Python, in interleaved rounds.

A part stays only if it saves at least 5 % of the warm request or the cold start that it serves, or
keeps a promise that the stock part cannot keep.
"""

import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import redis

from benchmarks import systems
from benchmarks.cold_sites import Sites
from benchmarks.emulator import Emulator
from benchmarks.slow_network import SlowNetwork
from benchmarks.variants import FIRST_REQUESTS, SAME, SHIPPED, VARIANTS, Variant, copy_project
from benchmarks.warm import SystemProcess
from layers import build
from local.services import Services, running_services

ROUND_TRIP_SECONDS = 0.0005
WARM_ROUNDS = 40
REQUESTS_PER_ROUND = 20
COLD_ROUNDS = 25
USERS = 100_000
POSTS_PER_USER = 1
HANDLER = "users.handler.handler"
WORTH_KEEPING = 0.05


class Stage:
    """The servers, the network before them, and a copy of the project for each variant."""

    def __init__(self, stack: ExitStack, variants: tuple[Variant, ...]) -> None:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self._directory = directory
        services = stack.enter_context(running_services(directory / "services"))
        systems.migrate_and_fill(services.database_url, USERS, POSTS_PER_USER)
        self.redis = stack.enter_context(redis.Redis.from_url(services.redis_url))
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

    def process(self, variant: Variant) -> SystemProcess:
        folder = self._folder(variant)
        paths = [folder / "functions", folder / "layers" / "blog"]
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

    def _roots(self, variant: Variant, sites: Sites) -> tuple[Path, ...]:
        built = self._folder(variant) / "built"
        _, layers, runtime = sites.roots("users")
        if not variant.bytecode:
            layers = built / "dependencies"
        return (built / "users", built / "blog" / "python", layers, runtime)

    def _build(self, variant: Variant, sites: Sites) -> None:
        built = self._folder(variant) / "built"
        _run_build(self._folder(variant), "blog", str(built / "blog"))
        _run_build(self._folder(variant), "function", "users", build.HOST, str(built / "users"))
        if not variant.bytecode:
            _, layers, _ = sites.roots("users")
            shutil.copytree(layers, built / "dependencies")
            for bytecode in list(built.rglob("*.pyc")):
                bytecode.unlink()

    def _folder(self, variant: Variant) -> Path:
        return self._directory / "variants" / variant.name.replace(" ", "_")


def measure() -> dict[str, Any]:
    """Return milliseconds by variant, then by request, and the ratio to the shipped code."""
    return measured(VARIANTS)


def measured(variants: tuple[Variant, ...]) -> dict[str, Any]:
    with ExitStack() as stack:
        stage = Stage(stack, variants)
        return {"warm": _warm(stage, variants), "cold": _cold(stack, stage, variants)}


def markdown(results: Mapping[str, Any]) -> str:
    lines = ["| without it | warm, ms | cold start, ms | verdict |", "|---|---|---|---|"]
    for variant in VARIANTS:
        warm, cold = (results[kind].get(variant.name, {}) for kind in ("warm", "cold"))
        if warm | cold:
            cells = " | ".join("<br>".join(map(_shown, kind.items())) for kind in (warm, cold))
            lines.append(f"| {variant.name} | {cells} | {_verdict(variant, warm | cold)} |")
    return "\n".join(
        [
            *lines,
            "",
            "The project as shipped → without that part (ratio), the quickest quarter of "
            f"{WARM_ROUNDS * REQUESTS_PER_ROUND} requests and of {COLD_ROUNDS} cold starts, in "
            f"interleaved rounds, {USERS} users. A round trip takes "
            f"{ROUND_TRIP_SECONDS * 1000:g} ms to both servers, by TLS. The difference of *{SAME}* "
            "is the measurement's error. A part is kept if it saves 5 % of a request that it "
            "serves, or keeps a promise that the stock part cannot keep.",
        ]
    )


def _shown(item: tuple[str, Mapping[str, float]]) -> str:
    request, figures = item
    times = f"{figures['shipped_p25_ms']:.2f} → {figures['variant_p25_ms']:.2f}"
    return f"{request}: {times} ({figures['ratio']:.3f})"


def _verdict(variant: Variant, figures: Mapping[str, Mapping[str, float]]) -> str:
    if variant.name == SAME:
        return ""
    request = max(figures, key=lambda request: figures[request]["ratio"])
    saved = 1 - 1 / figures[request]["ratio"]
    if saved >= WORTH_KEEPING:
        return f"keep: saves {saved:.0%} of {request}"
    return f"keep: {variant.promise}" if variant.promise else "remove"


def _warm(stage: Stage, variants: tuple[Variant, ...]) -> dict[str, Any]:
    processes = {variant.name: stage.process(variant) for variant in variants}
    kinds = dict.fromkeys(kind for variant in variants for kind in variant.warm)
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    for round_number in range(WARM_ROUNDS + 1):
        for kind in kinds:
            for variant in _in_turn(variants, kind):
                measured = processes[variant.name].times_seconds(kind, REQUESTS_PER_ROUND)
                if round_number:  # the first one warms up
                    times[variant.name, kind] += measured
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
                stage.redis.flushall()
                if request.cached:
                    warm_worker.invoke(request.event())
                with stage.emulator(variant, sites) as emulator:
                    took_seconds = emulator.invoke(request.event())
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
    """The ratio is of the quickest quarters, which other load on the machine touches least."""
    (shipped_p25, shipped_p50), (p25, p50) = _quantiles_ms(shipped), _quantiles_ms(variant)
    return {
        "shipped_p25_ms": shipped_p25,
        "shipped_p50_ms": shipped_p50,
        "variant_p25_ms": p25,
        "variant_p50_ms": p50,
        "ratio": round(p25 / shipped_p25, 3),
    }


def _quantiles_ms(times_seconds: list[float]) -> tuple[float, float]:
    """The quickest quarter's and half's longest."""
    ordered = sorted(times_seconds)
    p25, p50 = ordered[len(ordered) // 4], ordered[len(ordered) // 2]
    return round(p25 * 1000, 3), round(p50 * 1000, 3)


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
