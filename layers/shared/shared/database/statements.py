"""What a statement says of itself: its parts, its tables, and the values that it sets.

Only this module uses attributes of SQLAlchemy that are not public; tests fail if one is renamed.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnClause,
    ColumnElement,
    Executable,
    FromClause,
    FromGrouping,
    Insert,
    Integer,
    Join,
    Select,
    Table,
    TableClause,
    TextClause,
    Update,
    Values,
    bindparam,
)
from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.elements import BooleanClauseList, ClauseElement
from sqlalchemy.sql.selectable import ScalarValues

KNOWN_STATEMENTS = 1024
"""The number of statements of which the facts are kept."""

WRITE = re.compile(
    r"\b(insert\s+into|delete\s+from|merge\s+into|truncate|update\s+(only\s+)?\S+(\s+\S+){0,2}\s+set)\b",
    re.IGNORECASE,
)
QUERY = re.compile(r"\b(select|table)\b", re.IGNORECASE)

Place = tuple[Select[Any], Sequence[FromClause]]
"""A SELECT, and the tables and aliases from which it selects."""


class UnknownTables(TypeError):
    """The tables of a statement cannot be derived: a bug, found when the statement is first run."""


class NamedText(TextClause):
    """SQL text with the tables that it names."""

    inherit_cache = True

    def __init__(self, text: str, reads: Sequence[Table], changes: Sequence[Table]) -> None:
        super().__init__(text)
        for table in (*reads, *changes):
            _check_table(table)
        if not changes and WRITE.search(text):
            raise UnknownTables("SQL text that changes rows must name the tables: changes=[…]")
        self.reads = tuple(reads)
        self.changes = tuple(changes)


def sql(text: str, *, reads: Sequence[Table], changes: Sequence[Table] = ()) -> TextClause:
    """Return SQL text as a statement, or a part of one, with the tables that it reads and changes.

    Tables to which it cascades need not be named, nor tables that are `DERIVED_FROM` others. Raises
    `UnknownTables` for a text that changes rows without `changes`.
    """
    return NamedText(text, reads, changes)


def statement_tables(statement: Executable) -> set[Table]:
    """Return the tables that a statement names. Raises `UnknownTables`."""
    found: set[Table] = set()
    for element in parts_of(statement):
        if isinstance(element, Table):
            found.add(element)
        elif isinstance(element, NamedText):
            found.update(element.reads, element.changes)
    return found


def written_tables(statement: Executable) -> set[Table]:
    """Return the tables in which a statement inserts or updates rows. Raises `UnknownTables`."""
    parts = list(parts_of(statement))
    named = {table for one in parts if isinstance(one, NamedText) for table in one.changes}
    return named | {changed_table(one) for one in parts if isinstance(one, Insert | Update)}


def parts_of(statement: Executable) -> Iterator[ClauseElement]:
    """Yield every part of a statement. Raises `UnknownTables` for SQL text without tables."""
    for element in visitors.iterate(statement):  # type: ignore[arg-type]
        for hidden in _in_rows(element):
            yield from parts_of(hidden)  # type: ignore[arg-type]
        if isinstance(element, TextClause) and not isinstance(element, NamedText):
            raise UnknownTables("SQL text must name its tables: use shared.database.sql")
        if isinstance(element, TableClause):
            _check_table(element)
        if isinstance(element, ColumnClause) and element.is_literal:
            _check_literal(element.name)
        if isinstance(element, ClauseElement):
            yield element


def _in_rows(element: object) -> Iterator[ClauseElement]:
    """Yield the expressions in rows of VALUES, which SQLAlchemy does not visit."""
    # There are no public attributes for them; a test fails if these are renamed.
    rows: Iterable[Any] = ()
    if isinstance(element, Insert):
        rows = chain.from_iterable(element._multi_values)
    elif isinstance(element, Values | ScalarValues):
        rows = chain.from_iterable(element._data)
    for row in rows:
        values = row.values() if isinstance(row, Mapping) else row
        yield from (one for one in values if isinstance(one, ClauseElement))


def _check_table(table: TableClause) -> None:
    if not isinstance(table, Table):
        raise UnknownTables(f"{table.name} is not a table of the models")
    if table.schema is not None or any(column.key != column.name for column in table.columns):
        raise UnknownTables(f"{table}: a model has no schema, and columns no keys but names")


def _check_literal(text: str) -> None:
    if QUERY.search(text):
        raise UnknownTables("a literal column with a query must name its tables: use sql")


def changed_table(statement: UpdateBase) -> Table:
    """Return the table of an INSERT, UPDATE or DELETE. Raises `UnknownTables`."""
    if not isinstance(statement.table, Table):
        raise UnknownTables("a statement must change a table of the models")
    return statement.table


def require_id(key: Column[Any]) -> None:
    """Raise `TypeError` for a key of integers that are shorter than an id of a request."""
    if isinstance(key.type, Integer) and not isinstance(key.type, BigInteger):
        raise TypeError(f"{key} must be a BigInteger: a request may have any id of 64 bits")


def key_columns(table: Table, number: int) -> list[Column[Any]]:
    """Return the columns of the primary key.

    Raises `TypeError` if their number is another, and if they may be too short for an id.
    """
    columns = list(table.primary_key.columns)
    for column in columns:
        require_id(column)
    if len(columns) != number:
        raise TypeError(
            f"the primary key of {table.name} has {len(columns)} columns: that of an Item has one,"
            " that of a Link two"
        )
    return columns


def places_in(element: Any, outer: Sequence[FromClause] = ()) -> Iterator[Place]:
    """Yield each SELECT, with the tables and aliases from which it selects.

    Those of the SELECT around a query in a condition or column (`outer`) are not among them, except
    in a join: SQLAlchemy correlates the two.
    """
    inner = () if isinstance(element, FromClause) else outer
    if isinstance(element, Select):
        froms = element.get_final_froms()
        own = [one for one in froms if not any(one is other for other in outer)]
        # Not after `correlate`, which says it otherwise; a test fails if the name changes.
        inner = list(_sources(own if element._auto_correlate and own else froms))
        yield element, inner
    for child in (*element.get_children(), *_in_rows(element)):
        yield from places_in(child, () if isinstance(child, FromClause) else inner)


def _sources(froms: Sequence[FromClause]) -> Iterator[FromClause]:
    for one in froms:
        if isinstance(one, Join):
            yield from _sources((one.left, one.right))
        elif isinstance(one, FromGrouping):  # a join within a join
            yield from _sources((one.element,))
        else:
            yield one


def aliased(source: FromClause) -> FromClause:
    """Return what a source is an alias of, at any depth; itself if it is none."""
    while (element := getattr(source, "element", None)) is not None:
        source = element
    return source


def conjuncts(condition: ColumnElement[Any] | None) -> Iterator[ColumnElement[Any]]:
    """Yield the conditions that all must be met."""
    if isinstance(condition, BooleanClauseList) and condition.operator is operators.and_:
        for part in condition.clauses:
            yield from conjuncts(part)
    elif condition is not None:
        yield condition


def value_of(statement: Insert | Update, column: str) -> object:
    """Return the expression that a column is set to, None if an INSERT leaves it out."""
    if isinstance(statement, Insert) and statement.select is not None:
        names = [getattr(name, "name", name) for name in statement._select_names or ()]
        selected = list(statement.select.selected_columns)
        return selected[names.index(column)] if column in names else None
    return set_by(statement).get(column, bindparam(column))


def set_by(statement: Insert | Update) -> dict[Any, object]:
    """Return the values in the statement itself, not in its parameters, by column."""
    # There is no public attribute for them; a test fails if this one is renamed.
    return {getattr(name, "name", name): one for name, one in (statement._values or {}).items()}


class Upsert(NamedTuple):
    """ON CONFLICT DO UPDATE: the columns in conflict by name, the new values, and the condition."""

    target: frozenset[str]
    values: Mapping[str, object]
    where: ColumnElement[bool] | None


def upsert_of(statement: Insert) -> Upsert | None:
    """Return the INSERT's ON CONFLICT DO UPDATE, None if it has none."""
    # No public attribute has the clause; a test fails if this name changes.
    clause: Any = getattr(statement, "_post_values_clause", None)
    if clause is None or not hasattr(clause, "update_values_to_set"):
        return None
    target = (getattr(one, "name", one) for one in clause.inferred_target_elements or ())
    values: Mapping[Any, object] = dict(clause.update_values_to_set)
    set_to = {getattr(name, "name", name): value for name, value in values.items()}
    return Upsert(frozenset(target), set_to, clause.update_whereclause)
