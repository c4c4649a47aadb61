"""What there is to test, read from the folders and the models: nothing is listed by hand."""

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from fastapi.routing import APIRoute
from sqlalchemy import ARRAY, JSON, Column, Enum, Table
from sqlalchemy.types import TypeEngine

from shared.database.models import METADATA
from shared.http.route import PERMISSION

ROOT = Path(__file__).parents[1]
FUNCTIONS = ROOT / "functions"

FUNCTION_NAMES = sorted(handler.parent.name for handler in FUNCTIONS.glob("*/handler.py"))
"""Every Lambda function."""
ROUTED = sorted(routes.parent.name for routes in FUNCTIONS.glob("*/routes.py"))
"""The functions with HTTP routes."""
RESOURCES = [name for name in ROUTED if name in METADATA.tables]
"""The functions that serve a table, which has their name."""
RESOURCE_TABLES: list[Table] = [METADATA.tables[name] for name in RESOURCES]


def routes_of(function: str) -> list[APIRoute]:
    """The function's routes."""
    routes: list[APIRoute] = import_module(f"{function}.handler").app.routes
    return routes


PERMISSIONS: dict[str, str] = {
    route.name: (route.openapi_extra or {})[PERMISSION]
    for resource in RESOURCES
    for route in routes_of(resource)
}
"""The permission of each operation on a resource."""
READS = [name for name, permission in PERMISSIONS.items() if permission.endswith(":read")]

_TABLES = [table.name for table in METADATA.sorted_tables]
_MANY = " OR ".join(f"EXISTS (SELECT FROM {name} OFFSET 1000)" for name in _TABLES)
_DELETE = "; ".join(f"DELETE FROM {name}" for name in reversed(_TABLES))
_RESTART = "; ".join(
    f"PERFORM setval(pg_get_serial_sequence('{table.name}', '{column.name}'), 1, false)"
    for table in METADATA.sorted_tables
    for column in table.columns
    if column.identity
)
EMPTY = f"""
DO $$ BEGIN IF {_MANY} THEN TRUNCATE {", ".join(_TABLES)}; ELSE {_DELETE}; END IF; {_RESTART};
END $$
"""
"""The statement that empties the database. TRUNCATE takes five times as long as it takes to delete
the rows of a test."""


def insert_rows(database: psycopg.Connection[Any], first: int, last: int) -> None:
    """Insert rows number `first` to `last` into the table of every resource, past the cache.

    In an empty database the number is the row's id. A text is its column's name with the number.
    Every other row belongs to row 1 of what it refers to, the rest to the row of their own number.
    """
    for table in METADATA.sorted_tables:
        if table.name in RESOURCES:
            columns, values = zip(*values_of(table).items(), strict=True)
            statement = (
                f"INSERT INTO {table.name} ({', '.join(columns)})"
                f" SELECT {', '.join(values)} FROM generate_series(%s::int, %s) n"
            )
            database.execute(statement.encode(), [first, last])


def values_of(table: Table) -> dict[str, str]:
    """The columns that an INSERT gives, each with its value in row n, in SQL."""
    return {column.name: _value(column) for column in table.columns if _is_given(column)}


def _is_given(column: Column[Any]) -> bool:
    return column.identity is None and column.server_default is None


def _value(column: Column[Any]) -> str:
    """The column's value in row n, in SQL; of those that may be null, every third is."""
    if column.foreign_keys:
        return "CASE WHEN n %% 2 = 0 THEN 1 ELSE n END"
    value = _typed(column.type, column.name)
    return f"CASE WHEN n %% 3 > 0 THEN {value} END" if column.nullable else value


def _typed(type_: TypeEngine[Any], name: str) -> str:
    if isinstance(type_, ARRAY):
        return f"ARRAY[{_typed(type_.item_type, name)}]"
    if isinstance(type_, Enum):
        return f"'{type_.enums[0]}'" + (f"::{type_.name}" if type_.native_enum else "")
    if isinstance(type_, JSON):
        return f"jsonb_build_object('row', '{name} ' || n)"
    assert type_.python_type in VALUES, (
        f"{name}: say in VALUES which value a {type_!r} has in row n"
    )
    return VALUES[type_.python_type].format(name=name)


VALUES: dict[type, str] = {
    bool: "n %% 2 = 0",
    bytes: "convert_to('{name} ' || n, 'UTF8')",
    date: "date '2020-01-01' + n",
    datetime: "timestamptz '2020-01-01' + n * interval '1 hour'",
    Decimal: "n",
    float: "n",
    int: "n",
    str: "'{name} ' || n",
    time: "time '00:00' + n * interval '1 minute'",
    timedelta: "n * interval '1 minute'",
    UUID: "lpad(to_hex(n), 32, '0')::uuid",
}
"""The value of each type in row n, in SQL."""
