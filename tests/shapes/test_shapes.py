"""Changes of a resource in copies of the repository, where the suites of every resource pass.

One copy has the changes of docs/changing-a-resource.md, docs/more-operations.md,
`column_types.diff` and `shop.diff` (writes of two tables, filters, summaries, rules, fields for
administrators), and then the later releases that end the renaming of a field. Others have those of
docs/leaving-out.md, of docs/recipes.md and of docs/membership.md, or lack some operations and have
the rules, filters and references of `rules.diff`. The code of each is linted and typed. With only
the webhook, the first function without tokens, all of the product's tests pass (`make shapes`).
"""

import re
import shutil
from pathlib import Path

import pytest

from tests.documentation.curl import blocks
from tests.repository_copy import committed, copy_repository, make, mypy, python
from tests.resources import ROOT
from tests.shapes.carried_out import STEP, apply_diff, take_steps

HERE = Path(__file__).parent
OF_POSTS, OF_USERS = (ROOT / "tests" / name / "shapes" for name in ("posts", "users"))
"""Diffs that change the posts, and tests of what pages add to the examples, run in the copies."""
DOCS = ROOT / "docs"
OPERATIONS = (DOCS / "more-operations.md").read_text(encoding="utf-8")
CHANGES = (DOCS / "changing-a-resource.md").read_text(encoding="utf-8")
LEFT_OUT = (DOCS / "leaving-out.md").read_text(encoding="utf-8")
MEMBERSHIP = (DOCS / "membership.md").read_text(encoding="utf-8")
RECIPES = (DOCS / "recipes.md").read_text(encoding="utf-8")
WEBHOOK = RECIPES[RECIPES.index("## A webhook") :]
BLOCK = re.compile(
    r"^```(?:diff\n(?P<diff>.*?)|sh\nmake migration MESSAGE='(?P<message>[^'\n]*)'\n)```$",
    re.DOTALL | re.MULTILINE,
)
RESOURCE = re.compile(r"^make resource NAME=(\w+)(?: OF=(\w+))? FIELDS='([^'\n]*)'$", re.MULTILINE)
LATER = re.compile(r"^### The \w+ release$.*?(?=^#)", re.DOTALL | re.MULTILINE)
"""The part of the page on a release after the first."""
OF_MODELS = (
    "test_every_cascade_finds_its_rows_by_an_index",
    "test_ids_are_generated_and_within_the_range_of_pages",
    "test_models_and_migrations_make_the_same_schema",
)
"""Tests of the schema that read the models; the others have tables of their own."""
SCHEMA = tuple(f"tests/migrations/test_schema.py::{name}" for name in OF_MODELS)
OF_FIELDS = (
    *(f"tests/every_resource/test_{name}.py" for name in ("documented_responses", "items")),
    "tests/posts/test_writes.py",
    *SCHEMA,
)
"""What could fail if a field is removed; the rest is as in the copy before."""
SUITES = (
    "tests/every_resource",
    "tests/posts",
    *SCHEMA,
    "tests/auth/test_audit.py",
    "tests/auth/test_policy.py",
    "tests/auth/test_private_lists.py",
    "tests/auth/test_stored_responses.py",
    "tests/meta/test_openapi.py",
    "tests/layer/test_imports.py",
    "tests/layer/test_deferred_models.py",
    "tests/layer/test_framework_responses.py",
    "tests/layer/test_response_headers.py",
    "tests/migrations/test_handler.py",
    "tests/template/test_authorization.py",
    "tests/template/test_generated.py",
)


CHANGED = "(not users or delete) and (not test_module_executions or webhooks)"
"""Tests of what the copies change: of the users only their deletion, which takes posts along; of
functions' modules those of the webhooks, the only ones of no resource."""
WITHOUT = {
    "accounts": [],
    "events": ["replace", "update", "delete"],
    "journals": ["read", "replace", "update", "delete"],
    "letters": ["list", "update"],
    "regions": ["create", "replace", "update", "delete"],
}
"""Resources by their names, and the operations that they lack."""
OF_OPERATIONS = (
    "tests/every_resource",
    "tests/auth/test_audit.py",
    "tests/auth/test_policy.py",
    "tests/auth/test_stored_responses.py",
    "tests/meta/test_openapi.py",
    "tests/layer/test_idempotency.py",
    "tests/layer/test_framework_responses.py",
    "tests/layer/test_response_headers.py",
    "tests/migrations/test_app_role.py::test_every_operation_works_as_the_role",
    "tests/template/test_generated.py",
)
OF_LEFT_OUT = ("tests/auth/test_policy.py", "tests/layer/test_idempotency.py")
OF_OWNERS = ("tests/auth/test_private_lists.py", "tests/auth/test_strangers.py")
OF_FUNCTIONS = (
    *(
        f"tests/template/test_{name}.py"
        for name in ("authorization", "cost", "generated", "infrastructure", "template")
    ),
    "tests/auth/test_policy.py",
    "tests/meta/test_openapi.py",
    "tests/layer/test_deferred_models.py",
    "tests/layer/test_module_executions.py",
    "tests/local/test_cors.py",
    "tests/migrations/test_app_role.py::test_every_operation_works_as_the_role",
)


def carry_out(text: str, folder: Path) -> None:
    """Make the changes of the diffs, and write the migrations, of a part of the page."""
    for block in BLOCK.finditer(text):
        if block["diff"]:
            apply_diff(block["diff"], folder)
        else:
            make(folder, {"migration": block["message"]})


def check(folder: Path, *suites: str) -> None:
    """Generate what follows from the changes; run the suites, the linter and the type checker.

    Without suites, all of the product's tests are run.
    """
    make(folder, {"migration": "Others", "format": "", "openapi": ""})
    quiet = ("-q", "-n", "2", "--tb=short", "--no-header", "--show-capture=no", "--color=no")
    some = ("-m", "not slow", "-k", CHANGED, *suites) if suites else ()
    python(folder, "pytest", *quiet, "-p", "no:cacheprovider", *some)
    python(folder, "ruff", "check", "-q", "functions", "layers", "local")
    mypy(folder, "functions", "layers/shared/shared")


def add_tests(folder: Path, *names: str) -> None:
    for name in names:
        shutil.copy(OF_POSTS / f"{name}.py", folder / "tests" / "posts" / f"test_{name}.py")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("copy")
    copy_repository(folder)
    return folder


@pytest.mark.slow
def test_a_resource_that_was_changed_in_every_way_keeps_its_promises(copy: Path) -> None:
    take_steps(OPERATIONS, copy)
    apply_diff((OF_POSTS / "column_types.diff").read_text(encoding="utf-8"), copy)
    carry_out(LATER.sub("", CHANGES), copy)
    apply_diff((OF_POSTS / "shop.diff").read_text(encoding="utf-8"), copy)
    add_tests(copy, "more_operations", "changes")
    check(copy, *SUITES)


@pytest.mark.slow
def test_later_releases_end_the_old_name_of_a_field(copy: Path) -> None:
    (copy / "tests" / "posts" / "test_changes.py").unlink()
    for release in LATER.findall(CHANGES):
        carry_out(release, copy)
        check(copy, *OF_FIELDS)


@pytest.mark.slow
def test_the_other_promises_hold_without_what_is_left_out(tmp_path: Path) -> None:
    copy_repository(tmp_path)
    carry_out(LEFT_OUT, tmp_path)
    add_tests(tmp_path, "leaving_out")
    check(tmp_path, "tests/every_resource", "tests/posts/test_leaving_out.py", *OF_LEFT_OUT)


@pytest.mark.slow
def test_resources_without_some_operations_keep_the_other_promises(tmp_path: Path) -> None:
    copy_repository(tmp_path)
    for name, missing in WITHOUT.items():
        make_resource = ("local.generate.resource", name, "--fields", "name:str password:str")
        python(tmp_path, *make_resource)
        for kind in missing:
            remove(rf"\n\n\n@{name}\.{kind}\(.*?(?=\n\n\n@|\Z)", tmp_path, name, "routes.py")
        remove(r"    password: str\n(?=    created_at)", tmp_path, name, "schemas.py")
        shutil.rmtree(tmp_path / "tests" / name)  # what its callers may do with all operations
    python(tmp_path, "ruff", "check", "-q", "--fix", "functions")
    apply_diff((HERE / "rules.diff").read_text(encoding="utf-8"), tmp_path)
    check(tmp_path, *OF_OPERATIONS)


def remove(pattern: str, folder: Path, function: str, name: str) -> None:
    file = folder / "functions" / function / name
    text, found = re.subn(pattern, "", file.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert found == 1, f"{file} has not exactly one {pattern}"
    file.write_text(f"{text.rstrip()}\n", encoding="utf-8")


@pytest.mark.slow
def test_recipes_and_access_by_membership_keep_what_they_promise(tmp_path: Path) -> None:
    copy_repository(tmp_path)
    for name, of, fields in RESOURCE.findall(MEMBERSHIP):
        python(tmp_path, "local.generate.resource", name, "--of", of, "--fields", fields)
    carry_out(MEMBERSHIP, tmp_path)
    carry_out(RECIPES, tmp_path)
    add_tests(tmp_path, "recipes", "webhook")
    shutil.copy(OF_USERS / "membership.py", tmp_path / "tests" / "tickets" / "test_membership.py")
    added = ("tests/posts/test_recipes.py", "tests/posts/test_webhook.py", "tests/tickets")
    check(tmp_path, "tests/every_resource", *added, *OF_OWNERS, *OF_FUNCTIONS)


@pytest.mark.shapes
@pytest.mark.slow
def test_a_function_without_tokens_keeps_every_promise(tmp_path: Path) -> None:
    committed(tmp_path)
    carry_out(WEBHOOK, tmp_path)
    add_tests(tmp_path, "webhook")
    check(tmp_path)


def test_every_block_of_more_operations_is_a_step() -> None:
    steps = [step["code"] for step in STEP.finditer(OPERATIONS)]
    assert steps == blocks(OPERATIONS, "python")


@pytest.mark.parametrize(
    "page",
    [CHANGES, LEFT_OUT, MEMBERSHIP, RECIPES],
    ids=["changing", "leaving_out", "membership", "recipes"],
)
def test_every_diff_of_a_page_is_made(page: str) -> None:
    diffs = [block["diff"] for block in BLOCK.finditer(page) if block["diff"]]
    assert len(diffs) == page.count("```diff\n") > 0
    assert page.count("\n### ") == len(LATER.findall(page))
