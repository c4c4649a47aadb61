"""The commands that README and docstrings print run as they are printed, from the repository."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    path.stem for path in (ROOT / "benchmarks").glob("*.py") if not path.stem.startswith("__")
)
# The first thing that a part does: both systems' schemas, made by programs of their own.
PREPARE = """
import tempfile
from pathlib import Path
from benchmarks import systems
from local.services import running_services
with tempfile.TemporaryDirectory() as directory:
    with running_services(Path(directory), ephemeral=True) as services:
        print(sorted(systems.prepare(services, users=3, posts_per_user=2)))
"""


# What a part gives to the programs that it starts.
URLS = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", "REDIS_URL": "redis://127.0.0.1:1"}


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Python with these arguments, where nobody has said how it finds the code."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | URLS
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_module_that_is_named_as_a_command_is_there() -> None:
    sources = [ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*")]
    texts = [path.read_text(encoding="utf-8") for path in sources if path.is_file()]
    named = {name for text in texts for name in re.findall(r"python -m benchmarks\.(\w+)", text)}
    assert "local_runtimes" in named
    assert named <= set(MODULES)


def test_every_module_finds_its_imports() -> None:
    code = "import sys, importlib\nfor name in sys.argv[1:]: importlib.import_module(name)"
    done = run("-c", code, *(f"benchmarks.{name}" for name in MODULES))
    assert done.returncode == 0, done.stderr


def test_the_command_lists_its_parts() -> None:
    done = run("-m", "benchmarks", "none")
    assert done.returncode == 2
    assert "none is not one of cold, credentials, warm," in done.stderr


@pytest.mark.slow
def test_both_systems_are_prepared() -> None:
    done = run("-c", PREPARE)
    assert done.stdout == "['baseline', 'project']\n", done.stderr
