"""Toy projects, and programs that serve them, for the tests of the local runtime."""

import io
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from local.__main__ import main
from local.runtime.emulated import EmulatedWorker
from local.runtime.pure_python import PythonWorker
from local.runtime.worker import Worker
from local.services import Services
from tests.local.served import Served
from tests.local.toys import QUIET, Program, write_project
from tests.tools import require_emulator

EMULATED = pytest.param(EmulatedWorker, marks=pytest.mark.linux)


@dataclass(frozen=True)
class Finished:
    """The exit code of a command, and what it wrote."""

    code: int
    stdout: str
    stderr: str


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A template with one function."""
    return write_project(tmp_path)


@pytest.fixture(scope="module", params=[EMULATED, PythonWorker])
def worker_type(request: pytest.FixtureRequest) -> type[Worker]:
    """Each kind of workers."""
    kind: type[Worker] = request.param
    if kind is EmulatedWorker:
        require_emulator()
    return kind


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One gateway for all tests that do not mind what ran before."""
    served = Served(write_project(tmp_path_factory.mktemp("served")))
    yield served
    served.close()


@pytest.fixture
def given(services: Services) -> dict[str, str]:
    """The shell of a developer who has servers: starting the program takes a second less."""
    return {"DATABASE_URL": services.database_url, "REDIS_URL": services.redis_url}


@pytest.fixture
def start(project: Path) -> Iterator[Callable[..., Program]]:
    """Starts programs that end with the test."""
    with ExitStack() as stack:

        def start(*arguments: str, within: Sequence[str] = (), **shell: str) -> Program:
            program = Program(*arguments, project=project, shell=shell, within=within)
            return stack.enter_context(closing(program))

        yield start


@pytest.fixture
def run_local(
    project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Finished]:
    """Runs a command of `python -m local` to its end, in this process: SAM is imported once."""

    def run_local(*arguments: str, event: str = "", **shell: str) -> Finished:
        for name in QUIET:
            monkeypatch.delenv(name, raising=False)
        for name, value in shell.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(event.encode())))
        command, *rest = arguments
        code = main([command, "--template", f"{project}/template.yaml", *rest])
        return Finished(code, *capfd.readouterr())

    return run_local
