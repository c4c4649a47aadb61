"""The page of the measurements has the measured figures."""

import re

import pytest

from benchmarks import report
from tests.resources import ROOT


def test_the_page_is_made_of_the_results() -> None:
    assert report.page(report.read_results()) == report.PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("plot", report.plots(report.read_results()))
def test_a_plot_is_made_of_the_results(plot: str) -> None:
    svg = report.plots(report.read_results())[plot]
    assert svg == (report.PLOTS / f"{plot}.svg").read_text(encoding="utf-8")


def test_the_table_of_headlines_is_made_of_the_results() -> None:
    text = report.HEADLINES.read_text(encoding="utf-8")
    assert report.with_headlines(text, report.read_results()) == text


def test_only_the_measured_page_has_ratios_to_the_baseline() -> None:
    """Each measurement changes them."""
    pages = (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"))
    written = [page for page in pages if page.name != "benchmarks.md"]
    assert written
    for page in written:
        assert not re.search(r"\b1/\d\d+\b", page.read_text(encoding="utf-8")), page
