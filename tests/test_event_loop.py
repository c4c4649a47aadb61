"""Tests keep the event loop of their process."""

import re
from pathlib import Path

TESTS = Path(__file__).parent
TAKES_THE_LOOP = re.compile(r"\basyncio\.(run|Runner)\(")


def test_only_programs_of_their_own_run_another_loop() -> None:
    taking = [
        path
        for path in TESTS.rglob("*.py")
        if TAKES_THE_LOOP.search(path.read_text(encoding="utf-8"))
    ]
    for path in taking:
        assert "__main__" in path.read_text(encoding="utf-8"), path
