"""Imports run one way, and every resource has the same files."""

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.resources import FUNCTION_NAMES, FUNCTIONS, RESOURCES, ROOT

SHARED = ROOT / "layers" / "shared" / "shared"
RESOURCE_FILES = {"handler.py", "routes.py", "schemas.py", "queries.py"}
OPTIONAL_FILES = {"search.py"}
ORDER = ["handler", "routes", "search", "queries", "schemas"]
MAY_IMPORT = {
    "handler": {"routes"},
    "routes": {"search", "queries", "schemas"},
    "search": {"queries"},
    "queries": set(),
    "schemas": set(),
}
STATEMENTS_FORBID = {
    "fastapi",
    "starlette",
    "redis",
    "mangum",
    "shared.cache.pages",
    "shared.http.application",
}
FORBIDDEN = {
    "search": STATEMENTS_FORBID,
    "queries": STATEMENTS_FORBID,
    "schemas": {
        "sqlalchemy",
        "psycopg",
        "redis",
        "shared.database.models",
        "shared.database.connection",
        "shared.cache.pages",
    },
    "routes": {"sqlalchemy", "psycopg", "redis"},
    "handler": {"fastapi", "sqlalchemy", "redis", "mangum"},
}
OF_DATABASE = {f"shared.database.{path.stem}" for path in (SHARED / "database").glob("[a-z]*.py")}
"""Its modules, which a hit must not import; the package itself is imported at its first use."""
FILES = [
    (resource, name)
    for resource in RESOURCES
    for name in ORDER
    if (FUNCTIONS / resource / f"{name}.py").exists()
]


def imports_of(source: Path) -> Iterator[str]:
    """Every module that the file imports, wherever in it; `a.b` for `from a import b` as well."""
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source}: a relative import"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def packages_of(source: Path) -> set[str]:
    return {module.partition(".")[0] for module in imports_of(source)}


def test_there_are_functions_to_look_at() -> None:
    assert {"meta", "migrations"} <= set(FUNCTION_NAMES)


def test_no_import_is_part_of_a_circle() -> None:
    """Wherever it is in its file: an import within a function hides a circle only."""
    packages = [SHARED, ROOT / "local", ROOT / "benchmarks"]
    packages += [FUNCTIONS / name for name in FUNCTION_NAMES]
    modules = {
        _name(path.relative_to(package.parent)): path
        for package in packages
        for path in package.rglob("*.py")
    }
    graph = {
        # `from a import b` imports the module `a.b` if there is one, else `a`.
        name: {
            imported if imported in modules else imported.rpartition(".")[0]
            for imported in names_imported_by(path)
        }
        for name, path in modules.items()
    }
    assert len(graph) > 100
    assert list(TopologicalSorter(graph).static_order())


def _name(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def names_imported_by(source: Path) -> Iterator[str]:
    """Every import of the file; `a.b` for `from a import b`."""
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (f"{alias.name}." for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("source", sorted(SHARED.rglob("*.py")), ids=lambda path: path.stem)
def test_the_layer_imports_no_function_and_no_tool(source: Path) -> None:
    assert not packages_of(source) & ({*FUNCTION_NAMES, "local", "tests"})


def test_only_the_front_door_knows_events() -> None:
    knowing = {
        str(source.relative_to(SHARED))
        for source in SHARED.rglob("*.py")
        if re.search(r"requestContext|rawPath|aws\.event|aws\.context", source.read_text("utf-8"))
    }
    assert knowing == {"gateway.py", "coldstart/initialization.py"}


def test_no_two_modules_of_the_layer_have_one_name() -> None:
    names = [path.stem for path in SHARED.rglob("[a-z]*.py")]
    assert sorted(names) == sorted(set(names))


def test_the_layer_has_no_context_variable() -> None:
    for source in SHARED.rglob("*.py"):
        assert "contextvars" not in set(imports_of(source)), source


@pytest.mark.parametrize("function", FUNCTION_NAMES)
def test_a_function_imports_no_other_function(function: str) -> None:
    others = {*FUNCTION_NAMES} - {function} | {"local", "tests"}
    for source in (FUNCTIONS / function).rglob("*.py"):
        assert not packages_of(source) & others, source


@pytest.mark.parametrize("resource", RESOURCES)
def test_a_resource_has_the_files_that_every_resource_has(resource: str) -> None:
    files = {path.name for path in (FUNCTIONS / resource).glob("*.py")} - {"__init__.py"}
    assert files - OPTIONAL_FILES == RESOURCE_FILES


@pytest.mark.parametrize(("resource", "name"), FILES)
def test_a_resources_files_import_only_downwards(resource: str, name: str) -> None:
    imported = set(imports_of(FUNCTIONS / resource / f"{name}.py"))
    siblings = {other for other in ORDER if f"{resource}.{other}" in imported}
    assert siblings <= MAY_IMPORT[name]


@pytest.mark.parametrize(("resource", "name"), FILES)
def test_a_resources_files_know_only_their_own_libraries(resource: str, name: str) -> None:
    for module in imports_of(FUNCTIONS / resource / f"{name}.py"):
        for forbidden in FORBIDDEN[name]:
            assert module != forbidden, module
            assert not module.startswith(f"{forbidden}."), module


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("auth", {"shared.http", "shared.coldstart", "fastapi", "starlette"}),
        (
            "database",
            {
                "shared.http",
                "shared.auth",
                "shared.cache",
                "shared.coldstart",
                "fastapi",
                "starlette",
            },
        ),
        (
            "cache",
            {
                "shared.http",
                "shared.auth",
                "shared.database",
                "shared.coldstart",
                "fastapi",
                "sqlalchemy",
            },
        ),
        ("coldstart", {"shared.http", "shared.database", "shared.cache", "fastapi", "sqlalchemy"}),
        ("http", OF_DATABASE | {"shared.coldstart", "sqlalchemy", "psycopg", "redis"}),
    ],
)
def test_the_layers_packages_import_one_way(package: str, forbidden: set[str]) -> None:
    for source in (SHARED / package).glob("*.py"):
        for module in imports_of(source):
            inside = module.startswith(f"shared.{package}")
            assert inside or not module.startswith(tuple(forbidden)), f"{source}: {module}"
