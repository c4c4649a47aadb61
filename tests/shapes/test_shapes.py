"""Changes that people make to a resource, each carried out in a copy of the repository.

A file `*.diff` beside this one is all that is typed, as `git diff` shows it; a migration, the
OpenAPI document and the sample events are generated. Then the suites that hold every resource to
its promises pass in the copy, and its code is linted and typed.
"""

from pathlib import Path

import pytest

from tests.repository_copy import copy_repository, make, python, run

pytestmark = pytest.mark.shapes

CHANGES = sorted(Path(__file__).parent.glob("*.diff"))
SUITES = (
    "tests/every_resource",
    "tests/auth",
    "tests/meta",
    "tests/users",
    "tests/posts",
    "tests/layer/test_imports.py",
    "tests/layer/test_deferred_models.py",
    "tests/layer/test_framework_responses.py",
    "tests/layer/test_response_headers.py",
    "tests/migrations/test_schema.py",
    "tests/migrations/test_handler.py",
    "tests/template/test_authorization.py",
    "tests/template/test_generated.py",
)


@pytest.fixture(scope="module", params=CHANGES, ids=lambda change: change.stem)
def copy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository in which a change was made."""
    folder = tmp_path_factory.mktemp("copy")
    copy_repository(folder)
    # Not as a part of a repository around the folder, which `git apply` would look for.
    around = {"GIT_CEILING_DIRECTORIES": str(folder.parent)}
    run(["git", "apply", "-C1", str(request.param)], folder, around)
    message = request.param.stem.replace("_", " ").capitalize()
    make(folder, {"migration": message})
    python(folder, "ruff", "format", "-q", ".")
    make(folder, {"openapi": ""})
    return folder


@pytest.mark.slow
def test_the_suites_of_every_resource_pass(copy: Path) -> None:
    suites = [suite for suite in SUITES if (copy / suite).exists()]
    python(copy, "pytest", "-q", "--no-header", "-p", "no:cacheprovider", *suites)


@pytest.mark.slow
def test_what_was_typed_and_generated_is_linted_and_typed(copy: Path) -> None:
    python(copy, "ruff", "check", "-q", "functions", "layers", "local")
    python(copy, "mypy", "functions", "layers/shared/shared")
