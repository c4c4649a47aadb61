"""The statements that insert, find, update and delete one row of a resource.

Rows have the table's columns, the key first, and `_version`. Updates and deletes check the
row's version against If-Match, and its owner.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, cast

from sqlalchemy import (
    BindParameter,
    Column,
    ColumnElement,
    Row,
    Table,
    and_,
    bindparam,
    delete,
    insert,
    null,
    select,
    update,
)
from sqlalchemy.sql import visitors
from sqlalchemy.sql.dml import ReturningUpdate
from sqlalchemy.sql.selectable import TypedReturnsRows

from shared.database.models import identities
from shared.database.own_rows import forbidden
from shared.database.ownership import (
    ISSUER,
    SUBJECT,
    check_owner,
    columns_in,
    conditions_on_caller,
    is_own,
)
from shared.database.reads import Reader
from shared.database.statements import KNOWN_STATEMENTS, conjuncts, key_columns
from shared.database.transactions import Transaction
from shared.database.versions import meets_conditions, version
from shared.errors import NotFound
from shared.page import ItemKey

ITEM_KEY = "_item_key"

ItemRow = Row[*tuple[Any, ...]]
"""The columns of a table, and `_version`."""


class Item:
    """The statements of a table whose primary key is one column: an id, a UUID or a text.

    `owner` is the column with the id of the user who owns a row: callers who may write only their
    own rows can neither create rows for other users, nor give them rows. In the table of users it
    is the key: such a caller creates one user, its own. Rows that do not meet the condition `where`
    are not found. A part of it that depends on the caller, such as a membership, is a rule like the
    owner's: rows meet it before and after a write. Without either, only callers who may write all
    rows may write.

    Raises `TypeError` for a key of several columns.
    """

    def __init__(
        self,
        table: Table,
        *,
        owner: Column[Any] | None = None,
        where: ColumnElement[bool] | None = None,
    ) -> None:
        (key,) = key_columns(table, 1)
        self.columns = _returned(table)
        self._table = table
        self._has_owners = owner is key
        own = conditions_on_caller(where)
        guards = [meets_conditions(table)]
        if owner is not None:
            check_owner(owner)
            guards.append(is_own(owner))
        if owner is not None and not self._has_owners:
            own.append(is_own(owner))
        self._own = and_(*own) if own else None
        self._own_columns = columns_in(own, table)
        is_item = and_(key == bindparam(ITEM_KEY), *conjuncts(where))
        self._insert = insert(table).returning(*self.columns)
        self._find = select(*self.columns).where(is_item)
        self._delete = delete(table).where(is_item, *guards).returning(key)
        self._update = update(table).where(is_item, *guards).returning(*self.columns)

    async def insert(self, transaction: Transaction, values: Mapping[str, object]) -> ItemRow:
        """Insert a row, and return it.

        Raises `AlreadyTaken`, `Conflict`, `InvalidReference`, and `Forbidden` if the row would be
        another user's.
        """
        if self._own is not None:
            statement = _insert_own(self._table, self._own, tuple(values))
        elif self._has_owners and transaction.access.own_only:
            statement = _insert_owner(self._table, tuple(values))
        else:
            return await transaction.insert(self._insert, values)
        given = {f"_new_{name}": value for name, value in values.items()}
        try:
            return await transaction.insert(statement, given)
        except NotFound:  # for a caller who may write all rows that meet the condition
            raise forbidden(transaction.access) from None

    async def find(self, reader: Reader, item: ItemKey) -> ItemRow:
        """Return the row. Raises `NotFound`."""
        return await reader.find(self._find, {ITEM_KEY: item})

    async def update(
        self, transaction: Transaction, item: ItemKey, values: Mapping[str, object]
    ) -> ItemRow:
        """Set these values, and return the row.

        Raises `NotFound`, `Forbidden`, `PreconditionFailed`, `AlreadyTaken`, `Conflict` and
        `InvalidReference`.
        """
        given = {ITEM_KEY: item, **values}
        names = tuple(name for name in values if name in self._own_columns)
        if self._own is None or not names:
            return await transaction.change(self._update, given, found_by=self._find)
        given |= {f"_new_{name}": values[name] for name in names}
        statement = _update_own(self._update, self._own, names)
        return await transaction.change(statement, given, found_by=self._find)

    async def delete(self, transaction: Transaction, item: ItemKey) -> None:
        """Delete the row.

        Raises `NotFound`, `Forbidden`, `PreconditionFailed` and `ResourceInUse`.
        """
        await transaction.change(self._delete, {ITEM_KEY: item}, found_by=self._find)


@lru_cache(KNOWN_STATEMENTS)
def _insert_own(
    table: Table, is_own: ColumnElement[bool], names: tuple[str, ...]
) -> TypedReturnsRows[*tuple[Any, ...]]:
    """Return the statement that inserts these columns if the row is the caller's own."""
    given = _given(table, names)
    all_given = {one.name: given.get(one.name, null()) for one in table.c}
    row = select(*given.values()).where(_with_values(is_own, table, all_given))
    return insert(table).from_select(names, row).returning(*_returned(table))


@lru_cache(KNOWN_STATEMENTS)
def _update_own(
    statement: ReturningUpdate[Any], is_own: ColumnElement[bool], names: tuple[str, ...]
) -> TypedReturnsRows[*tuple[Any, ...]]:
    """Return the update if the row is the caller's own with the new values of these columns, too.

    Then no error, such as of a value that another row has, tells of rows that are not its own.
    """
    table = cast("Table", statement.table)
    own = _with_values(is_own, table, _given(table, names))
    return cast("TypedReturnsRows[*tuple[Any, ...]]", statement.where(own))


def _with_values(
    condition: ColumnElement[bool], table: Table, values: Mapping[str, ColumnElement[Any]]
) -> ColumnElement[bool]:
    """Return the condition with these values in place of the table's columns."""

    def replace(part: Any, **_options: Any) -> Any:
        return values.get(part.name) if getattr(part, "table", None) is table else None

    return visitors.replacement_traverse(condition, {}, cast("Any", replace))


@lru_cache(KNOWN_STATEMENTS)
def _insert_owner(table: Table, names: tuple[str, ...]) -> TypedReturnsRows[*tuple[Any, ...]]:
    """Return the statement that inserts a user with these columns, and the caller as its owner."""
    created = insert(table).values(_given(table, names)).returning(*_returned(table))
    rows = created.cte("created")
    key, *_ = rows.c
    own = insert(identities).from_select(
        ["issuer", "subject", "user_id"], select(ISSUER, SUBJECT, key)
    )
    return select(*rows.c).add_cte(own.cte("own"))


def _returned(table: Table) -> tuple[ColumnElement[Any], ...]:
    (key,) = table.primary_key.columns
    return (key, *(one for one in table.c if one is not key), version(table))


def _given(table: Table, names: tuple[str, ...]) -> dict[str, BindParameter[Any]]:
    return {name: bindparam(f"_new_{name}", type_=table.c[name].type) for name in names}
