"""A copy of the repository, for tests that change what it has and run its commands and suites."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.resources import ROOT

LISTED = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]


def copy_repository(folder: Path) -> None:
    """Copy what is committed, or would be, to an empty folder; packages are those of this one."""
    for name in filter(None, run(LISTED, ROOT).split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def make(folder: Path, targets: Mapping[str, str]) -> None:
    """Run the recipes of these targets, each with its MESSAGE, but install no packages."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target, message in targets.items():
        recipe = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
        assert recipe is not None, f"make {target}"
        for line in recipe[1].splitlines():
            command = line.strip().removeprefix("@").replace('"$(MESSAGE)"', f'"{message}"')
            command = command.replace("$(BIN)/python", sys.executable)
            command = command.replace("$(BIN)/ruff", f"{sys.executable} -m ruff")
            run(["sh", "-c", command], folder)


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
