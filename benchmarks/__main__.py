"""Measure this project against the baseline: `python -m benchmarks [PART …]`, all parts by default.

A part is a module of this folder with two functions: `measure()` runs it and returns its
results, ready for JSON; `markdown(results)` formats them. The results of each part are stored in
`results/{part}.json`, and its commit and day in `results/measured.json`; the page and the plots
(`report`) are written again after each part.
"""

import argparse
import importlib
import json
import subprocess
import sys
import time
from typing import Any

from benchmarks import report

PARTS = tuple(report.TITLES)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"one of {', '.join(PARTS)}")
    parts = parser.parse_args().parts or PARTS
    for part in parts:
        if part not in PARTS:
            parser.error(f"{part} is not one of {', '.join(PARTS)}")
    if len(parts) == 1:
        _run(parts[0])
        return
    for part in parts:  # each in a process of its own, as settings are read once in a process
        subprocess.run([sys.executable, "-m", "benchmarks", part], check=True)


def _run(part: str) -> None:
    print(f"{part} …", flush=True)
    started = time.monotonic()
    module = importlib.import_module(f"benchmarks.{part}")
    results: dict[str, Any] = module.measure()
    path = report.RESULTS / f"{part}.json"
    path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    report.record(part)
    print(f"{module.markdown(results)}\n({time.monotonic() - started:.0f} s)", flush=True)
    report.write()


if __name__ == "__main__":
    main()
