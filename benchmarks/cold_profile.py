"""A profile of a cold start: its phases, and its imports by package.

The phases are timed in a process without the emulator; the imports in another one with
`-X importtime`, which slows them a little. A package's time is that of its own modules, without
what they import in turn.
"""

import json
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).with_name("cold_phases.py")
RUNS = 7
HEAVIEST_MODULES = 20
SHOWN_FROM_MILLISECONDS = 1.0
ANNOUNCED = re.compile(r"phase: (.+)")
IMPORTED = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)")
OWN_PHASES = ("imports of the handler", "first request")
"""The others are the same for every function."""


@dataclass(frozen=True)
class ColdStart:
    """A cold start that can be repeated; `prepare` is called before each."""

    python: str
    handler: str
    event: Mapping[str, Any]
    environment: Mapping[str, str]
    prepare: Callable[[], None]

    def run(self, *options: str, program: Path = PROGRAM) -> subprocess.CompletedProcess[str]:
        self.prepare()
        command = [self.python, *options, str(program), self.handler, json.dumps(self.event)]
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=True
        )


def profile(cold_start: ColdStart) -> dict[str, Any]:
    """Return medians of `RUNS`, in milliseconds, of the phases and of the imports."""
    phases = [_phases(cold_start) for _ in range(RUNS)]
    imports = [_imports(cold_start) for _ in range(RUNS)]
    modules = _medians(imports)
    packages = _medians([_by_package(run) for run in imports])
    counts = Counter(map(_package, modules))
    return {
        "phases_ms": _medians(phases),
        "packages": {
            name: {"import_ms": milliseconds, "modules": counts[name]}
            for name, milliseconds in _heaviest(packages)
        },
        "heaviest_modules_ms": dict(_heaviest(modules)[:HEAVIEST_MODULES]),
    }


def markdown(profiles: Mapping[str, Any]) -> str:
    """Return a table of the phases and one of the packages; `profiles` are by request."""
    return "\n".join(
        [
            f"| phase | {' | '.join(f'{name}, ms' for name in profiles)} |",
            "|---" * (len(profiles) + 1) + "|",
            *(
                _row(phase, (one["phases_ms"][phase] for one in profiles.values()))
                for phase in next(iter(profiles.values()))["phases_ms"]
            ),
            "",
            f"| package | modules | {' | '.join(f'{name}, ms' for name in profiles)} |",
            "|---" * (len(profiles) + 2) + "|",
            *_package_rows(profiles),
            "",
            f"Medians of {RUNS} runs without the emulator. A package's time is that of its own "
            "modules, without what they import in turn (`-X importtime`). Imports of the "
            "interpreter and the runtime client are left out, and packages of less than "
            f"{SHOWN_FROM_MILLISECONDS:.0f} ms.",
        ]
    )


def _package_rows(profiles: Mapping[str, Any]) -> Iterable[str]:
    packages: dict[str, dict[str, Any]] = {}
    for one in profiles.values():
        packages |= one["packages"]
    for package, figures in packages.items():
        times = [
            one["packages"].get(package, {"import_ms": 0.0})["import_ms"]
            for one in profiles.values()
        ]
        if max(times) >= SHOWN_FROM_MILLISECONDS:
            yield _row(f"{package} | {figures['modules']}", times)


def _row(name: str, times: Iterable[float]) -> str:
    return f"| {name} | {' | '.join(f'{milliseconds:.1f}' for milliseconds in times)} |"


def _phases(cold_start: ColdStart) -> dict[str, float]:
    cold_start.prepare()
    started = time.monotonic()
    ended: dict[str, float] = json.loads(cold_start.run().stdout.splitlines()[-1])
    begun = [started, *ended.values()]
    return {
        phase: (end - begin) * 1000
        for (phase, end), begin in zip(ended.items(), begun, strict=False)
    }


def _imports(cold_start: ColdStart) -> dict[str, float]:
    """Return each module's own milliseconds, in the phases that this project can change."""
    phase = "interpreter"
    modules: dict[str, float] = {}
    for line in cold_start.run("-X", "importtime").stderr.splitlines():
        if announced := ANNOUNCED.fullmatch(line):
            phase = announced[1]
        elif phase in OWN_PHASES and (imported := IMPORTED.fullmatch(line)):
            modules[imported[2]] = int(imported[1]) / 1000
    return modules


def _by_package(modules: Mapping[str, float]) -> dict[str, float]:
    packages: Counter[str] = Counter()
    for module, milliseconds in modules.items():
        packages[_package(module)] += milliseconds  # type: ignore[assignment]
    return dict(packages)


def _package(module: str) -> str:
    top = module.partition(".")[0]
    # This Python's list may lack private names of the measured one.
    return "standard library" if top in sys.stdlib_module_names or top[0] == "_" else top


def _medians(runs: list[dict[str, float]]) -> dict[str, float]:
    return {
        name: round(statistics.median(run[name] for run in runs if name in run), 2)
        for name in runs[0]
    }


def _heaviest(times: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(times.items(), key=lambda item: -item[1])
