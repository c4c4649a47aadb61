"""A copy of the repository, for tests that change what it has and run its commands and suites."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.resources import ROOT

LISTED = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]


def copy_repository(folder: Path) -> None:
    """Copy what is committed, or would be, to an empty folder; packages are those of this one."""
    for name in filter(None, run(LISTED, ROOT).split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def generate(folder: Path, message: str) -> None:
    """Do as `make migration`, `make format` and `make openapi` do."""
    python(folder, "local.generate.migration", message)
    python(folder, "ruff", "format", "-q", ".")
    python(folder, "local.generate.openapi")
    python(folder, "local.generate.sample_events")


def python(folder: Path, module: str, *arguments: str) -> str:
    """Run a module in the copy, with the code of the copy; return what it prints."""
    paths = os.pathsep.join(str(folder / path) for path in (".", "functions", "layers/blog"))
    return run([sys.executable, "-m", module, *arguments], folder, {"PYTHONPATH": paths})


def run(command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> str:
    """Return what a command prints. Fails unless its exit code is 0."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | (environment or {}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
