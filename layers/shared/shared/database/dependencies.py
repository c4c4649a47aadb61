"""The tables that a statement reads and changes, derived from the statement and the models.

A cached page depends on the tables that its statements read, and a write voids the pages of the
tables that it changes (`shared.cache.pages`). Neither is declared:

- A statement of SQLAlchemy knows its tables. SQL text does not, and must name them (`sql`).
- A delete also changes the tables to which foreign keys cascade it; an update, the tables that copy
  its key.
- A table may name a column as its scope: `info={SCOPE: "writer_id"}`. A page that shows only rows
  of one scope depends on that scope instead of the whole table. Its type must be one whose equal
  values are equal as text: an integer, a UUID, or a text in the database's collation.
- A table that is never cached, such as the audit log, is untracked: `info={UNTRACKED: True}`.
- A table that triggers derive from others counts as those: `info={DERIVED_FROM: ("articles",)}` or,
  if each row names its source table in a column, `info={ROWS_OF: "column"}`.

Whatever is not certain depends on, or changes, the whole table. The statement does not tell which
tables a trigger or a function of the database reads or writes. A test runs every operation, and
compares the derived tables with the locks that PostgreSQL reports.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import quote

from sqlalchemy import (
    TEXT,
    VARCHAR,
    BinaryExpression,
    BindParameter,
    Column,
    ColumnClause,
    ColumnElement,
    Delete,
    Executable,
    ForeignKeyConstraint,
    FromClause,
    FromGrouping,
    Insert,
    Integer,
    Join,
    Row,
    Select,
    String,
    Table,
    TableClause,
    Text,
    TextClause,
    Unicode,
    UnicodeText,
    Update,
    Uuid,
    bindparam,
    select,
)
from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.elements import BooleanClauseList, ClauseElement
from sqlalchemy.sql.type_api import TypeEngine

SCOPE = "scope"
DERIVED_FROM = "derived_from"
ROWS_OF = "rows_of"
UNTRACKED = "untracked"
WHOLE_TABLE = ""
"""The scope of a dependency on any row of a table, or of a change of any row."""
UNCACHEABLE = None
"""The scope of a table that no cached page may depend on."""
CASCADING = ("CASCADE", "SET NULL", "SET DEFAULT")
SCOPE_LABEL = "_written_scope"
SCOPE_BEFORE = "_scope_before"
SCOPE_TEXTS = (String, Text, Unicode, UnicodeText, VARCHAR, TEXT)
KNOWN_STATEMENTS = 1024

Values = Mapping[str, object]
Selected = tuple[BindParameter[Any], type]
"""A parameter that selects a scope, and the type that its value must have."""
Place = tuple[Select[Any], Sequence[FromClause]]
"""A SELECT, and the tables and aliases from which it selects."""
Dependencies = Mapping[str, str | None]
"""The scope, in text, of each table by name; `WHOLE_TABLE` for all of it, or `UNCACHEABLE`."""


class UnknownTables(TypeError):
    """The tables of a statement cannot be derived: a bug, found when the statement is first run."""


class _NamedText(TextClause):
    """SQL text with the tables that it names."""

    inherit_cache = True

    def __init__(self, text: str, reads: Sequence[Table], changes: Sequence[Table]) -> None:
        super().__init__(text)
        self.reads = tuple(reads)
        self.changes = tuple(changes)


def sql(text: str, *, reads: Sequence[Table], changes: Sequence[Table] = ()) -> TextClause:
    """Return SQL text as a statement, or a part of one, with the tables that it reads and changes.

    Tables to which a delete cascades need not be named, nor tables that are `DERIVED_FROM` others.
    """
    return _NamedText(text, reads, changes)


class TableChanges(NamedTuple):
    """The tables that a statement changes, and how to find the scopes that change.

    `statement` is the statement; if its table has a scope, it also returns the scope of the written
    row and, for an update, the one that the row had before. `given` is the parameter that sets the
    scope, None without one. `by_cascade` has the tables that change with the row, each with the
    attribute of the written row that is their scope, None if it is unknown. `others` change even if
    no row is returned.
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
            found[self.table] = _selected_scope(self.given, values) or None
        return found

    def scopes(self, row: Row[*tuple[Any, ...]] | None) -> dict[str, set[str] | None]:
        """Return the scopes that changed of each table, None if they are unknown.

        `row` is the written row, None if no row was written.
        """
        if row is None:
            return dict.fromkeys((*self.others, *self.by_cascade) if self.others else ())
        known = {table: {getattr(row, key or "", None)} for table, key in self.by_cascade.items()}
        if self.table is not None and self.table not in known:
            after = getattr(row, SCOPE_LABEL, None)
            known[self.table] = {after, getattr(row, SCOPE_BEFORE, after)}
        scopes: dict[str, set[str] | None] = {
            table: None if None in values else set(map(scope_text, values))
            for table, values in known.items()
        }
        return scopes | dict.fromkeys(self.others)


def dependencies_of(statement: Executable, values: Values | None) -> Dependencies:
    """Return the dependencies of a page that this statement reads.

    Raises `UnknownTables`, also for a statement that changes rows.
    """
    scopes, untracked = _scopes_read(statement)
    known = {table: _selected_scope(one, values or {}) for table, one in scopes.items()}
    return known | dict.fromkeys(untracked, UNCACHEABLE)


def merge(known: dict[str, str | None], more: Dependencies) -> None:
    """Add dependencies to the known ones; two scopes of a table make the whole table."""
    for table, scope in more.items():
        known[table] = scope if known.get(table, scope) == scope else WHOLE_TABLE


def scope_text(value: object) -> str:
    """Return a scope as text that a key may contain."""
    return quote(str(value), safe="")


def _selected_scope(selected: Selected | None, values: Values) -> str:
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
    whole table; and the untracked tables among them."""
    require_read(statement)
    places = list(_places(statement))
    found: dict[str, Selected | None] = {}
    wholes: set[str] = set()
    for element in _elements(statement):
        if isinstance(element, _NamedText):
            for table in element.reads:
                wholes |= {table.name} | derived_from(table)
                _check_rows_of(table)
        elif not isinstance(element, Table):
            continue
        elif (column := element.info.get(ROWS_OF)) is not None:
            wholes |= _tables_of_rows(places, element, column)
        else:
            wholes |= derived_from(element)
            scope = _scope_of(element)
            bind = None if scope is None else _common_bind(places, element, scope.name)
            found[element.name] = _selected(bind, scope)
    named = statement_tables(statement)
    untracked = frozenset(table.name for table in named if UNTRACKED in table.info)
    return found | dict.fromkeys(wholes), untracked


def _check_rows_of(table: Table) -> None:
    if ROWS_OF in table.info:
        raise UnknownTables(f"SQL text cannot read {table.name}, whose rows are of many tables")


def derived_from(table: Table) -> set[str]:
    """Return the tables whose changes change this one by triggers, at any depth.

    They also change the tables to which these changes cascade.
    """
    found, seen, waiting = set[str](), {table}, [table]
    while waiting:
        one = waiting.pop()
        sources = one.info.get(DERIVED_FROM, ())
        found.update(sources)
        known = {table.metadata.tables[name] for name in sources if name in table.metadata.tables}
        new = (known | _cascading_parents(one)) - seen
        seen |= new
        waiting += new
    return found


def _cascading_parents(table: Table) -> set[Table]:
    return {
        key.referred_table
        for key in table.foreign_key_constraints
        if not {str(key.ondelete).upper(), str(key.onupdate).upper()}.isdisjoint(CASCADING)
    }


def _scope_of(table: Table) -> Column[Any] | None:
    """Return the column of the table's scopes, None if it has no scopes.

    Raises `UnknownTables` for a type whose equal values may differ as text, such as `numeric`.
    """
    if SCOPE not in table.info:
        return None
    column: Column[Any] = table.c[table.info[SCOPE]]
    if not _is_equal_as_text(column.type):
        raise UnknownTables(f"the scope of {table.name} must be an integer, a UUID or a plain text")
    return column


def _is_equal_as_text(type_: TypeEngine[Any]) -> bool:
    """Whether equal values are equal as text; those of CHAR, CITEXT and some collations may not."""
    if isinstance(type_, String):
        return type(type_) in SCOPE_TEXTS and type_.collation in (None, "C")
    return isinstance(type_, Integer) or (isinstance(type_, Uuid) and type_.as_uuid)


def _selected(bind: BindParameter[Any] | None, scope: Column[Any] | None) -> Selected | None:
    return None if bind is None or scope is None else (bind, scope.type.python_type)


@lru_cache(KNOWN_STATEMENTS)
def require_read(statement: Executable) -> None:
    """Raise `UnknownTables` for a statement that changes rows: its changes would void no page."""
    for element in _elements(statement):
        names_changes = isinstance(element, _NamedText) and element.changes
        if names_changes or isinstance(element, UpdateBase):
            raise UnknownTables("a statement that changes rows must be executed by a Transaction")


def statement_tables(statement: Executable) -> set[Table]:
    """Return the tables that a statement names. Raises `UnknownTables`."""
    found: set[Table] = set()
    for element in _elements(statement):
        if isinstance(element, Table):
            found.add(element)
        elif isinstance(element, _NamedText):
            found.update(element.reads, element.changes)
    return found


def written_tables(statement: Executable) -> set[Table]:
    """Return the tables in which a statement inserts or updates rows. Raises `UnknownTables`."""
    elements = list(_elements(statement))
    named = {table for one in elements if isinstance(one, _NamedText) for table in one.changes}
    return named | {_table_of(one) for one in elements if isinstance(one, Insert | Update)}


def _elements(statement: Executable) -> Iterator[ClauseElement]:
    """Yield every part of a statement. Raises `UnknownTables` for SQL text without tables."""
    for element in visitors.iterate(statement):  # type: ignore[arg-type]
        if isinstance(element, TextClause) and not isinstance(element, _NamedText):
            raise UnknownTables("SQL text must name its tables: use shared.database.sql")
        if isinstance(element, TableClause) and not isinstance(element, Table):
            raise UnknownTables(f"{element.name} is not a table of the models")
        if isinstance(element, ColumnClause) and element.is_literal:
            _check_literal(element.name)
        if isinstance(element, ClauseElement):
            yield element


def _check_literal(text: str) -> None:
    if "select" in text.lower():
        raise UnknownTables("a literal column with a query must name its tables: use sql")


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
            if _aliased(source) is table:
                yield _equal_bind(one, source, column)


def _places(element: Any, outer: Sequence[FromClause] = ()) -> Iterator[Place]:
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
    for child in element.get_children():
        yield from _places(child, () if isinstance(child, FromClause) else inner)


def _sources(froms: Sequence[FromClause]) -> Iterator[FromClause]:
    for one in froms:
        if isinstance(one, Join):
            yield from _sources((one.left, one.right))
        elif isinstance(one, FromGrouping):  # a join within a join
            yield from _sources((one.element,))
        else:
            yield one


def _aliased(source: FromClause) -> FromClause:
    """Return what a source is an alias of, at any depth; itself if it is none."""
    while (element := getattr(source, "element", None)) is not None:
        source = element
    return source


def _equal_bind(one: Select[Any], source: FromClause, column: str) -> BindParameter[Any] | None:
    for condition in conjuncts(one.whereclause):
        if isinstance(condition, BinaryExpression) and condition.operator is operators.eq:
            sides = (condition.left, condition.right), (condition.right, condition.left)
            for side, other in sides:
                is_column = isinstance(side, ColumnClause) and side.name == column
                if is_column and side.table is source and isinstance(other, BindParameter):
                    return other
    return None


def conjuncts(condition: ColumnElement[Any] | None) -> Iterator[ColumnElement[Any]]:
    """Yield the conditions that all must be met."""
    if isinstance(condition, BooleanClauseList) and condition.operator is operators.and_:
        for part in condition.clauses:
            yield from conjuncts(part)
    elif condition is not None:
        yield condition


@lru_cache(KNOWN_STATEMENTS)
def changes_of(statement: Executable) -> TableChanges:
    """Return the changes of a statement. Raises `UnknownTables`."""
    elements = list(_elements(statement))
    changing = [one for one in elements if isinstance(one, UpdateBase) and one is not statement]
    named = [table for one in elements if isinstance(one, _NamedText) for table in one.changes]
    others = {_table_of(one).name for one in changing} | {table.name for table in named}
    by_cascade: dict[str, str | None] = {}
    for one in changing:
        by_cascade |= dict.fromkeys(_cascaded(_table_of(one), isinstance(one, Delete)))
    for table in named:
        by_cascade |= dict.fromkeys(_cascaded(table, True))
    if not isinstance(statement, Insert | Update | Delete):
        return TableChanges(statement, by_cascade, frozenset(others))
    table = _table_of(statement)
    by_cascade = _cascaded(table, isinstance(statement, Delete)) | by_cascade
    if table.name in by_cascade:  # it changes in two ways
        by_cascade[table.name] = None
    changes = TableChanges(statement, by_cascade, frozenset(others), table.name)
    scope = _scope_of(table)
    if scope is None or (isinstance(statement, Insert) and _may_move(statement, scope.name)):
        return changes
    if isinstance(statement, Delete):
        return changes._replace(statement=statement.returning(scope.label(SCOPE_LABEL)))
    given = _selected(_given(statement, scope.name), scope)
    if isinstance(statement, Update):
        moving = _returning_scope_before(statement, table, scope)
        return changes._replace(statement=moving, given=given)
    inserting = statement.returning(scope.label(SCOPE_LABEL))
    return changes._replace(statement=inserting, given=given)


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


def _may_move(statement: Insert, scope: str) -> bool:
    """Return whether ON CONFLICT may move an existing row from another scope.

    It does not if the row conflicts by the scope, as that of a link does, and keeps it.
    """
    upsert = upsert_of(statement)
    if upsert is None:
        return False
    keeps = str(upsert.values.get(scope, f"excluded.{scope}")) == f"excluded.{scope}"
    return scope not in upsert.target or not keeps


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
    before = former.cte("before")
    same_row = (column == before.c[column.name] for column in keys)
    moving = statement.where(*same_row)
    return moving.returning(scope.label(SCOPE_LABEL), before.c[SCOPE_BEFORE])


def _given(statement: Insert | Update, column: str) -> BindParameter[Any] | None:
    """Return the parameter that a column is set to, None if it is set to another expression."""
    value = value_of(statement, column)
    return value if isinstance(value, BindParameter) else None


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


def _table_of(statement: UpdateBase) -> Table:
    if not isinstance(statement.table, Table):
        raise UnknownTables("a statement must change a table of the models")
    return statement.table


def _cascaded(table: Table, deletes: bool) -> dict[str, str | None]:
    """Return the tables whose rows change with rows of this table, at any depth.

    Each has the column of this table that is the scope of its rows. It is None, for the whole
    table, if there are several ways to the table, or if a row may get another scope.
    """
    found: dict[str, str | None] = {}
    ways = [(table, deletes)]
    for parent, is_deleted in ways:
        for child, key in _references(parent):
            action = str(key.ondelete if is_deleted else key.onupdate).upper()
            if action not in CASCADING:
                continue
            is_known = parent is table and is_deleted and action != "SET DEFAULT"
            scope = _referred(key, _scope_of(child)) if is_known else None
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
        if one.parent is scope and _is_equal_as_text(one.column.type):
            return one.column.name
    return None
