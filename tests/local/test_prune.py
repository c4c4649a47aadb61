"""Tests that import a removed resource are dropped; pages lose what names it, and keep the rest."""

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


@pytest.mark.parametrize(
    "code",
    [
        "from things.routes import app",
        "import things.routes",
        "def test_it():\n    from tests import things",
        "from tests.other import LIMIT",
        "from tests import other",
    ],
)
def test_a_module_that_imports_it_is_dropped(tmp_path: Path, code: str) -> None:
    kept = "from tests.others import THINGS\ndef test_it(): get('/things')\n"
    files = {
        "tests/other.py": "from things import LIMIT\n",
        "tests/others.py": "THINGS = 1\n",
        "tests/a/test_a.py": f"{code}\n",
        "tests/a/test_b.py": kept,
    }
    left = left_of(tmp_path, files)
    assert left.keys() == {"tests/others.py", "tests/a/test_b.py"}
    assert left["tests/a/test_b.py"] == kept


def test_a_page_about_it_is_dropped_and_links_to_it_are_text(tmp_path: Path) -> None:
    files = {
        "docs/things.md": "```sh\ncurl /things\n```\n",
        "tests/test_a.py": "from things import app\n",
        "docs/recipe.md": "Append to `a`:\n\n```python\nget('/things')\n```\n```python\n1\n```\n",
        "docs/index.md": "- [Things](things.md): all\n\nRead [on](recipe.md) ([1](things.md)). "
        "[This](things.md) has all. B.\nSee `tests/test_a.py`.\n",
    }
    assert left_of(tmp_path, files) == {"docs/index.md": "Read on. B.\n"}


def test_a_lesson_on_it_stays_with_a_note(tmp_path: Path) -> None:
    lesson = "# Recipes\n\nSee [a](../tests/test_a.py).\n\n```sh\ncurl /things\n```\n"
    files = {
        "docs/lesson.md": lesson,
        "docs/index.md": "Read [lessons](lesson.md).\n",
        "tests/test_a.py": "from things import app\n",
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
