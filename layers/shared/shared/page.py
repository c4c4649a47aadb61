"""The position and the result of a page, as HTTP and the database exchange them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from shared.errors import InvalidRequest

ItemKey = int | str | UUID
"""The key of an item, by which lists are ordered."""
K = TypeVar("K", int, str, UUID)


@dataclass(frozen=True, slots=True)
class PagePosition:
    """The start of a page: after `offset` rows, or after the key `after`, None for neither."""

    offset: int = 0
    after: ItemKey | None = None

    def key(self, type_: type[K]) -> K | None:
        """Return the key after which the page begins.

        Raises `InvalidRequest` if the keys of the list are of this type, and the cursor's is not.
        """
        if self.after is None or isinstance(self.after, type_):
            return self.after
        raise invalid_cursor()


@dataclass(frozen=True, slots=True)
class PageResult:
    """The rows of a page; `next_key` is None on the last page, `total` 0 unless counted."""

    rows: Sequence[Any]
    next_key: ItemKey | None
    total: int = 0


def invalid_cursor() -> InvalidRequest:
    message = "is not a cursor of this list; take it from the link `next`"
    return InvalidRequest([{"in": "query", "field": "cursor", "message": message}])
