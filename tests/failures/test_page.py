"""docs/failure-modes.md shows the faults that these tests cause."""

from tests.failures.rows import markdown_table
from tests.resources import ROOT


def test_the_table_of_failure_modes_is_that_of_the_tests() -> None:
    page = ROOT / "docs" / "failure-modes.md"
    assert markdown_table().strip() in page.read_text(encoding="utf-8")
