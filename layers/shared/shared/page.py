"""A page between HTTP and the database: where it begins, and what was found."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class PagePosition:
    """After a number of rows, or after a key (0 is the start)."""

    offset: int = 0
    after: int = 0


@dataclass(frozen=True, slots=True)
class PageResult:
    """A page's rows; `next_key` is None where none follow; `total` is 0 unless asked for."""

    rows: Sequence[Any]
    next_key: int | None
    total: int = 0
