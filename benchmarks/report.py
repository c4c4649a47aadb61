"""Writes the measured results as pages and plots."""

from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def write() -> None:
    pass
