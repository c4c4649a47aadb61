"""The directories from which each system is loaded, built as they would be deployed.

    runtime/        AWS's Python runtime client, with bytecode, as in Lambda's image
    no_op/          a handler that does nothing
    plain/          the baseline as plain `sam build` ships it: packages of uv.lock, no bytecode
    bytecode/       the same, given ordinary bytecode that is never checked
    layers/python/  this project: both layers, merged as Lambda merges them below /opt
    users/ posts/   this project: the functions

This project's files are what `layers/build.py` makes. Sites are read-only; since root can
write to them all the same, `check_untouched` checks that Python has written no bytecode.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from layers import build

RESOURCES = ("users", "posts")
NO_OP = """\
def handler(event, context):
    return {"statusCode": 200, "headers": {}, "body": "{}"}
"""
COMPILE = ("-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash")


class CannotMeasure(Exception):
    """A requirement is missing; the message says how to install it."""


class Sites:
    """The sites below a new `directory`; they are read-only, so call `remove` to delete them.

    Raises `CannotMeasure` without a Python of Lambda's version.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir()
        self.python = _target_python()
        self._build_runtime()
        self._build_baseline("plain")
        self._build_baseline("bytecode")
        self._compile("bytecode")
        self._build_project()
        self._bytecode = self._bytecode_files()
        for folder in self._folders():
            folder.chmod(0o555)

    def roots(self, site: str) -> tuple[Path, ...]:
        """Return the import roots of the site's handler, in Lambda's order."""
        layers = (self._directory / "layers" / "python",) if site in RESOURCES else ()
        return (self._directory / site, *layers, self._directory / "runtime")

    def check_untouched(self) -> None:
        """Raise RuntimeError if a measured process has written bytecode into a site."""
        if written := self._bytecode_files() - self._bytecode:
            raise RuntimeError(f"a cold start wrote bytecode: {min(written)}")

    def remove(self) -> None:
        for folder in self._folders():
            folder.chmod(0o755)
        shutil.rmtree(self._directory)

    def _build_runtime(self) -> None:
        locked = self._locked("--only-group", "local")
        self._install("runtime", "--constraints", str(locked), "awslambdaric")
        self._compile("runtime")
        (self._directory / "no_op").mkdir()
        (self._directory / "no_op" / "no_op.py").write_text(NO_OP, encoding="utf-8")
        self._compile("no_op")

    def _build_baseline(self, site: str) -> None:
        locked = self._locked("--no-default-groups", "--group", "benchmarks")
        self._install(site, "--no-deps", "--require-hashes", "--requirements", str(locked))
        shutil.copy(build.ROOT / "benchmarks" / "baseline" / "app.py", self._directory / site)

    def _build_project(self) -> None:
        layers, shared = self._directory / "layers", self._directory / "shared"
        self._run_build("dependencies", build.HOST, str(layers))
        self._run_build("shared", str(shared))
        shutil.copytree(shared, layers, dirs_exist_ok=True)
        shutil.rmtree(shared)
        for resource in RESOURCES:
            self._run_build("function", resource, build.HOST, str(self._directory / resource))

    def _locked(self, *groups: str) -> Path:
        """Return a requirements file with the packages of the groups in uv.lock."""
        file = self._directory / "requirements.txt"
        _run(
            *(build.uv(), "export", "--frozen", "--quiet", "--no-emit-project", *groups),
            *("--output-file", str(file)),
        )
        return file

    def _install(self, site: str, *requirements: str) -> None:
        _run(
            *(build.uv(), "pip", "install", "--quiet", "--only-binary", ":all:"),
            # Copies, so that files of uv's cache do not become read-only.
            *("--python", self.python, "--link-mode", "copy", "--no-compile-bytecode"),
            *("--target", str(self._directory / site), *requirements),
        )

    def _compile(self, site: str) -> None:
        _run(self.python, *COMPILE, str(self._directory / site))

    def _run_build(self, *arguments: str) -> None:
        _run(sys.executable, str(build.ROOT / "layers" / "build.py"), *arguments)

    def _bytecode_files(self) -> set[Path]:
        return set(self._directory.rglob("*.pyc"))

    def _folders(self) -> list[Path]:
        """Return all folders, parents first."""
        return sorted(path for path in self._directory.rglob("*") if path.is_dir())


def _target_python() -> str:
    python = build.target_python()
    if python is None:
        raise CannotMeasure(
            f"cold starts are measured on Lambda's Python, {build.PYTHON_VERSION}, which is "
            f"not installed: run `uv python install {build.PYTHON_VERSION}`"
        )
    return python


def _run(*command: str) -> None:
    environment = os.environ | {"UV_SYSTEM_CERTS": "true", "UV_NATIVE_TLS": "true"}
    done = subprocess.run(
        command, cwd=build.ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise CannotMeasure(f"{' '.join(command)}\n{done.stderr or done.stdout}")
