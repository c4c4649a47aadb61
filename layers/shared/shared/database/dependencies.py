"""What a cached page depends on: the tables, and scopes of tables, that its statements read.

None of it is declared; it is derived from the statements and the models:

- A statement of SQLAlchemy knows its tables. SQL text does not, and must name them (`sql`).
- A table may name a column as its scope: `info={SCOPE: "writer_id"}`. A page that shows only rows
  of one scope depends on that scope instead of the whole table. Its type must be one whose equal
  values are equal as text: an integer, a UUID, or a text in the database's collation.
- A table that is never cached, such as the audit log, is untracked: `info={UNTRACKED: True}`.
- A statement whose rows depend on the time, as with `now()`, makes its page one that is not cached.
- A table that triggers derive from others counts as those: `info={DERIVED_FROM: ("articles",)}` or,
  if each row names its source table in a column, `info={ROWS_OF: "column"}`.

A page that may depend on more depends on the whole table. The statement does not tell which tables
a trigger or a function of the database reads or writes. A test runs every operation, and compares
the derived tables with the locks that PostgreSQL reports. What a write changes is in
`shared.database.changes`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from sqlalchemy import (
    TEXT,
    VARCHAR,
    BinaryExpression,
    BindParameter,
    Column,
    ColumnClause,
    Executable,
    FromClause,
    FunctionElement,
    Integer,
    Select,
    String,
    Table,
    Text,
    TextClause,
    Unicode,
    UnicodeText,
    Uuid,
)
from sqlalchemy.sql import operators
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.elements import ClauseElement
from sqlalchemy.sql.type_api import TypeEngine

from shared.database.statements import (
    KNOWN_STATEMENTS,
    NamedText,
    Place,
    UnknownTables,
    aliased,
    conjuncts,
    parts_of,
    places_in,
    statement_tables,
)

SCOPE = "scope"
DERIVED_FROM = "derived_from"
ROWS_OF = "rows_of"
UNTRACKED = "untracked"
WHOLE_TABLE = ""
"""The scope of a dependency on any row of a table, or of a change of any row."""
UNCACHEABLE = None
"""The scope of a table that no cached page may depend on."""
NO_TABLE = ""
"""The name of a dependency on the time alone."""
TIME = re.compile(
    r"\b(now|age|timeofday|(clock|statement|transaction)_timestamp)\b\s*(\(|$)"
    r"|\b(current_(date|time|timestamp)|local(time|timestamp))\b",
    re.IGNORECASE,
)
"""The functions of SQL that return the time."""
SCOPE_TEXTS = (String, Text, Unicode, UnicodeText, VARCHAR, TEXT)

Values = Mapping[str, object]
Selected = tuple[BindParameter[Any], type]
"""A parameter that selects a scope, and the type that its value must have."""
Dependencies = Mapping[str, str | None]
"""The scope, in text, of each table by name; `WHOLE_TABLE` for all of it, or `UNCACHEABLE`."""


def dependencies_of(statement: Executable, values: Values | None) -> Dependencies:
    """Return the dependencies of a page that this statement reads.

    Raises `UnknownTables`, also for a statement that changes rows.
    """
    scopes, untracked = _scopes_read(statement)
    known = {table: selected_scope(one, values or {}) for table, one in scopes.items()}
    return known | dict.fromkeys(untracked, UNCACHEABLE)


def merge(known: dict[str, str | None], more: Dependencies) -> None:
    """Add dependencies to the known ones; two scopes of a table make the whole table."""
    for table, scope in more.items():
        before = known.get(table, scope)
        is_uncacheable = UNCACHEABLE in (before, scope)
        known[table] = UNCACHEABLE if is_uncacheable else scope if before == scope else WHOLE_TABLE


def scope_text(value: object) -> str:
    """Return a scope as text that a key may contain."""
    return quote(str(value), safe="")


def selected_scope(selected: Selected | None, values: Values) -> str:
    """Return the scope in text; a value of another type than the column's may differ as text."""
    if selected is None:
        return WHOLE_TABLE
    bind, type_ = selected
    value = values.get(bind.key, bind.effective_value)
    return scope_text(value) if type(value) is type_ else WHOLE_TABLE


@lru_cache(KNOWN_STATEMENTS)
def _scopes_read(
    statement: Executable,
) -> tuple[dict[str, Selected | None], frozenset[str]]:
    """Return the tables that are read, each with the parameter that selects a scope, None for the
    whole table; and the tables of which no page may be cached."""
    require_read(statement)
    places = list(places_in(statement))
    found: dict[str, Selected | None] = {}
    wholes: set[str] = set()
    for element in parts_of(statement):
        if isinstance(element, NamedText):
            for table in element.reads:
                wholes |= {table.name} | derived_from(table)
                _check_rows_of(table)
        elif not isinstance(element, Table):
            continue
        elif (column := element.info.get(ROWS_OF)) is not None:
            wholes |= _tables_of_rows(places, element, column)
        else:
            wholes |= derived_from(element)
            scope = scope_of(element)
            bind = None if scope is None else _common_bind(places, element, scope.name)
            found[element.name] = selected_by(bind, scope)
    named = statement_tables(statement)
    depends_on_time = any(map(_is_time, parts_of(statement)))
    untracked = {table.name for table in named if depends_on_time or UNTRACKED in table.info}
    if depends_on_time and not named:
        untracked.add(NO_TABLE)
    return found | dict.fromkeys(wholes), frozenset(untracked)


def _is_time(part: ClauseElement) -> bool:
    text = part.text if isinstance(part, TextClause) else getattr(part, "name", "")
    is_code = isinstance(part, TextClause | FunctionElement) or getattr(part, "is_literal", False)
    return is_code and TIME.search(str(text)) is not None


def _check_rows_of(table: Table) -> None:
    if ROWS_OF in table.info:
        raise UnknownTables(f"SQL text cannot read {table.name}, whose rows are of many tables")


def derived_from(table: Table) -> set[str]:
    """Return the tables whose changes change this one by triggers, at any depth.

    They also change the tables to which these changes cascade. Raises `UnknownTables`.
    """
    found, seen, waiting = set[str](), {table}, [table]
    while waiting:
        one = waiting.pop()
        sources = {_table_named(name, one) for name in one.info.get(DERIVED_FROM, ())}
        found.update(source.name for source in sources)
        new = (sources | _cascading_parents(one)) - seen
        seen |= new
        waiting += new
    return found


def _table_named(name: str, derived: Table) -> Table:
    if name not in derived.metadata.tables:
        raise UnknownTables(f"{derived.name} is derived from {name}, which is no table")
    return derived.metadata.tables[name]


def _cascading_parents(table: Table) -> set[Table]:
    return {
        key.referred_table
        for key in table.foreign_key_constraints
        if action_of(key.ondelete) or action_of(key.onupdate)
    }


def action_of(written: str | None) -> str:
    """Return a foreign key's action, such as `SET NULL (CITY_ID)`; empty if it changes no row."""
    action = " ".join((written or "").upper().split())
    return "" if action in ("NO ACTION", "RESTRICT") else action


def scope_of(table: Table) -> Column[Any] | None:
    """Return the column of the table's scopes, None if it has no scopes.

    Raises `UnknownTables` for a type whose equal values may differ as text, such as `numeric`.
    """
    if SCOPE not in table.info:
        return None
    column: Column[Any] = table.c[table.info[SCOPE]]
    if not is_equal_as_text(column.type):
        raise UnknownTables(f"the scope of {table.name} must be an integer, a UUID or a plain text")
    return column


def is_equal_as_text(type_: TypeEngine[Any]) -> bool:
    """Whether equal values are equal as text; those of CHAR, CITEXT and some collations may not."""
    if isinstance(type_, String):
        return type(type_) in SCOPE_TEXTS and type_.collation in (None, "C")
    return isinstance(type_, Integer) or (isinstance(type_, Uuid) and type_.as_uuid)


def selected_by(bind: BindParameter[Any] | None, scope: Column[Any] | None) -> Selected | None:
    return None if bind is None or scope is None else (bind, scope.type.python_type)


@lru_cache(KNOWN_STATEMENTS)
def require_read(statement: Executable) -> None:
    """Raise `UnknownTables` for a statement that changes rows: its changes would void no page."""
    for element in parts_of(statement):
        names_changes = isinstance(element, NamedText) and element.changes
        if names_changes or isinstance(element, UpdateBase):
            raise UnknownTables("a statement that changes rows must be executed by a Transaction")


def _common_bind(places: Sequence[Place], table: Table, column: str) -> BindParameter[Any] | None:
    """Return the parameter that the column equals wherever rows of the table are selected."""
    binds = list(_equal_binds(places, table, column))
    first = binds[0] if binds else None
    same = all(bind is not None and first is not None and bind.key == first.key for bind in binds)
    return first if same else None


def _tables_of_rows(places: Sequence[Place], table: Table, column: str) -> set[str]:
    """Return the source tables of the rows. Raises `UnknownTables` if a query names none."""
    binds = list(_equal_binds(places, table, column))
    if not binds or any(bind is None or bind.effective_value is None for bind in binds):
        raise UnknownTables(f"a query of {table.name} must compare {column} with a table's name")
    return {str(bind.effective_value) for bind in binds if bind is not None}


def _equal_binds(
    places: Sequence[Place], table: Table, column: str
) -> Iterator[BindParameter[Any] | None]:
    """Yield for each place that selects from the table what its column must equal, or None."""
    for one, sources in places:
        for source in sources:
            if aliased(source) is table:
                yield _equal_bind(one, source, column)


def _equal_bind(one: Select[Any], source: FromClause, column: str) -> BindParameter[Any] | None:
    for condition in conjuncts(one.whereclause):
        if isinstance(condition, BinaryExpression) and condition.operator is operators.eq:
            sides = (condition.left, condition.right), (condition.right, condition.left)
            for side, other in sides:
                is_column = isinstance(side, ColumnClause) and side.name == column
                if is_column and side.table is source and isinstance(other, BindParameter):
                    return other if is_equal_as_text(other.type) else None
    return None
