"""The table of docs/failure-modes.md: each row is a case of the test that it decorates.

    @rows(Row("redis-recovered", None, FROM_DATABASE, 0.3, added=True))
    def test_recovered(proxied: ProxiedApi, row: Row[None]) -> None: ...

A row's name is its case's id: `pytest tests/failures -k "<name>"` runs it. The row promises what
the test asserts.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Generic, TypeVar

import pytest

from tests.failures.proxy import Failure

F = TypeVar("F")


@dataclass(frozen=True)
class Outcome:
    """The effect that a client sees; `problems` are the codes that a 503 may have."""

    text: str
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row(Generic[F]):
    """`failure` is provoked by the test; `maximum_seconds` of None is Lambda's timeout."""

    name: str
    failure: F
    outcome: Outcome
    maximum_seconds: float | None = None
    added: bool = False
    """The seconds come on top of what the response takes otherwise."""

    def markdown(self) -> str:
        longest = "Lambda's time" if self.maximum_seconds is None else f"{self.maximum_seconds:g} s"
        longest = f"+{longest}" if self.added else longest
        return f"| `{self.name}` | {self.outcome.text} | {longest} |"


ROWS: list[Row[Any]] = []
"""Of the test modules that are imported."""


def each(
    name: str,
    failures: Iterable[Failure],
    outcome: Outcome,
    maximum_seconds: float | None = None,
    *,
    added: bool = False,
) -> list[Row[Failure]]:
    """Return a row for each failure, whose name ends with it."""
    return [
        Row(f"{name}-{failure}", failure, outcome, maximum_seconds, added) for failure in failures
    ]


def rows(*given: Row[F]) -> pytest.MarkDecorator:
    """Make the rows cases of the test and lines of the table; two tests' common row is one line."""
    ROWS.extend(row for row in given if row not in ROWS)
    return pytest.mark.parametrize("row", given, ids=[row.name for row in given])


def markdown_table() -> str:
    """Return the rows of all test modules of this folder, by name."""
    for module in Path(__file__).parent.glob("test_*.py"):
        import_module(f"{__package__}.{module.stem}")
    head = "| failure | what a client sees | at most |\n|---|---|---|\n"
    lines = [row.markdown() for row in sorted(ROWS, key=lambda row: row.name)]
    assert len({row.name for row in ROWS}) == len(ROWS)
    return head + "".join(f"{line}\n" for line in lines)
