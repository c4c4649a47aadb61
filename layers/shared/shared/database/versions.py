"""The version of a row, and the condition that If-Match allows it.

The version is `xmin`, the transaction that wrote the row: PostgreSQL maintains it, and only changes
of the row change it, neither VACUUM nor rows that refer to it. The condition is part of the
statement that writes, so one of several concurrent writers with the same If-Match succeeds: the
others' statements check the row again when the first has committed.
"""

from sqlalchemy import (
    ColumnElement,
    Table,
    Text,
    bindparam,
    func,
    literal_column,
    or_,
)
from sqlalchemy.sql.elements import Label

from shared.conditions import Conditions

ALLOWED = bindparam("_allowed_versions", type_=Text)
VERSION = "_version"
"""The label of a version. Labels and parameters of the layer begin with an underscore, as the name
of no field can: the columns that a statement sets name parameters too."""


def version(table: Table) -> Label[str]:
    """Return the row's version, as the column `_version`."""
    return literal_column(f"{table.name}.xmin::text", Text).label(VERSION)


def meets_conditions(table: Table) -> ColumnElement[bool]:
    """Return the condition that the request may write the row's version."""
    listed = literal_column(f"' ' || {table.name}.xmin::text || ' '", Text)
    return or_(ALLOWED.is_(None), func.strpos(ALLOWED, listed) > literal_column("0"))


def condition_values(conditions: Conditions) -> dict[str, object]:
    return {ALLOWED.key: conditions.allowed_versions}
