"""Skips: on a developer's machine a line for each reason, in CI failures.

A reason says what is missing and how to have it (`tests/tools.py`). In CI no test is skipped in
silence: a missing tool fails the tests that need it.

CI is where the variable CI is set to `true`, as GitHub and others do. What truly cannot be there is
named by its marker, in full view in the CI's configuration:

    CI_MAY_SKIP=docker .ci/run
"""

import os
from collections.abc import Generator
from pathlib import Path
from typing import TypeVar, cast

import pytest

TESTS = Path(__file__).parent
Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _unless_allowed(item, (yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _unless_allowed(collector, (yield))


def _unless_allowed(node: pytest.Item | pytest.Collector, report: Report) -> Report:
    if not report.skipped or hasattr(report, "wasxfail"):
        return report
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if os.environ.get("CI") == "true" and not _may_skip(node):
        report.outcome = "failed"
        report.longrepr = f"{reason}; in CI nothing is skipped, unless CI_MAY_SKIP names its marker"
    else:
        # Without a line's number: pytest's summary folds equal reasons of one place into a line.
        report.longrepr = cast("tuple[str, int, str]", (str(TESTS), None, reason))
    return report


def _may_skip(node: pytest.Item | pytest.Collector) -> bool:
    if isinstance(node, pytest.Item) and "NOTSET" in node.name:
        return (
            True  # an empty list follows from the resources (tests/every_resource/test_document.py)
        )
    may_skip = os.environ.get("CI_MAY_SKIP", "").split(",")
    return any(mark.name in may_skip for mark in node.iter_markers())
