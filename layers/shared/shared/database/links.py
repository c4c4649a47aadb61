"""The statements that insert and delete rows of a link table, whose key is the ids of two rows.

The audit log has the first of the two ids.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Column, ColumnElement, Table, bindparam, delete, select, true
from sqlalchemy.dialects.postgresql import insert

from shared.database.ownership import check_owner, is_own
from shared.database.transactions import Transaction
from shared.errors import InvalidReference, NotFound
from shared.page import ItemKey

FIRST_ID, SECOND_ID = "_first_id", "_second_id"


class Link:
    """The statements of a link table. Its other columns, if any, have defaults.

    `owner` is the column with the id of the user who owns a link: a column of the table itself, or
    of a table that it links. Without it, only callers who may write all rows may write.
    """

    def __init__(self, table: Table, owner: Column[Any] | None = None) -> None:
        first, second = table.primary_key.columns
        first_id = bindparam(FIRST_ID, type_=first.type)
        second_id = bindparam(SECOND_ID, type_=second.type)
        ids = {first.name: first_id, second.name: second_id}
        link = insert(table).from_select(
            list(ids), select(*ids.values()).where(_may_write(table, owner, ids))
        )
        # An existing link is updated, and so locked, so that it still exists at COMMIT.
        self._insert = link.on_conflict_do_update(
            index_elements=[first, second], set_={second.name: link.excluded[second.name]}
        ).returning(first, second)
        self._delete = (
            delete(table)
            .where(
                first == first_id,
                second == second_id,
                _may_write(table, owner, dict(table.c.items())),
            )
            .returning(first, second)
        )

    async def insert(self, transaction: Transaction, first_id: ItemKey, second_id: ItemKey) -> None:
        """Insert the link unless it exists.

        Raises `NotFound` if one of the rows does not exist, and `Forbidden`.
        """
        try:
            await transaction.insert(self._insert, _values(first_id, second_id))
        except InvalidReference as unknown:
            raise NotFound(unknown.detail) from None

    async def delete(self, transaction: Transaction, first_id: ItemKey, second_id: ItemKey) -> None:
        """Delete the link. Raises `NotFound` if it does not exist, and `Forbidden`."""
        await transaction.change(self._delete, _values(first_id, second_id))


def _values(first_id: ItemKey, second_id: ItemKey) -> dict[str, ItemKey]:
    return {FIRST_ID: first_id, SECOND_ID: second_id}


def _may_write(
    table: Table, owner: Column[Any] | None, link: Mapping[str, ColumnElement[Any]]
) -> ColumnElement[bool]:
    """Return the condition that the caller may write the link with these columns."""
    if owner is None:
        return true()
    check_owner(owner)
    if owner.table is table:
        return is_own(link[owner.name])
    [key] = [one for one in table.foreign_keys if one.column.table is owner.table]
    linked = select(owner).where(key.column == link[key.parent.name])
    return is_own(linked.scalar_subquery())
