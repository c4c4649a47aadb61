"""Whether a statement reads or writes only the caller's own rows, derived from its conditions.

It is a guard against conditions that are missing, or limit nothing. Which rows are the caller's is
what the condition says: that a row refers to another's, say, is a rule of its own.
"""

from collections.abc import Sequence
from functools import lru_cache

from sqlalchemy import (
    BinaryExpression,
    BindParameter,
    ColumnClause,
    CompoundSelect,
    Delete,
    Executable,
    Exists,
    FromClause,
    FromGrouping,
    Insert,
    Join,
    Select,
    TextClause,
    Update,
)
from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.elements import BooleanClauseList, ClauseElement, Grouping

from shared.database.guards import sets_own
from shared.database.ownership import (
    EVERYTHING,
    SUBJECT,
    columns_in,
    conditions_on_caller,
    has_parameter,
)
from shared.database.statements import (
    KNOWN_STATEMENTS,
    places_in,
    set_by,
    upsert_of,
    value_of,
)
from shared.errors import Forbidden
from shared.observability import logger
from shared.request import Access

EQUALITIES = (operators.eq, operators.in_op)


def require_own_rows(access: Access, statement: Executable) -> None:
    """Raise `Forbidden` for a caller who may use only its own rows, unless the statement is limited
    to these."""
    if access.own_only and not is_limited(statement):
        raise not_limited(access)


def not_limited(access: Access) -> Forbidden:
    """Return the error of a statement that does not limit rows to the caller's: a bug, or a role
    that should have no such grant."""
    logger().warning("a statement has no condition on the caller", operation=access.operation)
    return forbidden(access)


def forbidden(access: Access) -> Forbidden:
    """Return the error of a row that is not the caller's own."""
    return Forbidden(access.permission, own_only=True)


@lru_cache(KNOWN_STATEMENTS)
def is_limited(statement: Executable) -> bool:
    """Whether a condition on the caller limits the rows that the statement reads or writes.

    It is part of a WHERE, or of an inner join, that every row must meet: `is_own`, an equality, IN,
    or an EXISTS that refers to the statement's tables. Alternatives and negations of these are no
    limit, nor is a caller that is only shown, sorted by or set; but the values of an INSERT are, as
    the new row is the caller's. Of SQL text, only the parameter is known.
    """
    changing = [one for one in visitors.iterate(statement) if isinstance(one, UpdateBase)]  # type: ignore[arg-type]
    if any(isinstance(one, Update | Delete) and not _is_limited(one) for one in changing):
        return False
    if any(one is not statement and sets_own(one, {}) for one in changing):
        return False
    inserts = [one for one in changing if isinstance(one, Insert)]
    if inserts:
        return any(map(_is_own_row, inserts)) and all(map(_keeps_others, inserts))
    return _is_limited(statement)


def _is_limited(part: object) -> bool:
    if isinstance(part, CompoundSelect):
        return all(map(_is_limited, part.selects))
    if isinstance(part, Join):
        is_inner = not (part.isouter or part.full)
        both = _is_limited(part.left) and _is_limited(part.right)
        return both or (is_inner and _limits(part.onclause, _tables(part)))
    if isinstance(part, Select):
        froms = part.get_final_froms()
        return _limits(part.whereclause, froms) or (bool(froms) and all(map(_is_limited, froms)))
    if isinstance(part, Update | Delete):
        return _limits(part.whereclause, [part.table])
    if isinstance(part, FromClause):  # a subquery, a CTE, or a join in parentheses
        return _is_limited(getattr(part, "element", None))
    return isinstance(part, TextClause) and has_parameter(part, SUBJECT.key)


def _limits(condition: object, froms: Sequence[object]) -> bool:
    """Whether all rows of the tables that meet the condition are the caller's.

    `froms` are the tables or, for an INSERT, the parameters of the new row.
    """
    if isinstance(condition, Grouping):
        return _limits(condition.element, froms)
    if isinstance(condition, BooleanClauseList):
        parts = [one for one in condition.clauses if not _is_everything(one)]
        is_any = condition.operator is operators.or_
        return bool(parts) and (all if is_any else any)(_limits(one, froms) for one in parts)
    if not (isinstance(condition, ClauseElement) and has_parameter(condition, SUBJECT.key)):
        return False
    is_equal = isinstance(condition, BinaryExpression) and condition.operator in EQUALITIES
    is_of_rows = (is_equal or isinstance(condition, Exists)) and _mentions(condition, froms)
    return is_of_rows or isinstance(condition, TextClause)


def _mentions(condition: ClauseElement, froms: Sequence[object]) -> bool:
    """Whether the condition has a column of the tables, or one of the parameters.

    Within the condition, a query that selects from such a table itself has other rows of it.
    """
    outer = [table for one in froms for table in _tables(one) if isinstance(table, FromClause)]
    inner = {id(source) for _, sources in places_in(condition, outer) for source in sources}
    tables = {id(table) for table in outer} - inner
    keys = {one.key for one in froms if isinstance(one, BindParameter)}
    return any(
        (isinstance(one, ColumnClause) and id(one.table) in tables)
        or (isinstance(one, BindParameter) and one.key in keys)
        for one in visitors.iterate(condition)
    )


def _is_everything(condition: ClauseElement) -> bool:
    """Whether this alternative is for callers who may use all rows."""
    names = {getattr(one, "key", None) for one in visitors.iterate(condition)}
    return EVERYTHING.key in names and SUBJECT.key not in names


def _tables(part: object) -> list[object]:
    if isinstance(part, Join):
        return [*_tables(part.left), *_tables(part.right)]
    return _tables(part.element) if isinstance(part, FromGrouping) else [part]


def _is_own_row(statement: Insert) -> bool:
    """Whether a value of the new row is the caller's, or its SELECT is limited."""
    selected = statement.select
    values = set_by(statement).values() if selected is None else selected.selected_columns
    given = [one for one in values if isinstance(one, ClauseElement)]
    if any(has_parameter(one, SUBJECT.key) for one in given):
        return True
    if not isinstance(selected, Select):
        return False
    return _is_limited(selected) or _limits(selected.whereclause, given)


def _keeps_others(statement: Insert) -> bool:
    """Whether ON CONFLICT changes no row of others, and gives them none.

    Its condition, or a key in conflict, is own, and no column of these is set to another value.
    """
    upsert = upsert_of(statement)
    if upsert is None:
        return True
    own = {name for name in upsert.target if _is_own_value(statement, name)}
    if not own and not _limits(upsert.where, [statement.table]):
        return False
    own |= columns_in(conditions_on_caller(upsert.where), statement.table)
    values = upsert.values.items()
    return own.isdisjoint(name for name, one in values if str(one) != f"excluded.{name}")


def _is_own_value(statement: Insert, column: str) -> bool:
    """Whether the value of a column is the caller's, or is in a condition on the caller."""
    value = value_of(statement, column)
    if not isinstance(value, BindParameter):
        return isinstance(value, ClauseElement) and has_parameter(value, SUBJECT.key)
    selected = statement.select
    own = conditions_on_caller(selected.whereclause) if isinstance(selected, Select) else ()
    return any(has_parameter(one, value.key) for one in own)
