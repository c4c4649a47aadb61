"""The version of a row, and the conditions on it under which it may be written.

A version is `xmin`, the transaction that wrote the row: PostgreSQL keeps it, each change of the row
changes it, and nothing else does: neither VACUUM nor rows that refer to it. The condition is in the
statement that writes, so of writers at the same time that know the same version one succeeds: the
others' statements look at the row again when the first has committed.
"""

from sqlalchemy import (
    ColumnElement,
    Table,
    Text,
    bindparam,
    func,
    literal,
    literal_column,
    or_,
)
from sqlalchemy.sql.elements import Label

from shared.conditions import Conditions

ALLOWED = bindparam("allowed_versions", type_=Text)
VERSION = "this_version"
"""The label of a version: no field of a resource, which may have a `version` of its own."""


def version(table: Table) -> Label[str]:
    """Return the row's version, as the column `this_version`."""
    return _xmin(table).label(VERSION)


def meets_conditions(table: Table) -> ColumnElement[bool]:
    """Whether the row's version is one that the request may write."""
    listed = literal(" ", Text) + _xmin(table) + literal(" ", Text)
    return or_(ALLOWED.is_(None), func.strpos(ALLOWED, listed) > 0)


def condition_values(conditions: Conditions) -> dict[str, object]:
    return {ALLOWED.key: conditions.allowed_versions}


def _xmin(table: Table) -> ColumnElement[str]:
    return literal_column(f"{table.name}.xmin::text", Text)
