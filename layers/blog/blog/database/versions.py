"""The version of a row, and the conditions on it under which it may be written.

A version is `xmin`, the transaction that wrote the row: PostgreSQL keeps it, each change of the row
changes it, and nothing else does: neither VACUUM nor rows that refer to it. The condition is in the
statement that writes, so of writers at the same time that know the same version one succeeds: the
others' statements look at the row again when the first has committed.
"""

from functools import lru_cache

from sqlalchemy import (
    ColumnElement,
    Executable,
    Table,
    Text,
    and_,
    bindparam,
    func,
    literal,
    literal_column,
    or_,
)
from sqlalchemy.sql import visitors
from sqlalchemy.sql.elements import Label

from blog.conditions import Conditions
from blog.database.dependencies import KNOWN_STATEMENTS

ALLOWED = bindparam("allowed_versions", type_=Text)
EXCLUDED = bindparam("excluded_versions", type_=Text)


def version(table: Table) -> Label[str]:
    """Return the column `version` of a row."""
    return _xmin(table).label("version")


def meets_conditions(table: Table) -> ColumnElement[bool]:
    """Whether the row's version is one that the request may write."""
    listed = literal(" ", Text) + _xmin(table) + literal(" ", Text)
    is_allowed = or_(ALLOWED.is_(None), func.strpos(ALLOWED, listed) > 0)
    return and_(is_allowed, func.strpos(EXCLUDED, listed) == 0)


def condition_values(conditions: Conditions) -> dict[str, str | None]:
    return {
        ALLOWED.key: conditions.allowed_versions,
        EXCLUDED.key: conditions.excluded_versions,
    }


@lru_cache(KNOWN_STATEMENTS)
def checks_conditions(statement: Executable) -> bool:
    """Whether a statement has `meets_conditions`."""
    return any(element is ALLOWED for element in visitors.iterate(statement))  # type: ignore[arg-type]


def _xmin(table: Table) -> ColumnElement[str]:
    return literal_column(f"{table.name}.xmin::text", Text)
