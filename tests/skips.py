"""In CI no test is skipped in silence: a missing tool fails the tests that need it.

CI is where the variable CI is set to `true`, as GitHub and others do. What truly cannot be there is
named by its marker, in full view in the CI's configuration:

    CI_MAY_SKIP=docker .ci/run
"""

import os
from collections.abc import Generator
from typing import TypeVar

import pytest

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
    if not report.skipped or hasattr(report, "wasxfail") or os.environ.get("CI") != "true":
        return report
    may_skip = os.environ.get("CI_MAY_SKIP", "").split(",")
    if any(mark.name in may_skip for mark in node.iter_markers()):
        return report
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    report.outcome = "failed"
    report.longrepr = f"{reason}; in CI nothing is skipped, unless CI_MAY_SKIP names its marker"
    return report
