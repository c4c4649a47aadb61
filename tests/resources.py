"""What there is to test, read from the folders and the models: nothing is listed by hand."""

from importlib import import_module
from pathlib import Path
from typing import Any

import psycopg
from fastapi.routing import APIRoute
from sqlalchemy import Column, Table

from local.demo.columns import is_given, value_of
from local.generate.http_semantics import restricting
from local.generate.resource_files import camel
from shared.database.dependencies import ROWS_OF
from shared.database.models import METADATA
from shared.http.route import CACHED, KIND, PERMISSION
from tests.example.models import EXAMPLE

ROOT = Path(__file__).parents[1]
FUNCTIONS = ROOT / "functions"

FUNCTION_NAMES = sorted(handler.parent.name for handler in FUNCTIONS.glob("*/handler.py"))
"""Every Lambda function."""
ROUTED = sorted(routes.parent.name for routes in FUNCTIONS.glob("*/routes.py"))
"""The functions with HTTP routes."""
RESOURCES = [name for name in ROUTED if name in METADATA.tables]
"""The functions that serve a table, which has their name."""
RESOURCE_TABLES: list[Table] = [METADATA.tables[name] for name in RESOURCES]


def function_of(name: str) -> str:
    """The name that the function has in the template."""
    return f"{camel(name)}Function"


def routes_of(function: str) -> list[APIRoute]:
    """The function's routes."""
    routes: list[APIRoute] = import_module(f"{function}.handler").app.routes
    return routes


_ROUTES = [route for resource in RESOURCES for route in routes_of(resource)]
PERMISSIONS: dict[str, str] = {one.name: (one.openapi_extra or {})[PERMISSION] for one in _ROUTES}
"""The permission of each operation on a resource."""
KINDS: dict[str, str] = {one.name: (one.openapi_extra or {}).get(KIND, "") for one in _ROUTES}
"""The kind of each operation on a resource; empty for a plain route."""
CACHED_LISTS = [one.name for one in _ROUTES if (one.openapi_extra or {}).get(CACHED)]
READS = [name for name, permission in PERMISSIONS.items() if permission.endswith(":read")]

# Deleted from the last to the first: a row that is deleted after its count makes it negative.
_TABLES = sorted(
    [*METADATA.sorted_tables, *EXAMPLE.sorted_tables], key=lambda table: ROWS_OF not in table.info
)
_NAMES = [table.name for table in _TABLES]
_MANY = " OR ".join(f"EXISTS (SELECT FROM {name} OFFSET 1000)" for name in _NAMES)
_DELETE = "; ".join(f"DELETE FROM {name}" for name in reversed(_NAMES))
_RESTART = "; ".join(
    f"PERFORM setval(pg_get_serial_sequence('{table.name}', '{column.name}'), 1, false)"
    for table in _TABLES
    for column in table.columns
    if column.identity
)
EMPTY = f"""
DO $$ BEGIN IF {_MANY} THEN TRUNCATE {", ".join(_NAMES)}; ELSE {_DELETE}; END IF; {_RESTART};
END $$
"""
"""The statement that empties the database. TRUNCATE takes five times as long as it takes to delete
the rows of a test."""


def insert_rows(database: psycopg.Connection[Any], first: int, last: int) -> None:
    """Insert rows number `first` to `last` into the table of every resource, past the cache.

    In an empty database the number is the row's id. A text is its column's name with the number.
    Every other row belongs to row 1 of what it refers to, the rest to the row of their own number.
    A link table links these with the second row of that number: 1 with 1 and 2, 3 with 3.
    """
    for table in METADATA.sorted_tables:
        if table.name in RESOURCES or is_link(table):
            insert_rows_of(database, table, first, last)


def insert_rows_of(database: psycopg.Connection[Any], table: Table, first: int, last: int) -> None:
    """Insert these rows into one table."""
    columns, values = zip(*values_of(table).items(), strict=True)
    statement = (
        f"INSERT INTO {table.name} ({', '.join(columns)})"
        f" SELECT {', '.join(values)} FROM generate_series({first}, {last}) n"
    )
    database.execute(statement.encode())


def delete_referring(database: psycopg.Connection[Any], table: str) -> None:
    """Delete the rows that would stop the deletion of a row of this table."""
    for child in restricting(METADATA.tables[table]):
        delete_referring(database, child.name)
        database.execute(f"DELETE FROM {child.name}".encode())


def is_link(table: Table) -> bool:
    """Whether its key is the ids of rows of other tables."""
    return all(column.foreign_keys for column in table.primary_key)


def values_of(table: Table) -> dict[str, str]:
    """The columns that an INSERT gives, each with its value in row n, in SQL."""
    return {column.name: _value(column) for column in table.columns if is_given(column)}


def _value(column: Column[Any]) -> str:
    """The column's value in row n; of those that may be null, every third is."""
    if column.foreign_keys and column is [*column.table.primary_key][-1]:
        return "n"
    if column.foreign_keys:
        return "CASE WHEN n % 2 = 0 THEN 1 ELSE n END"
    value = value_of(column.type, column.name)
    return f"CASE WHEN n % 3 > 0 THEN {value} END" if column.nullable else value
