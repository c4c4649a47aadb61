"""Tests and pages lose what names a removed resource, and keep the rest."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from local.generate.prune import NOTE, Gone, prune, prune_page

GONE = Gone(frozenset({"things", "tests.things"}), re.compile(r"/things\b|things\.md"))


def left_of(folder: Path, files: Mapping[str, str]) -> dict[str, str]:
    """Return the files that are left, without empty lines."""
    for name, text in {"Makefile": "", **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for _ in prune(folder, GONE, ["Things"], ["docs/lesson.md"]):
        pass
    return {
        name: re.sub(r"\n+", "\n", (folder / name).read_text(encoding="utf-8"))
        for name in files
        if (folder / name).exists()
    }


def test_a_test_is_dropped_with_what_only_it_used(tmp_path: Path) -> None:
    text = """
PATH = "/things"
SIZE = 1
LIMIT = 2
def helper(): return SIZE
def shared(): return LIMIT  # as of /things
def test_things(): assert get(PATH) == helper() < shared()
def test_others(): assert shared()
"""
    left = "\nLIMIT = 2\ndef shared(): return LIMIT  # as of /things\n"
    left += "def test_others(): assert shared()\n"
    assert left_of(tmp_path, {"tests/test_a.py": text}) == {"tests/test_a.py": left}


@pytest.mark.parametrize(
    "test",
    [
        "def test_it(thing): ...",
        "@pytest.mark.usefixtures('thing')\ndef test_it(): ...",
        "from tests.other import PATH\ndef test_it(): assert PATH",
        "from tests.other import PATH as there\ndef test_it(): assert there",
        "from tests import other\ndef test_it(): assert other.PATH",
        "from things.routes import app\ndef test_it(): assert app",
        "def test_it():\n    from tests.things.conftest import one",
    ],
)
def test_a_test_is_dropped_that_needs_what_is_dropped(tmp_path: Path, test: str) -> None:
    kept = "from tests.other import OTHER\ndef test_this(): assert OTHER\n"
    files = {
        "tests/conftest.py": "def thing(): return '/things'\ndef other(): ...\n",
        "tests/other.py": "PATH = '/things'\nOTHER = '/others'\n",
        "tests/a/test_a.py": f"{test}\n",
        "tests/a/test_b.py": kept,
    }
    left = left_of(tmp_path, files)
    assert "tests/a/test_a.py" not in left
    assert left["tests/a/test_b.py"] == kept
    assert left["tests/conftest.py"] == "def other(): ...\n"
    assert left["tests/other.py"] == "OTHER = '/others'\n"


def test_a_file_that_a_dropped_test_reads_is_dropped_too(tmp_path: Path) -> None:
    files = {
        "tests/things.toml": "path = '/things'\n",
        "tests/others.toml": "path = '/others'\n",
        "tests/test_a.py": "def test_a(): read('things.toml')\ndef test_b(): read('others.toml')\n",
    }
    left = left_of(tmp_path, files)
    assert left.keys() == {"tests/others.toml", "tests/test_a.py"}
    assert left["tests/test_a.py"] == "def test_b(): read('others.toml')\n"


def test_a_page_about_it_is_dropped_and_links_to_it_are_text(tmp_path: Path) -> None:
    files = {
        "docs/things.md": "```sh\ncurl /things\n```\n",
        "tests/test_a.py": "def test_a(): get('/things')\n",
        "docs/recipe.md": "Append to `a`:\n\n```python\nget('/things')\n```\n```python\n1\n```\n",
        "docs/index.md": "- [Things](things.md): all\n\nRead [on](recipe.md) ([1](things.md)). "
        "[This](things.md) has all. B.\nSee `tests/test_a.py`.\n",
    }
    assert left_of(tmp_path, files) == {"docs/index.md": "Read on. B.\n"}


def test_a_lesson_on_it_stays_with_a_note_and_loses_its_tests(tmp_path: Path) -> None:
    lesson = "# Recipes\n\nSee [a](../tests/things.diff).\n\n```sh\ncurl /things\n```\n"
    files = {
        "docs/lesson.md": lesson,
        "docs/index.md": "Read [lessons](lesson.md).\n",
        "tests/things.diff": "/things\n",
        "tests/test_a.py": "PAGE = read('lesson.md')\ndef test_a(): carry_out(PAGE)\n",
    }
    left = left_of(tmp_path, files)
    assert left == left_of(tmp_path, left)
    assert left == {
        "docs/lesson.md": f"# Recipes\n{NOTE}\nSee a.\n```sh\ncurl /things\n```\n",
        "docs/index.md": "Read [lessons](lesson.md).\n",
    }


def test_a_target_that_names_it_or_runs_what_is_not_there_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "tests" / "others").mkdir(parents=True)
    makefile = ".PHONY: one two three\n\none:\n\tcurl /things\n\ntwo:\n\tpytest tests/gone\n\n"
    makefile += "three:\n\tpytest tests/others\n"
    left = ".PHONY: three\nthree:\n\tpytest tests/others\n"
    assert left_of(tmp_path, {"Makefile": makefile}) == {"Makefile": left}


def test_a_changelog_names_a_target_that_is_gone_but_not_as_a_command(tmp_path: Path) -> None:
    files = {
        "Makefile": "things:\n\tcurl /things\nothers:\n\tpytest tests/others\n",
        "CHANGELOG.md": "- `make things` sends, `make others` tests.\n",
        "tests/others/test_others.py": "def test_others(): pass\n",
    }
    left = left_of(tmp_path, files)
    assert left["CHANGELOG.md"] == "- make things sends, `make others` tests.\n"


@pytest.mark.parametrize(
    ("page", "left"),
    [
        ("# A\n\n## Things\n\nText.\n\n### More\n\n## B\n\nC.\n", "# A\n\n## B\n\nC.\n"),
        ("# A\n\n### GET /things\n\nText.\n\n### B\n\nC.\n", "# A\n\n### B\n\nC.\n"),
        ("# A\n\n## B\n\n### C\n\nAt `/things`.\n\n## D\n\nE.\n", "# A\n\n## D\n\nE.\n"),
        ("# A\n\n## B\n\nC.\n\n## D\n\nAt `/things`.\n", "# A\n\n## B\n\nC.\n\n"),
        ("| a |\n|---|\n| `/things` |\n| b |\n", "| a |\n|---|\n| b |\n"),
        ("Send:\n\n```sh\ncurl /things\n```\n\n```http\n200\n```\n\nB.\n", "B.\n"),
        ("```sh\ncurl \\\n  /things\ncurl /b\n```\n", "```sh\ncurl /b\n```\n"),
        ("```python\nget('/things')\nget('/b')\n```\n\nB.\n", "B.\n"),
        ("A is `/a`. Things are at `/things`. B\nis `/b`.\n", "A is `/a`. B is `/b`.\n"),
        ("- A\n- at `/things`\n- B\n", "- A\n- B\n"),
        (
            "| read | [a](a.md), [t](things.md), [b](b.md) |\n| [t](things.md), [c](c.md) |\n",
            "| read | [a](a.md), [b](b.md) |\n| [c](c.md) |\n",
        ),
        ("| read | [t](things.md) |\n| see | [c](c.md) |\n", "| see | [c](c.md) |\n"),
    ],
)
def test_a_page_is_left_without_what_names_it(page: str, left: str) -> None:
    assert prune_page(page, GONE, ["Things"]) == left
