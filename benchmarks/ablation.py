"""What each trick and each part of our own gains: the project as shipped beside a copy without it.

Both servers are a network away (`slow_network`), by TLS. A copy is patched, then built as the
project is; the shipped code has no switches. Warm requests are measured in processes of the
virtual environment, cold starts in Lambda's emulator on Lambda's Python, in interleaved rounds.

A part stays only if it saves at least 5 % of the warm request or the cold start that it serves, or
keeps a promise that the stock part cannot keep.
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
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from benchmarks import systems
from benchmarks.cold import REQUESTS as COLD_REQUESTS
from benchmarks.cold import FirstRequest
from benchmarks.cold_profile import PROGRAM
from benchmarks.cold_sites import Sites
from benchmarks.emulator import Emulator, function_environment
from benchmarks.slow_network import SlowNetwork
from benchmarks.warm import Contender
from layers import build
from local.services import running_services

ROUND_TRIP_SECONDS = 0.0005
WARM_ROUNDS = 40
REQUESTS_PER_ROUND = 20
COLD_ROUNDS = 15
USERS = 1000
POSTS_PER_USER = 1
SHIPPED = "as shipped"
HANDLER = "users.handler.handler"
WORTH_KEEPING = 1.05
COPIED = ("functions", "layers", "pyproject.toml", "uv.lock")
VARIANTS_FOLDER = Path(__file__).with_name("variants")
FIRST_REQUESTS = {request.name: request for request in COLD_REQUESTS if "users" in request.target}
CACHED, NOT_CACHED, ONE_USER = FIRST_REQUESTS

Change = Callable[[str], str]
ColdTimer = Callable[["Variant", Sites, FirstRequest], float]


@dataclass(frozen=True)
class Variant:
    """A copy of the project: `changes` by file; `warm` and `cold` are the requests it serves."""

    name: str
    changes: Mapping[str, Change] = field(default_factory=dict)
    replacement: str | None = None
    """A module of `variants`, which the changed modules import at their end."""
    bytecode: bool = True
    warm: tuple[str, ...] = ()
    cold: tuple[str, ...] = ()


def appended(text: str) -> Change:
    return lambda source: f"{source}\n\n{text}\n"


def replaced(old: str, new: str) -> Change:
    def change(source: str) -> str:
        if source.count(old) != 1:
            raise ValueError(f"{old!r} is there {source.count(old)} times")
        return source.replace(old, new)

    return change


def _module(name: str, replacing: str, **served: Any) -> Variant:
    """The module `name` of `variants` in place of what it patches in `blog.{replacing}`."""
    change = appended(f"import blog.{name}  # noqa: E402, F401")
    return Variant(name, {f"layers/blog/blog/{replacing}.py": change}, name, **served)


WITHOUT = (
    Variant("no bytecode", bytecode=False, cold=(CACHED, NOT_CACHED, ONE_USER)),
    Variant(
        "no deferred OpenAPI models",
        {"layers/blog/blog/__init__.py": replaced("import blog.lean_fastapi", "#")},
        cold=(CACHED, NOT_CACHED, ONE_USER),
    ),
    Variant(
        "no garbage collector switch",
        {
            "layers/blog/blog/application.py": lambda source: (
                source.replace("\ngc.disable()\n", "\n")
                .replace("    gc.freeze()", "    #")
                .replace("    gc.set_threshold(COLLECT_AFTER_OBJECTS)\n", "")
            )
        },
        warm=("cached list", "one user", "update a user"),
        cold=(CACHED, NOT_CACHED, ONE_USER),
    ),
    Variant(
        "no lazy imports",
        {
            "layers/blog/blog/lazy.py": appended(
                "def lazy_module(name: str) -> ModuleType: return importlib.import_module(name)"
            )
        },
        cold=(CACHED, NOT_CACHED, ONE_USER),
    ),
    _module(
        "redis_client",
        "redis_connection",
        warm=("cached list", "uncached list", "update a user"),
        cold=(CACHED, NOT_CACHED),
    ),
    _module(
        "redis_single",
        "redis_connection",
        warm=("cached list", "uncached list", "update a user"),
        cold=(CACHED, NOT_CACHED),
    ),
    _module(
        "sqlalchemy_pool",
        "database",
        warm=("one user", "uncached list", "create a user", "update a user"),
        cold=(NOT_CACHED, ONE_USER),
    ),
)


class Stage:
    """The servers, the network before them, and a copy of the project for each variant."""

    def __init__(self, stack: ExitStack, variants: tuple[Variant, ...]) -> None:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self._directory = directory
        services = stack.enter_context(running_services(directory / "services"))
        systems.prepare(services, USERS, POSTS_PER_USER)
        self.network = stack.enter_context(SlowNetwork(directory, services))
        self.network.set_round_trip(ROUND_TRIP_SECONDS)
        self.environment = {
            "DATABASE_URL": self.network.database_url("blog"),
            "REDIS_URL": self.network.redis_url(0),
        }
        self.redis = stack.enter_context(redis.Redis.from_url(services.redis_url))
        for variant in variants:
            self._copy(variant)

    def contender(self, variant: Variant) -> Contender:
        folder = self._folder(variant)
        paths = [folder / "functions", folder / "layers" / "blog"]
        return Contender(
            "ours", self.environment | {"PYTHONPATH": os.pathsep.join(map(str, paths))}
        )

    def build_sites(self, variants: tuple[Variant, ...]) -> Sites:
        sites = Sites(self._directory / "sites")
        for variant in variants:
            self._build(variant, sites)
        return sites

    def emulator(self, variant: Variant, sites: Sites) -> Emulator:
        return Emulator(sites.python, self._roots(variant, sites), HANDLER, self.environment)

    def _roots(self, variant: Variant, sites: Sites) -> tuple[Path, ...]:
        built = self._folder(variant) / "built"
        _, layers, runtime = sites.roots("users")
        if not variant.bytecode:
            layers = built / "dependencies"
        return (built / "users", built / "blog" / "python", layers, runtime)

    def cold_seconds(self, variant: Variant, sites: Sites, request: FirstRequest) -> float:
        with self.emulator(variant, sites) as emulator:
            return emulator.invoke(request.event())

    def cold_cpu_seconds(self, variant: Variant, sites: Sites, request: FirstRequest) -> float:
        """Of a process without the emulator, from its start to its response."""
        environment = function_environment(self._roots(variant, sites), HANDLER, self.environment)
        command = [sites.python, str(PROGRAM), HANDLER, json.dumps(request.event())]
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        return usage.ru_utime + usage.ru_stime

    def _copy(self, variant: Variant) -> None:
        folder = self._folder(variant)
        folder.mkdir(parents=True)
        for name in COPIED:
            source = build.ROOT / name
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, folder / name, ignore=ignored)
            else:
                shutil.copy(source, folder / name)
        for path, change in variant.changes.items():
            file = folder / path
            file.write_text(change(file.read_text(encoding="utf-8")), encoding="utf-8")
        if variant.replacement:
            name = f"{variant.replacement}.py"
            shutil.copy(VARIANTS_FOLDER / name, folder / "layers" / "blog" / "blog" / name)

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
    return measured((Variant(SHIPPED), *WITHOUT))


def measured(variants: tuple[Variant, ...]) -> dict[str, Any]:
    """By variant, then by request: milliseconds, and the ratio to what is shipped."""
    with ExitStack() as stack:
        stage = Stage(stack, variants)
        sites = stage.build_sites(variants)
        stack.callback(sites.remove)
        return {
            "warm": _warm(stage, variants, "perf_counter"),
            "warm, CPU": _warm(stage, variants, "process_time"),
            "cold": _cold(stage, sites, variants, stage.cold_seconds),
            "cold, CPU": _cold(stage, sites, variants, stage.cold_cpu_seconds),
        }


def markdown(results: Mapping[str, Any]) -> str:
    lines = [
        "| variant | request | shipped, ms: p10 (p50) | variant | ratio of p10 | of medians |",
        "|---|---|---|---|---|---|",
    ]
    for kind in results:
        for variant, requests in results[kind].items():
            for request, figures in requests.items():
                lines.append(
                    f"| {variant} | {kind}: {request} "
                    f"| {figures['shipped_p10_ms']:.2f} ({figures['shipped_p50_ms']:.2f}) "
                    f"| {figures['variant_p10_ms']:.2f} ({figures['variant_p50_ms']:.2f}) "
                    f"| {figures['ratio']:.3f} | {figures['ratio_of_medians']:.3f} |"
                )
    return "\n".join(lines)


def _warm(stage: Stage, variants: tuple[Variant, ...], clock: str) -> dict[str, Any]:
    contenders = {variant.name: stage.contender(variant) for variant in variants}
    kinds = sorted({kind for variant in variants for kind in variant.warm})
    times: dict[tuple[str, str], list[list[float]]] = defaultdict(list)
    for round_number in range(WARM_ROUNDS + 1):
        for kind in kinds:
            asked = [v for v in variants if kind in v.warm or v.name == SHIPPED]
            random.shuffle(asked)
            for variant in asked:
                contender = contenders[variant.name]
                measured = contender.times_seconds(kind, REQUESTS_PER_ROUND, clock)
                if round_number:  # the first one warms up
                    times[variant.name, kind].append(measured)
    for contender in contenders.values():
        contender.close()
    return _figures({v.name: v.warm for v in variants}, times)


def _cold(
    stage: Stage, sites: Sites, variants: tuple[Variant, ...], seconds_of: ColdTimer
) -> dict[str, Any]:
    times: dict[tuple[str, str], list[list[float]]] = defaultdict(list)
    with stage.emulator(variants[0], sites) as filler:
        for round_number in range(COLD_ROUNDS + 1):
            for name, request in FIRST_REQUESTS.items():
                asked = [v for v in variants if name in v.cold or v.name == SHIPPED]
                random.shuffle(asked)
                for variant in asked:
                    stage.redis.flushall()
                    if request.cached:
                        filler.invoke(request.event())
                    took_seconds = seconds_of(variant, sites, request)
                    if round_number:  # the first one warms up the page cache
                        times[variant.name, name].append([took_seconds])
    return _figures({v.name: v.cold for v in variants}, times)


def _figures(
    requests_of: Mapping[str, tuple[str, ...]],
    times: Mapping[tuple[str, str], list[list[float]]],
) -> dict[str, Any]:
    return {
        variant: {
            request: _compared(times[SHIPPED, request], times[variant, request])
            for request in requests
        }
        for variant, requests in requests_of.items()
        if requests
    }


def _compared(shipped: list[list[float]], variant: list[list[float]]) -> dict[str, float]:
    """`ratio` is of the quickest tenths, which other load on the machine touches least;
    `ratio_of_medians` that of the medians of each round, which were measured side by side."""
    ratios = sorted(
        statistics.median(ours) / statistics.median(theirs)
        for ours, theirs in zip(variant, shipped, strict=True)
    )
    of_shipped, of_variant = (_quantiles_ms(times) for times in (shipped, variant))
    return {
        **{f"shipped_{name}_ms": value for name, value in of_shipped.items()},
        **{f"variant_{name}_ms": value for name, value in of_variant.items()},
        "ratio": round(of_variant["p10"] / of_shipped["p10"], 3),
        "ratio_of_medians": round(statistics.median(ratios), 3),
    }


def _quantiles_ms(rounds: list[list[float]]) -> dict[str, float]:
    ordered = sorted(time for times in rounds for time in times)
    return {
        "p10": round(ordered[len(ordered) // 10] * 1000, 3),
        "p50": round(ordered[len(ordered) // 2] * 1000, 3),
    }


def _run_build(folder: Path, *arguments: str) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(
        [sys.executable, str(folder / "layers" / "build.py"), *arguments],
        env=os.environ | {"PATH": path},
        check=True,
        capture_output=True,
    )
