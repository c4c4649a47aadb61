"""A test that fails shows a traceback that was logged as Python shows it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FAILING = """
import json, traceback

def test_that_fails():
    try:
        1 / 0
    except ZeroDivisionError:
        print(json.dumps({"level": "ERROR", "exception": traceback.format_exc()}))
        print(json.dumps({"level": "INFO", "route": "/things"}))
    assert False
"""


@pytest.mark.parametrize("processes", ["0", "1"])
def test_a_logged_traceback_is_shown_as_lines(tmp_path: Path, processes: str) -> None:
    (tmp_path / "test_failing.py").write_text(FAILING, encoding="utf-8")
    (tmp_path / "pytest.ini").touch()
    options = ["-p", "tests.logs", "-p", "no:cacheprovider", "-n", processes]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "--rootdir", str(tmp_path), str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    first = lines.index('{"level": "ERROR"}')
    assert lines[first + 1] == "Traceback (most recent call last):"
    assert lines[first + 3].strip() == "1 / 0"
    assert "ZeroDivisionError: division by zero" in lines
    assert '{"level": "INFO", "route": "/things"}' in lines
