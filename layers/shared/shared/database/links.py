"""The statements that insert and delete rows of a link table, whose key is the ids of two rows."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from sqlalchemy import Column, ColumnElement, Table, bindparam, delete, select, true
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql.selectable import TypedReturnsRows

from shared.database.ownership import check_owner, is_own
from shared.database.statements import KNOWN_STATEMENTS, key_columns
from shared.database.transactions import Transaction
from shared.errors import InvalidReference, NotFound
from shared.page import ItemKey

FIRST_ID, SECOND_ID = "_first_id", "_second_id"


class Link:
    """The statements of a link table.

    `owner` is the column with the id of the user who owns a link: a column of the table itself, or
    of a table that it links. Without it, only callers who may write all rows may write.

    Raises `TypeError` for a key that is not of two columns, and for an owner of a table that both
    may refer to.
    """

    def __init__(self, table: Table, owner: Column[Any] | None = None) -> None:
        self._table, self._owner = table, owner
        first, second = key_columns(table, 2)
        self._delete = (
            delete(table)
            .where(
                first == bindparam(FIRST_ID),
                second == bindparam(SECOND_ID),
                _may_write(table, owner, dict(table.c.items())),
            )
            .returning(first, second)
        )

    async def insert(
        self,
        transaction: Transaction,
        first_id: ItemKey,
        second_id: ItemKey,
        values: Mapping[str, object] | None = None,
    ) -> None:
        """Insert the link unless it exists, and set these values of its other columns.

        Raises `NotFound` if one of the rows does not exist, `Forbidden`, `AlreadyTaken`, `Conflict`
        and, for another column, `InvalidReference`.
        """
        given = values or {}
        statement = _insert(self._table, self._owner, tuple(given))
        new = {f"_new_{name}": value for name, value in given.items()}
        try:
            await transaction.insert(statement, {**_values(first_id, second_id), **new})
        except InvalidReference as unknown:
            if {*unknown.fields} <= {*self._table.primary_key.columns.keys()}:
                raise NotFound(unknown.detail) from None
            raise

    async def delete(self, transaction: Transaction, first_id: ItemKey, second_id: ItemKey) -> None:
        """Delete the link. Raises `NotFound` if it does not exist, and `Forbidden`."""
        await transaction.change(self._delete, _values(first_id, second_id))


def _values(first_id: ItemKey, second_id: ItemKey) -> dict[str, ItemKey]:
    return {FIRST_ID: first_id, SECOND_ID: second_id}


@lru_cache(KNOWN_STATEMENTS)
def _insert(
    table: Table, owner: Column[Any] | None, names: tuple[str, ...]
) -> TypedReturnsRows[*tuple[Any, ...]]:
    first, second = table.primary_key.columns
    row = {
        first.name: bindparam(FIRST_ID, type_=first.type),
        second.name: bindparam(SECOND_ID, type_=second.type),
        **{name: bindparam(f"_new_{name}", type_=table.c[name].type) for name in names},
    }
    link = insert(table).from_select(
        list(row), select(*row.values()).where(_may_write(table, owner, row))
    )
    # An existing link is updated, and so locked, so that it still exists at COMMIT.
    set_ = {name: link.excluded[name] for name in (second.name, *names)}
    return link.on_conflict_do_update(
        index_elements=[first, second],
        set_=set_,
        where=_may_write(table, owner, dict(table.c.items())),
    ).returning(first, second)


def _may_write(
    table: Table, owner: Column[Any] | None, link: Mapping[str, ColumnElement[Any]]
) -> ColumnElement[bool]:
    """Return the condition that the caller may write the link with these columns."""
    if owner is None:
        return true()
    check_owner(owner)
    if owner.table is table:
        return is_own(link[owner.name])
    keys = [one for one in table.foreign_keys if one.column.table is owner.table]
    if len(keys) != 1:
        raise TypeError(
            f"{owner} cannot be the owner: {table.name} refers to its table {len(keys)} times"
        )
    (key,) = keys
    linked = select(owner).where(key.column == link[key.parent.name])
    return is_own(linked.scalar_subquery())
