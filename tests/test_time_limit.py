"""A test that hangs fails its run in minutes, and says where it stands."""

import subprocess
import sys
from pathlib import Path

from tests.resources import ROOT

HANGS = """
import threading

def test_before(): ...

def test_that_hangs():
    waiting = threading.Thread(target=threading.Event().wait, daemon=True)
    waiting.start()
    waiting.join()
"""


def test_a_hang_is_a_failure_with_the_stacks_of_all_threads(tmp_path: Path) -> None:
    """By this project's own options, but for the seconds."""
    (tmp_path / "test_hanging.py").write_text(HANGS, encoding="utf-8")
    options = ["-c", str(ROOT / "pyproject.toml"), "-o", "faulthandler_timeout=1", "-o", "addopts="]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "-p", "no:cacheprovider", "-v", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert "test_before PASSED" in done.stdout
    assert "in test_that_hangs" in done.stderr
    assert "in wait" in done.stderr
