"""Modules that are imported by their first use: `blog.coldstart.lazy_imports`."""

import sys
from pathlib import Path
from typing import Any

import pytest

from blog.coldstart.lazy_imports import defer_import


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An importable package `lazy_toys`, empty so far."""
    (tmp_path / "lazy_toys").mkdir()
    (tmp_path / "lazy_toys" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.startswith("lazy_toys")]:
        monkeypatch.delitem(sys.modules, name)
    return tmp_path / "lazy_toys"


def deferred(name: str) -> Any:
    """The module as `from package import module` binds it."""
    defer_import(name)
    package, _, module = name.rpartition(".")
    return getattr(__import__(package, fromlist=[module]), module)


def test_a_module_runs_at_its_first_use_and_once(package: Path) -> None:
    (package / "counted.py").write_text("RUNS = []\n", encoding="utf-8")
    counted = deferred("lazy_toys.counted")
    counted.RUNS.append(1)
    assert counted.RUNS == [1]
    assert sys.modules["lazy_toys.counted"].RUNS is counted.RUNS


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("def broken(:\n", SyntaxError),
        ("import lazy_toys.nowhere\n", ModuleNotFoundError),
        ("from os import nothing_of_this_name\n", ImportError),
        ("VALUE = 1\nraise RuntimeError('settings')\n", RuntimeError),
    ],
)
def test_every_use_of_a_broken_module_shows_what_is_wrong_with_it(
    package: Path, source: str, error: type[Exception]
) -> None:
    (package / "broken.py").write_text(source, encoding="utf-8")
    broken = deferred("lazy_toys.broken")
    for _ in range(3):
        with pytest.raises(error) as raised:
            _ = broken.VALUE
        assert raised.type is error


def test_a_module_works_once_what_it_imports_is_mended(package: Path) -> None:
    (package / "below.py").write_text("1 / 0\n", encoding="utf-8")
    (package / "above.py").write_text("from lazy_toys.below import VALUE\n", encoding="utf-8")
    above = deferred("lazy_toys.above")
    with pytest.raises(ZeroDivisionError):
        _ = above.VALUE
    (package / "below.py").write_text("VALUE = 'now it is there'\n", encoding="utf-8")
    assert above.VALUE == "now it is there"


def test_the_error_of_a_missing_name_is_the_modules_own(package: Path) -> None:
    (package / "small.py").touch()
    small = deferred("lazy_toys.small")
    with pytest.raises(
        AttributeError, match=r"module 'lazy_toys\.small' has no attribute 'absent'"
    ):
        _ = small.absent


def test_a_missing_module_is_an_error_at_once(package: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match=r"lazy_toys\.absent"):
        defer_import("lazy_toys.absent")
