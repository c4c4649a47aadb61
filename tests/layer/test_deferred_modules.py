"""Modules that are executed when they are used: `shared.coldstart.deferred_modules`."""

import subprocess
import sys
from pathlib import Path

import pytest

from shared.coldstart import UNUSED

PACKAGE = """
from toys.heavy import HEAVY
NAME = "package"
"""


@pytest.fixture
def toys(tmp_path: Path) -> Path:
    """A package whose `__init__` imports a heavy submodule; a light one is beside it."""
    (tmp_path / "toys").mkdir()
    (tmp_path / "toys" / "__init__.py").write_text(PACKAGE, encoding="utf-8")
    (tmp_path / "toys" / "heavy.py").write_text("HEAVY = 1\n", encoding="utf-8")
    (tmp_path / "toys" / "light.py").write_text("from . import below\nLIGHT = 2\n", "utf-8")
    (tmp_path / "toys" / "below.py").touch()
    return tmp_path


def python(code: str, *paths: Path) -> list[str]:
    """Return the lines that the code prints, in a new process in which `toys` is deferred."""
    lines = [
        f"import sys; sys.path[:0] = {[*map(str, paths), *sys.path]!r}",
        "from shared.coldstart.deferred_modules import defer; defer('toys')",
        code,
    ]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


HEAVY_IS_LOADED = "print('toys.heavy' in sys.modules)"


@pytest.mark.parametrize(
    "statement", ["import toys.light", "from toys import light", "from toys.light import LIGHT"]
)
def test_a_submodule_is_imported_without_its_package(toys: Path, statement: str) -> None:
    assert python(f"{statement}\n{HEAVY_IS_LOADED}", toys) == ["False"]


@pytest.mark.parametrize(
    ("code", "printed"),
    [
        ("from toys import NAME; print(NAME)", "package"),
        ("import toys; print(toys.NAME)", "package"),
        ("import toys.light, toys; print(toys.HEAVY, toys.light.LIGHT)", "1 2"),
        ("from toys import *; print(HEAVY)", "1"),
    ],
)
def test_a_name_of_the_package_runs_it(toys: Path, code: str, printed: str) -> None:
    assert python(f"{code}\n{HEAVY_IS_LOADED}", toys) == [printed, "True"]


def test_a_package_that_has_run_is_as_any_other(toys: Path) -> None:
    (toys / "toys" / "data.txt").write_text("data", encoding="utf-8")
    code = """
import importlib.resources, toys
toys.NAME
print(type(toys).__name__, type(toys.__spec__.loader).__name__)
print(importlib.resources.files(toys).joinpath("data.txt").read_text())
"""
    assert python(code, toys) == ["module SourceFileLoader", "data"]


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("def broken(:\n", "SyntaxError"),
        ("import toys.nowhere\n", "ModuleNotFoundError"),
        ("from os import nothing_of_this_name\n", "ImportError"),
        ("NAME = 1\nraise RuntimeError('settings')\n", "RuntimeError"),
        ("NAME = 1\nimport toys.broken_below\n", "ZeroDivisionError"),
    ],
)
def test_every_use_of_a_broken_module_shows_what_is_wrong_with_it(
    toys: Path, source: str, error: str
) -> None:
    (toys / "toys" / "__init__.py").write_text(source, encoding="utf-8")
    (toys / "toys" / "broken_below.py").write_text("1 / 0\n", encoding="utf-8")
    use = "try: toys.NAME\nexcept Exception as error: print(type(error).__name__)\n"
    assert python(f"import toys\n{use}{use}{use}", toys) == [error] * 3


def test_a_module_works_once_its_import_is_repaired(toys: Path) -> None:
    (toys / "toys" / "heavy.py").write_text("1 / 0\n", encoding="utf-8")
    code = f"""
import toys
from pathlib import Path
try: toys.NAME
except ZeroDivisionError: Path({str(toys / "toys" / "heavy.py")!r}).write_text("HEAVY = 'mended'")
print(toys.HEAVY)
"""
    assert python(code, toys) == ["mended"]


def test_a_name_that_a_package_does_not_have_is_reported_as_its_own(toys: Path) -> None:
    use = "import toys\ntry: toys.absent\nexcept AttributeError as error: print(error)"
    assert python(use, toys) == ["module 'toys' has no attribute 'absent'"]


def test_a_deferred_module_that_does_not_exist_is_reported_by_its_import() -> None:
    code = "try: import toys\nexcept ModuleNotFoundError as error: print(error)"
    assert python(code) == ["No module named 'toys'"]


def test_a_deferred_module_that_nothing_imports_is_reported() -> None:
    code = """
from shared.coldstart import fast_imports
try:
    with fast_imports(deferred=("json", "toys.misspelled")): import json
except ModuleNotFoundError as error: print(error)
"""
    assert python(code) == ["deferred, but not imported: toys.misspelled"]


@pytest.mark.parametrize("name", UNUSED)
def test_each_deferred_module_exists(name: str) -> None:
    code = f"import importlib; print(importlib.import_module({name!r}).__spec__.name)"
    assert python(code) == [name]
