"""The position and the result of a page, as HTTP and the database exchange them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class PagePosition:
    """The start of a page: after `offset` rows, or after the key `after`; 0 for neither."""

    offset: int = 0
    after: int = 0


@dataclass(frozen=True, slots=True)
class PageResult:
    """The rows of a page; `next_key` is None on the last page, `total` 0 unless counted."""

    rows: Sequence[Any]
    next_key: int | None
    total: int = 0
