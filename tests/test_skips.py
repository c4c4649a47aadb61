"""A skipped test fails in CI."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import skips

ROOT = Path(__file__).parents[1]
TESTS = """
import pytest

@pytest.fixture
def browser():
    pytest.skip("no browser is installed")

def test_of_a_page(browser): ...

@pytest.mark.docker
def test_of_a_container():
    pytest.skip("no engine is running")

@pytest.mark.parametrize("operation", [])
def test_of_what_no_resource_has(operation): ...

@pytest.mark.xfail
def test_of_a_known_fault():
    assert False
"""
MODULE = 'import pytest\npytest.skip("no module is here", allow_module_level=True)\n'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Tests of which each skips in its own way."""
    (tmp_path / "test_tools.py").write_text(TESTS, encoding="utf-8")
    (tmp_path / "test_module.py").write_text(MODULE, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = docker\n", encoding="utf-8")
    return tmp_path


def last_line(project: Path, **environment: str) -> str:
    """The last line of pytest's output, whether or not tests could be collected."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("CI")}
    options = ["-p", "tests.skips", "-p", "no:cacheprovider", "--continue-on-collection-errors"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "-q", "--rootdir", str(project), str(project)],
        cwd=ROOT,
        env=others | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.splitlines()[-1].rpartition(" in ")[0]


def test_on_a_developers_machine_tests_are_skipped(project: Path) -> None:
    assert last_line(project) == "4 skipped, 1 xfailed"
    assert last_line(project, CI="false") == "4 skipped, 1 xfailed"


def test_in_ci_a_skip_is_a_failure(project: Path) -> None:
    assert last_line(project, CI="true") == "1 failed, 1 skipped, 1 xfailed, 2 errors"


def test_in_ci_what_cannot_be_there_is_allowed_by_name(project: Path) -> None:
    last = last_line(project, CI="true", CI_MAY_SKIP="docker")
    assert last == "2 skipped, 1 xfailed, 2 errors"


@pytest.mark.parametrize("hook", ["pytest_runtest_makereport", "pytest_make_collect_report"])
def test_all_tests_have_this_rule(pytestconfig: pytest.Config, hook: str) -> None:
    callers = getattr(pytestconfig.hook, hook).get_hookimpls()
    assert getattr(skips, hook) in [caller.function for caller in callers]
