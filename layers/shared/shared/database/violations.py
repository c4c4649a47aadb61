"""Violated constraints as errors for the client, derived from the models of the statement.

A foreign key that refers to no row is an `InvalidReference` of its column, one that prevents a
deletion is `ResourceInUse`. A constraint or unique index with `info={CONFLICT: "…"}` is an error
with that text: `AlreadyTaken` for unique values, else a `Conflict`, such as a check that is a rule
of the resource. A key that clients send is `AlreadyTaken` if another row has it. Any other
violation is a bug.
"""

from collections.abc import Iterable
from itertools import chain

from sqlalchemy import (
    Constraint,
    Delete,
    Executable,
    ForeignKeyConstraint,
    Index,
    PrimaryKeyConstraint,
    UniqueConstraint,
)
from sqlalchemy.exc import IntegrityError

from shared.database.dependencies import statement_tables
from shared.database.failures import violated_constraint
from shared.database.models import CONFLICT
from shared.errors import AlreadyTaken, ApiError, Conflict, InvalidReference, ResourceInUse

UNIQUE = (Index, PrimaryKeyConstraint, UniqueConstraint)


def client_error(violation: IntegrityError, statement: Executable) -> ApiError | None:
    """Return the error of a statement that violated a constraint; None if it is a bug."""
    table_name, name = violated_constraint(violation)
    models = {one.metadata for one in statement_tables(statement)}
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
            return _in_use(one) if isinstance(statement, Delete) else _unknown(one)
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
    column, referred = key.column_keys[0], key.elements[0].column.name
    return InvalidReference(f"{column}: there is no such {column.removesuffix(f'_{referred}')}.")
