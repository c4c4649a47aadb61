"""The selection of tests, and their processes."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.parallel import LABORATORY

ROOT = Path(__file__).parents[1]
WAITING = min(LABORATORY - {"e2e"})
"""A folder of the laboratory whose tests need not be in one process."""
FILE = "import pytest\n@pytest.mark.parametrize('n', range(9))\ndef test_one(n): ...\n"
CONFIGURATION = """
[pytest]
testpaths = tests
markers = slow
addopts = -n auto --dist loadfile --no-loadscope-reorder
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Two folders of the product, and two of the laboratory."""
    (tmp_path / "pytest.ini").write_text(CONFIGURATION, encoding="utf-8")
    for name in (
        "articles/test_a",
        "writers/test_a",
        f"{WAITING}/test_a",
        "e2e/test_a",
        "e2e/test_b",
    ):
        file = tmp_path / "tests" / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(FILE, encoding="utf-8")
        (file.parent / "__init__.py").touch()
    return tmp_path


def processes(project: Path, *arguments: str) -> dict[str, set[str]]:
    """The processes in which the tests of each folder ran."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-p", "xdist", "-p", "tests.parallel", *arguments],
        cwd=project,
        env={"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, set[str]] = {}
    for line in done.stdout.splitlines():
        if " PASSED " in line:
            process = re.search(r"\[(gw\d+)\]", line)
            folder = re.search(r"tests/(\w+)/", line)
            assert folder
            found.setdefault(folder[1], set()).add(process[1] if process else "this one")
    return found


def test_the_laboratory_is_left_out(project: Path) -> None:
    assert processes(project).keys() == {"articles", "writers"}


def test_a_files_tests_and_those_of_a_folder_that_shares_are_in_one_process(project: Path) -> None:
    found = processes(project, "--laboratory", "-n", "3")
    assert found.keys() == {"articles", "writers", WAITING, "e2e"}
    assert {len(workers) for workers in found.values()} == {1}
    assert len(set.union(*found.values())) > 1


@pytest.mark.parametrize("folder", ["writers", WAITING])
def test_a_named_folder_runs_in_this_process(project: Path, folder: str) -> None:
    assert processes(project, f"tests/{folder}")[folder] == {"this one"}


def test_the_laboratory_has_no_other_folders() -> None:
    assert {path.name for path in (ROOT / "tests").iterdir()} >= LABORATORY
