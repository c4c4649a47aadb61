"""Where a page of a list begins."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PagePosition:
    """After a number of rows, or after a key (0 is the start)."""

    offset: int = 0
    after: int = 0
