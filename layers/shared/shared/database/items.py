"""One row of a resource: the statements that insert, find, update and delete it.

Each returns the table's columns and `version`. An update and a delete check that the row is as
If-Match demands, and who may write it.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Row,
    Table,
    and_,
    bindparam,
    delete,
    insert,
    select,
    update,
)

from shared.database.transactions import Reader, Transaction
from shared.database.versions import meets_conditions, version

ITEM_ID = bindparam("item_id", type_=BigInteger)

ItemRow = Row[*tuple[Any, ...]]
"""The columns of a table, and `version`."""


class Item:
    """The statements of a table whose key is `id`.

    `may_write` is a further condition of the row to update or delete, such as that it is the
    caller's (`shared.database.ownership`). Without one, only callers who may write all rows may.
    """

    def __init__(self, table: Table, may_write: ColumnElement[bool] | None = None) -> None:
        self.columns = (*table.c, version(table))
        is_item = table.c.id == ITEM_ID
        conditions = [is_item, meets_conditions(table)]
        writable = and_(*conditions) if may_write is None else and_(*conditions, may_write)
        self._insert = insert(table).returning(*self.columns)
        self._find = select(*self.columns).where(is_item)
        self._update = update(table).where(writable).returning(*self.columns)
        self._delete = delete(table).where(writable).returning(table.c.id)

    async def insert(self, transaction: Transaction, values: Mapping[str, object]) -> ItemRow:
        """Return the new row.

        Raises `Conflict`, `InvalidReference`, and `Forbidden` if the caller may write only its own.
        """
        return await transaction.insert(self._insert, values)

    async def find(self, reader: Reader, item_id: int) -> ItemRow:
        """Return the row. Raises `NotFound`."""
        return await reader.find(self._find, {ITEM_ID.key: item_id})

    async def update(
        self, transaction: Transaction, item_id: int, values: Mapping[str, object]
    ) -> ItemRow:
        """Return the row with these values, and others that `may_write` has.

        Raises `NotFound`, `Forbidden`, `PreconditionFailed`, `Conflict` and `InvalidReference`.
        """
        return await transaction.change(self._update, {ITEM_ID.key: item_id, **values})

    async def delete(
        self, transaction: Transaction, item_id: int, values: Mapping[str, object] | None = None
    ) -> None:
        """Delete the row; `values` are of `may_write`.

        Raises `NotFound`, `Forbidden` and `PreconditionFailed`.
        """
        await transaction.change(self._delete, {ITEM_ID.key: item_id, **(values or {})})
