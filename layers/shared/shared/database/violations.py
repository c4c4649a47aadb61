"""Violated constraints as errors for the client, derived from the models of the statement.

A foreign key of a written row that refers to no row is an `InvalidReference` of its columns, one
that prevents another row's deletion, or a change of its key, is `ResourceInUse`. A constraint or
unique index with `info={CONFLICT: "…"}` is an error with that text: `AlreadyTaken` for unique
values, else a `Conflict`, such as a check that is a rule of the resource. A key that clients send
is `AlreadyTaken` if another row has it. Any other violation is a bug.
"""

from collections.abc import Iterable
from itertools import chain

import psycopg
from sqlalchemy import (
    Constraint,
    Executable,
    ForeignKeyConstraint,
    Index,
    PrimaryKeyConstraint,
    UniqueConstraint,
)
from sqlalchemy.exc import DBAPIError

from shared.database.failures import violated_constraint
from shared.database.models import CONFLICT
from shared.database.statements import statement_tables, written_tables
from shared.errors import AlreadyTaken, ApiError, Conflict, InvalidReference, ResourceInUse

UNIQUE = (Index, PrimaryKeyConstraint, UniqueConstraint)


def client_error(violation: DBAPIError | psycopg.Error, *statements: Executable) -> ApiError | None:
    """Return the error of statements that violated a constraint; None if it is a bug."""
    table_name, name = violated_constraint(violation)
    models = {table.metadata for one in statements for table in statement_tables(one)}
    tables = [table for one in models for table in one.tables.values() if table.name == table_name]
    if not tables:
        return None
    table = tables[0]
    named: Iterable[Constraint | Index] = chain(table.constraints, table.indexes)
    for one in named:
        if one.name == name and CONFLICT in one.info:
            error = AlreadyTaken if isinstance(one, UNIQUE) else Conflict
            return error(one.info[CONFLICT])
        if one.name == name and isinstance(one, PrimaryKeyConstraint):
            return _taken(one)
        if one.name == name and isinstance(one, ForeignKeyConstraint):
            is_written = any(table in written_tables(each) for each in statements)
            return _unknown(one) if is_written else _in_use(one)
    return None


def _taken(key: PrimaryKeyConstraint) -> AlreadyTaken | None:
    """Return the error of a duplicate key, None unless the key is one column that clients send."""
    given = [one for one in key.columns if one.identity is None and one.server_default is None]
    if len(given) != 1 or len(key.columns) != 1:
        return None
    return AlreadyTaken(f"{given[0].name}: this value is already in use.")


def _in_use(key: ForeignKeyConstraint) -> ResourceInUse:
    return ResourceInUse(f"Rows of {key.table.name.replace('_', ' ')} refer to it.")


def _unknown(key: ForeignKeyConstraint) -> InvalidReference:
    columns, ending = key.column_keys, f"_{key.elements[0].column.name}"
    is_named = len(columns) == 1 and columns[0].endswith(ending)
    item = columns[0].removesuffix(ending) if is_named else "item"
    return InvalidReference(f"{', '.join(columns)}: there is no such {item}.", *columns)
