"""A copy of the repository, for tests that change what it has and run its commands and suites."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.resources import ROOT

LISTED = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
MAKE = ["make", "-s", "-o", ".venv/.ready", f"BIN={Path(sys.executable).parent}"]
"""Make with this environment's packages: it installs none."""


def copy_repository(folder: Path) -> None:
    """Copy what is committed, or would be, to an empty folder; packages are those of this one."""
    for name in filter(None, run(LISTED, ROOT).split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def committed(folder: Path) -> Path:
    """Return the folder, with a commit of the repository and its tools."""
    copy_repository(folder)
    (folder / ".tools").symlink_to(ROOT / ".tools")
    commit(folder)
    return folder


def commit(folder: Path) -> None:
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "All"]):
        run(["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org", *command], folder)


def make(folder: Path, targets: Mapping[str, str]) -> None:
    """Make these targets, each with its MESSAGE."""
    for target, message in targets.items():
        run([*MAKE, target, f"MESSAGE={message}"], folder)


def mypy(folder: Path, *arguments: str) -> None:
    """Check types in the folder, with what a check of this repository found: 1 s instead of 9 s."""
    cache, copy = (root / ".mypy_cache" for root in (ROOT, folder))
    if cache.exists() and not copy.exists():
        shutil.copytree(cache, copy)
    python(folder, "mypy", *arguments)


def python(folder: Path, module: str, *arguments: str) -> None:
    run([sys.executable, "-m", module, *arguments], folder)


def run(command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> str:
    """Run a command in the folder, with the code of the folder; return its output.

    Fails, with the end of its output and nothing of this file, unless its exit code is 0.
    """
    paths = os.pathsep.join(str(folder / path) for path in (".", "functions", "layers/shared"))
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": paths, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        output = "\n".join((done.stdout + done.stderr).splitlines()[-150:])
        pytest.fail(f"In the copy failed: {' '.join(command)}\n\n{output}", pytrace=False)
    return done.stdout
