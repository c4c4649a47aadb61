"""`make test` on a machine whose tools are there but do not work: green, and a line says why."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from layers import build

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
BASIC = ("cat", "env", "git", "ldd", "ls", "sh", "uname", "which")
# As Docker's client without its daemon; as a shim of pyenv, or npm without Node.js.
CLIENT_ALONE = """\
echo 'Client: Docker Engine - Community'
echo 'Cannot connect to the Docker daemon at unix:///var/run/docker.sock.' >&2
exit 1
"""
BROKEN = 'echo "${0##*/}: cannot be executed" >&2; exit 127\n'
UNREACHABLE_NPM = """\
if [ "$1" = --version ]; then echo 11.0.0; exit; fi
echo 'npm error code ENOTFOUND' >&2
exit 1
"""


class Machine:
    """A PATH with basic commands only, and without a version manager's or uv's Python."""

    def __init__(self, directory: Path) -> None:
        self.home, self.programs = directory / "home", directory / "programs"
        self.home.mkdir()
        self.programs.mkdir()
        for name in BASIC:
            if found := shutil.which(name):
                (self.programs / name).symlink_to(found)

    def provide(self, name: str, script: str) -> None:
        program = self.programs / name
        program.write_text(f"#!/bin/sh\n{script}", encoding="utf-8")
        program.chmod(0o755)

    def skipped(self, *arguments: str) -> list[str]:
        """Return the lines of pytest's summary on what was skipped; no test may fail."""
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
            cwd=ROOT,
            env={
                "HOME": str(self.home),
                "PATH": str(self.programs),
                "UV_CACHE_DIR": _uv_cache(),
                "UV_PYTHON_INSTALL_DIR": str(self.home / "python"),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        assert not re.search(r"\d+ (failed|error)", done.stdout)
        return [line for line in done.stdout.splitlines() if line.startswith("SKIPPED")]


def _uv_cache() -> str:
    found = subprocess.run([build.uv(), "cache", "dir"], capture_output=True, text=True, check=True)
    return found.stdout.strip()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


NO_ENGINE = "no Docker engine responds: start Docker"


@pytest.mark.parametrize("script", [CLIENT_ALONE, None], ids=["alone", "none"])
def test_without_an_engine_one_line_is_printed(machine: Machine, script: str | None) -> None:
    if script is not None:
        machine.provide("docker", script)
    [line] = machine.skipped("-m", "docker", "tests/e2e", "tests/template")
    assert re.fullmatch(rf"SKIPPED \[\d\d\] tests: {NO_ENGINE}", line)


def test_without_a_python_for_bytecode_one_line_is_printed(machine: Machine) -> None:
    machine.provide("docker", CLIENT_ALONE)
    machine.provide("python3.13", BROKEN)
    shim = machine.home / ".pyenv" / "versions" / "3.13.9" / "bin" / "python3"
    shim.parent.mkdir(parents=True)
    shim.write_text(f"#!/bin/sh\n{BROKEN}", encoding="utf-8")
    shim.chmod(0o755)
    [line] = machine.skipped("-m", "not docker", "tests/template/test_build.py")
    assert "there is no Python 3.13, and no Docker engine responds: `uv python install" in line


@pytest.mark.xfail(
    build.target_python() is None, reason="there is no Python of Lambda's version", run=False
)
def test_with_a_python_for_bytecode_only_docker_is_missing(machine: Machine) -> None:
    machine.provide("docker", CLIENT_ALONE)
    (machine.programs / "python3.13").symlink_to(str(build.target_python()))
    [line] = machine.skipped("tests/template/test_build.py")
    assert NO_ENGINE in line


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (BROKEN, "npm does not run: install Node.js with npm"),
        (UNREACHABLE_NPM, "a registry of packages cannot be reached"),
    ],
    ids=["broken", "unreachable"],
)
def test_without_packages_of_node_one_line_is_printed(
    machine: Machine, script: str, reason: str
) -> None:
    machine.provide("npm", script)
    [line] = machine.skipped("tests/clients", "-k", "spectral or redocly or typescript")
    assert reason in line


@pytest.mark.parametrize("script", [BROKEN, None], ids=["broken", "none"])
def test_without_a_browser_one_line_is_printed(machine: Machine, script: str | None) -> None:
    if script is not None:
        machine.provide("chromium", script)
    [line] = machine.skipped("tests/e2e/test_browser.py")
    assert "no Chromium starts: `apt-get install chromium`" in line
