"""`make resource`, run in a copy of the repository, and docs/adding-a-resource.md, which shows it.

Only the changes of the command and of the page are made: everything else is derived.
"""

import re
import shlex
from pathlib import Path

import pytest

from local.generate.resource import TYPES
from tests.documentation.curl import blocks
from tests.repository_copy import MAKE, copy_repository, make, mypy, python, run
from tests.resources import OWNERS, RESOURCES, ROOT

PAGE = (ROOT / "docs" / "adding-a-resource.md").read_text(encoding="utf-8")
SHOWN = [line for line in blocks(PAGE, "sh")[0].splitlines() if line.startswith("make resource")]
BLOCK = re.compile(r"([^\n]+(?:\n[^\n]+)*)\n\n```python\n(.*?)```", re.DOTALL)
"""A block of code, with the paragraph before it."""
TYPES_OF_FIELDS = (*TYPES, "str(3)", "decimal(3,2)")
FIELDS = [f"a{number}:{type_}" for number, type_ in enumerate(TYPES_OF_FIELDS)]
NULLABLE = [f"{field}?" for field in FIELDS]
NAMES = "body data item_id key name next owner page query reader rows total value version"
"""Of fields, which the layer's code uses for something else."""
COMMANDS = [
    *SHOWN,
    f"make resource NAME=people ITEM=person FIELDS='{' '.join(NULLABLE)}'",
    f"make resource NAME=line_items OF={OWNERS or 'people'} FIELDS='{' '.join(FIELDS)}'",
    "make resource NAME=countries KEY=code FIELDS='name:str'",
    "make resource NAME=documents OF=countries KEY=uuid FIELDS='title:str?'",
    "make resource NAME=sections OF=documents FIELDS='content:text'",
    f"make resource NAME=names FIELDS='{' '.join(f'{name}:int' for name in NAMES.split())}'",
    "make resource NAME=visits OF=people FIELDS='title:str'",
]
MODELS = "layers/shared/shared/database/models.py"
RESTRICTED = "visits_of_people"
# What a user runs who added a resource. Of the template's tests, those that build and deploy it are
# the same for every resource; of the layer's, those that import every function.
SUITES = (
    *(f"tests/{re.findall('NAME=([a-z_]+)', command)[0]}" for command in COMMANDS),
    "tests/every_resource",
    "tests/documentation/test_api.py",
    "tests/meta/test_openapi.py",
    "tests/auth/test_audit.py",
    "tests/auth/test_policy.py",
    "tests/local/test_generate_resource.py",
    "tests/template/test_template.py",
    "tests/template/test_generated.py",
    "tests/template/test_authorization.py",
    "tests/migrations/test_schema.py::test_models_and_migrations_make_the_same_schema",
    "tests/migrations/test_app_role.py::test_every_operation_works_as_the_role",
    "tests/migrations/test_app_role.py::test_a_retried_create_works_as_the_role",
    "tests/migrations/test_random_writes.py",
    "tests/layer/test_idempotency.py",
    "tests/layer/test_imports.py",
    "tests/layer/test_cold_start_imports.py",
    "tests/layer/test_framework_responses.py",
)
OF_FIELDS = "(tickets or people or visits)"
"""Resources that differ from others in their fields alone: not in their keys, parents or owners."""
OF_HTTP = "(test_conditions or test_cached_lists or test_cold_start or test_framework_responses)"
"""Suites in which fields make no difference."""
LEFT_OUT = (
    *RESOURCES,
    "test_visits_are_deleted_with_their_person",  # the restricted deletion
    f"({OF_FIELDS} and {OF_HTTP})",
)
TO_RUN = " and ".join(f"not {one}" for one in LEFT_OUT)
"""Not the tests of the resources that were there before."""


def shown() -> list[tuple[str, str]]:
    """The blocks of code of the page, each with the file that the paragraph before it names."""
    return [(re.findall(r"`(\S+\.py)`", before)[0], code) for before, code in BLOCK.findall(PAGE)]


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository with the resources of `COMMANDS`."""
    folder = tmp_path_factory.mktemp("copy")
    copy_repository(folder)
    for command in COMMANDS:
        run([*MAKE, *shlex.split(command)[1:]], folder)
    return folder


@pytest.fixture(scope="module")
def opened(generated: Path) -> Path:
    """The copy after authors were permitted to create comments, and the deletion of people that
    have visits is stopped, as on the page."""
    path, permission = shown()[-1]
    [before] = re.findall(r"before `([^`]+)`:", PAGE)
    [expected] = re.findall(r'`(\("author", \d+\))`', PAGE)
    _replace(generated / path, f"\n{before}", f"\n{permission}{before}")
    _replace(generated / "tests/comments/test_comments.py", '("author", 403)', expected)
    [stopping] = re.findall(r'`(ondelete="RESTRICT")`', PAGE)
    versions = generated / "functions" / "migrations" / "versions"
    [migration] = versions.glob(f"*_{RESTRICTED}.py")
    for file, key in ((generated / MODELS, '"people.id", '), (migration, "")):
        _replace(file, f'{key}ondelete="CASCADE"', f"{key}{stopping}")
    make(generated, {"openapi": ""})
    return generated


def _replace(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{file} has not exactly one {old!r}"
    file.write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.slow
def test_the_page_shows_what_is_written(generated: Path) -> None:
    *written, _permission = shown()
    assert len(written) == len(blocks(PAGE, "python")) - 1 == 4
    for path, code in written:
        assert code in (generated / path).read_text(encoding="utf-8"), path


@pytest.mark.slow
def test_written_files_are_formatted_linted_and_typed(generated: Path) -> None:
    python(generated, "ruff", "format", "--check", ".")
    python(generated, "ruff", "check", ".")
    mypy(generated, "functions", "layers", *SUITES[: len(COMMANDS)])


@pytest.mark.slow
def test_resources_that_are_written_keep_the_promises_of_every_resource(opened: Path) -> None:
    quiet = ("-q", "-n", "2", "--tb=short", "--no-header", "--show-capture=no", "--color=no")
    some = ("-m", "not slow", "-k", TO_RUN, *SUITES)
    python(opened, "pytest", *quiet, "-p", "no:cacheprovider", *some)
