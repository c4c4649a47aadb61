"""The logs of a failed test's functions, with tracebacks as lines instead of JSON."""

import pytest

from local.runtime.logs import readable


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed:
        report.sections = [
            (title, "\n".join(map(readable, text.splitlines()))) for title, text in report.sections
        ]
