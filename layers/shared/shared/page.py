"""The position and the result of a page, as HTTP and the database exchange them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from shared.errors import InvalidRequest

ItemKey = int | str | UUID
"""The primary key of an item, by which lists are ordered."""
K = TypeVar("K", int, str, UUID)


class OrderedKey(NamedTuple):
    """The place of an item in a list that has an order of its own.

    `text` is the text of the value that orders the list, as PostgreSQL casts it.
    """

    text: str
    key: ItemKey


@dataclass(frozen=True)
class PagePosition:
    """The start of a page: after `offset` rows or, unless it is None, after the key `after`."""

    offset: int = 0
    after: ItemKey | OrderedKey | None = None

    def key(self, type_: type[K]) -> K | None:
        """Return `after`. Raises `InvalidRequest` if it is of another type than the list's keys."""
        if self.after is None or isinstance(self.after, type_):
            return self.after
        raise invalid_cursor()

    def ordered_key(self, type_: type[ItemKey]) -> OrderedKey | tuple[None, None]:
        """Return `after` in a list with an order of its own, as `key` does."""
        if self.after is None:
            return None, None
        if isinstance(self.after, OrderedKey) and isinstance(self.after.key, type_):
            return self.after
        raise invalid_cursor()


@dataclass(frozen=True)
class PageResult:
    """The rows of a page; `next_key` is None on the last page, `total` 0 unless counted."""

    rows: Sequence[Any]
    next_key: ItemKey | OrderedKey | None
    total: int


def invalid_cursor() -> InvalidRequest:
    message = "is not a cursor of this list; take it from the link `next`"
    return InvalidRequest([{"in": "query", "field": "cursor", "message": message}])
