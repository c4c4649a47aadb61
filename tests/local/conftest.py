"""Toy projects, and programs that serve them, for the tests of the local runtime."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from local.services import Services
from tests.local.toys import Program, write_project


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A template with one function."""
    return write_project(tmp_path)


@pytest.fixture
def given(services: Services) -> dict[str, str]:
    """The shell of a developer who has servers: starting the program takes a second less."""
    return {"DATABASE_URL": services.database_url, "REDIS_URL": services.redis_url}


@pytest.fixture
def start(project: Path) -> Iterator[Callable[..., Program]]:
    """Starts programs that end with the test."""
    with ExitStack() as stack:

        def start(*arguments: str, **shell: str) -> Program:
            return stack.enter_context(closing(Program(*arguments, project=project, shell=shell)))

        yield start
