"""What a write changes, and so voids: tables, and scopes of tables, derived like `dependencies`.

A delete also changes the tables to which foreign keys cascade it; an update, the tables that copy
its key. A write that may change more changes the whole table.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import (
    BindParameter,
    Column,
    Delete,
    Executable,
    ForeignKeyConstraint,
    Insert,
    Row,
    Table,
    Update,
    select,
)
from sqlalchemy.sql.dml import UpdateBase

from shared.database.dependencies import (
    Selected,
    Values,
    action_of,
    is_equal_as_text,
    scope_of,
    scope_text,
    selected_by,
    selected_scope,
)
from shared.database.statements import (
    KNOWN_STATEMENTS,
    NamedText,
    changed_table,
    parts_of,
    upsert_of,
    value_of,
)

SCOPE_LABEL = "_written_scope"
SCOPE_BEFORE = "_scope_before"
KEY, REFERRED = "_key_", "_referred_"
"""They begin the labels of the columns of the row's key, and of those to which scopes refer."""


class TableChanges(NamedTuple):
    """The tables that a statement changes, and how to find the scopes that change.

    `statement` is the statement; it also returns, by labels of their own, the row's key and, if its
    table has a scope, that of the written row and, for an update, the one that the row had before.
    `given` is the parameter that sets the scope, None without one. `by_cascade` has the tables that
    change with the row, each with the column of the written row that is their scope, None if it is
    unknown. `others` change even if no row is returned.
    """

    statement: Executable
    by_cascade: Mapping[str, str | None]
    others: frozenset[str] = frozenset()
    table: str | None = None
    given: Selected | None = None

    def tables(self, values: Values) -> dict[str, str | None]:
        """Return the tables that change, each with the scope of its rows if these values set it.

        An update may move the row from another scope, which changes as well.
        """
        found = dict.fromkeys((*self.by_cascade, *self.others))
        if self.table is not None and self.table not in found:
            found[self.table] = selected_scope(self.given, values) or None
        return found

    def scopes(self, row: Row[*tuple[Any, ...]] | None) -> dict[str, set[str] | None]:
        """Return the scopes that changed of each table, None if they are unknown.

        `row` is the written row, None if no row was written.
        """
        if row is None:
            return dict.fromkeys((*self.others, *self.by_cascade) if self.others else ())
        known = {
            table: {getattr(row, f"{REFERRED}{key}", None)}
            for table, key in self.by_cascade.items()
        }
        if self.table is not None and self.table not in known:
            after = getattr(row, SCOPE_LABEL, None)
            known[self.table] = {after, getattr(row, SCOPE_BEFORE, after)}
        scopes: dict[str, set[str] | None] = {
            table: None if None in values else set(map(scope_text, values))
            for table, values in known.items()
        }
        return scopes | dict.fromkeys(self.others)


@lru_cache(KNOWN_STATEMENTS)
def changes_of(statement: Executable) -> TableChanges:
    """Return the changes of a statement. Raises `UnknownTables`."""
    parts = list(parts_of(statement))
    changing = [one for one in parts if isinstance(one, UpdateBase) and one is not statement]
    named = [table for one in parts if isinstance(one, NamedText) for table in one.changes]
    others = {changed_table(one).name for one in changing} | {table.name for table in named}
    by_cascade: dict[str, str | None] = {}
    for one in changing:
        by_cascade |= dict.fromkeys(_cascaded(changed_table(one), isinstance(one, Delete)))
    for table in named:  # text does not tell whether it deletes or updates
        by_cascade |= dict.fromkeys({**_cascaded(table, True), **_cascaded(table, False)})
    if not isinstance(statement, Insert | Update | Delete):
        return TableChanges(statement, by_cascade, frozenset(others))
    table = changed_table(statement)
    by_cascade = _cascaded(table, isinstance(statement, Delete)) | by_cascade
    if table.name in by_cascade:  # it changes in two ways
        by_cascade[table.name] = None
    keys = (key.label(KEY + key.name) for key in table.primary_key.columns)
    referred = sorted({key for key in by_cascade.values() if key is not None})  # if it is deleted
    labels = (*keys, *(table.c[key].label(REFERRED + key) for key in referred))
    statement = statement.returning(*labels)
    changes = TableChanges(statement, by_cascade, frozenset(others), table.name)
    scope = scope_of(table)
    if scope is None or (isinstance(statement, Insert) and _may_move(statement, scope)):
        return changes
    if isinstance(statement, Delete):
        return changes._replace(statement=statement.returning(scope.label(SCOPE_LABEL)))
    given = selected_by(_given(statement, scope.name), scope)
    if isinstance(statement, Update):
        moving = _returning_scope_before(statement, table, scope)
        return changes._replace(statement=moving, given=given)
    inserting = statement.returning(scope.label(SCOPE_LABEL))
    return changes._replace(statement=inserting, given=given)


def _may_move(statement: Insert, scope: Column[Any]) -> bool:
    """Return whether ON CONFLICT may move an existing row from another scope.

    It does not if the row conflicts by the scope, as that of a link does, and keeps it.
    """
    upsert = upsert_of(statement)
    if upsert is None:
        return False
    excluded = f"excluded.{scope.name}"
    keeps = str(upsert.values.get(scope.name, excluded)) == excluded and scope.computed is None
    return scope.name not in upsert.target or not keeps


def _returning_scope_before(statement: Update, table: Table, scope: Column[Any]) -> Update:
    """Return the update, extended to return the row's scope, and the one that it had before.

    A trigger or a generated column may change a scope that the statement does not set. The row is
    locked before it is read: a subquery in RETURNING would miss the scope to which
    another transaction has just moved it. `old` in RETURNING needs PostgreSQL 18.
    """
    keys = table.primary_key.columns
    former = select(*keys, scope.label(SCOPE_BEFORE)).with_for_update(of=table, key_share=True)
    if statement.whereclause is not None:
        former = former.where(statement.whereclause)
    before = former.cte("_before")
    same_row = (column == before.c[column.name] for column in keys)
    moving = statement.where(*same_row)
    return moving.returning(scope.label(SCOPE_LABEL), before.c[SCOPE_BEFORE])


def _given(statement: Insert | Update, column: str) -> BindParameter[Any] | None:
    """Return the parameter that a column is set to, None if it is set to another expression."""
    value = value_of(statement, column)
    return value if isinstance(value, BindParameter) else None


def _cascaded(table: Table, deletes: bool) -> dict[str, str | None]:
    """Return the tables whose rows change with rows of this table, at any depth.

    Each has the column of this table that is the scope of its rows. It is None, for the whole
    table, if there are several ways to the table, or if a row may get another scope.
    """
    found: dict[str, str | None] = {}
    ways = [(table, deletes)]
    for parent, is_deleted in ways:
        for child, key in _references(parent):
            action = action_of(key.ondelete if is_deleted else key.onupdate)
            if not action:
                continue
            is_default = action.startswith("SET DEFAULT")
            is_known = parent is table and is_deleted and not is_default
            scope = _referred(key, scope_of(child)) if is_known else None
            found[child.name] = scope if child.name not in found else None
            way = child, is_deleted and action == "CASCADE"
            if way not in ways:
                ways.append(way)
    return found


def _references(table: Table) -> Iterator[tuple[Table, ForeignKeyConstraint]]:
    for child in table.metadata.tables.values():
        for key in child.foreign_key_constraints:
            if key.referred_table is table:
                yield child, key


def _referred(key: ForeignKeyConstraint, scope: Column[Any] | None) -> str | None:
    """Return the column to which a child's scope refers, None if this key does not include it."""
    for one in key.elements:
        if one.parent is scope and is_equal_as_text(one.column.type):
            return one.column.name
    return None
