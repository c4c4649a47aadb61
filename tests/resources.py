"""The resources to test, derived from the folders and the models."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from fastapi.routing import APIRoute
from sqlalchemy import Column, ForeignKey, Table, UniqueConstraint

from local.demo.columns import ROW_VALUE_HINT, column_value, is_given, nth_key
from local.generate.http_semantics import errors_of_constraints, restricting
from local.generate.resource_files import camel
from local.generate.sample_events import sample_events
from shared.database.dependencies import DERIVED_FROM, ROWS_OF, UNTRACKED
from shared.database.models import METADATA, ROW_VALUE, identities
from shared.errors import AlreadyTaken, RequestInProgress, ResourceDeleted, ResourceInUse
from shared.http.fields import Key
from shared.http.problems import ERRORS
from shared.http.resource import Resource
from shared.http.route import CACHED, KIND, PERMISSION
from tests.example.models import EXAMPLE

ROOT = Path(__file__).parents[1]
FUNCTIONS = ROOT / "functions"

KNOWN_CONFLICTS = {
    error.__name__ for error in (AlreadyTaken, RequestInProgress, ResourceDeleted, ResourceInUse)
}
MAX_ROWS = 99
"""Of tables whose keys are texts."""

FUNCTION_NAMES = sorted(handler.parent.name for handler in FUNCTIONS.glob("*/handler.py"))
"""Every Lambda function."""
ROUTED = sorted(routes.parent.name for routes in FUNCTIONS.glob("*/routes.py"))
"""The functions with HTTP routes."""
RESOURCES = [name for name in ROUTED if name in METADATA.tables]
"""The functions that serve a table, which has their name."""
PLAIN = set(ROUTED) - {*RESOURCES, "meta"}
"""The other functions with HTTP routes, such as one of webhooks."""
RESOURCE_TABLES: list[Table] = [METADATA.tables[name] for name in RESOURCES]
OWNERS = next((key.column.table.name for key in identities.foreign_keys), None)
"""The table of callers' own rows, if there is one."""
SEEDED = [
    table
    for table in METADATA.sorted_tables
    if table.name in RESOURCES
    or (
        table is not identities and table.info.keys().isdisjoint({ROWS_OF, DERIVED_FROM, UNTRACKED})
    )
]
"""The tables of which `insert_rows` inserts rows: neither the callers', nor those of which triggers
write all rows. Of a resource's table, a trigger may keep a column."""


def letters(name: str) -> str:
    """A name as it is, but for what distinguishes `writer_id` from its alias `writerId`."""
    return name.replace("_", "").lower()


def function_of(name: str) -> str:
    """The name that the function has in the template."""
    return f"{camel(name)}Function"


def routes_of(function: str) -> list[APIRoute]:
    """The function's routes."""
    routes: list[APIRoute] = import_module(f"{function}.handler").app.routes
    return routes


def _errors_of(route: APIRoute, status: int) -> set[str]:
    """The names of the route's own errors with this status."""
    return set(route.responses.get(status, {}).get(ERRORS, ()))


def _errors_of_constraints(route: APIRoute, table: Table) -> set[str]:
    kind = (route.openapi_extra or {}).get(KIND, "")
    return {error.__name__ for error in errors_of_constraints(kind, table)}


_ROUTES = [route for resource in RESOURCES for route in routes_of(resource)]
RESOURCE_OF: dict[str, Resource] = {
    name: one
    for name in RESOURCES
    for one in vars(import_module(f"{name}.routes")).values()
    if isinstance(one, Resource)
}
ITEM_PATHS = {name: f"/{name}/{{{one.item}_{one.key}}}" for name, one in RESOURCE_OF.items()}
"""The path of each resource's items, as the OpenAPI document has it."""
KEY_PARAMETERS = {
    f"{one.item}_{one.key}": METADATA.tables[name] for name, one in RESOURCE_OF.items()
}
"""The tables of whose rows a parameter of a path or query is the key, by its name."""
PERMISSIONS: dict[str, str] = {one.name: (one.openapi_extra or {})[PERMISSION] for one in _ROUTES}
"""The permission of each operation on a resource."""
KINDS: dict[str, str] = {one.name: (one.openapi_extra or {}).get(KIND, "") for one in _ROUTES}
"""The kind of each operation on a resource; empty for a plain route."""
CONFLICTS = {
    one.name: _errors_of(one, 409) | _errors_of_constraints(one, METADATA.tables[name])
    for name in RESOURCES
    for one in routes_of(name)
}
"""The names of the errors with the status 409 of each operation on a resource."""
RULED = {name for name, errors in CONFLICTS.items() if errors - KNOWN_CONFLICTS}
"""The operations with a rule that only their resource knows: its tests provoke its 409."""
SIGNED = {route.name for name in PLAIN for route in routes_of(name) if _errors_of(route, 401)}
"""The operations without a permission that know their callers by something else than a token, such
as a signature; only the tests of their function send what they accept."""
CACHED_LISTS = [one.name for one in _ROUTES if (one.openapi_extra or {}).get(CACHED)]
READS = [name for name, permission in PERMISSIONS.items() if permission.endswith(":read")]
SENT = {
    resource: {
        letters(field)
        for name, event in sample_events().items()
        if name.startswith(f"{resource}-") and "body" in event
        for field in json.loads(event["body"])
    }
    for resource in RESOURCES
}
"""The `letters` of the fields of each resource that clients send."""

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
    """Insert rows number `first` to `last` into every table, past the cache.

    In an empty database the number is the row's id; `key_of` has its key of another type. A text is
    its column's name with the number. What may be null is null in every third row, and where no
    client sends it, as after a create, in all of them.
    Every other row belongs to row 1 of what it refers to, the rest to the row of their own number.
    A link table links these with the second row of that number: 1 with 1 and 2, 3 with 3. Of
    references that are unique together, the last is the other way round: 1 with 1 and 2, 3 with 1.
    Of rows that may belong to one of their own table, the rest belong to none.
    """
    for table in SEEDED:
        insert_rows_of(database, table, first, last)


def insert_unreferred(database: psycopg.Connection[Any], number: int) -> None:
    """Insert this row of each table to whose rows at most one row of a resource may refer.

    Rows 1 to `number` - 1 of all tables exist; so only to this row another can refer.
    """
    referred = {
        key.column.table
        for table in RESOURCE_TABLES
        for column in table.columns
        if is_one_to_one(column) and letters(column.name) in SENT[table.name]
        for key in column.foreign_keys
    }
    for table in SEEDED:
        if table in referred:
            insert_rows_of(database, table, number, number)


def insert_rows_for(database: psycopg.Connection[Any], operation: str) -> None:
    """Insert row 1 of every resource, for an operation's sample event.

    But none that a create makes itself, where clients give the key, or that stops a deletion.
    """
    insert_rows(database, 1, 1)
    if (kind := KINDS.get(operation)) in ("create", "delete"):
        resource = PERMISSIONS[operation].partition(":")[0]
        delete_referring(database, resource)
        if kind == "create" and not _own_keys(METADATA.tables[resource]):
            database.execute(f"DELETE FROM {resource}".encode())


def is_done(operation: str, status: int) -> bool:
    """Whether the status is a success; or the rule of a change that no row of `insert_rows` meets,
    so that the tests of its resource must have one that does; or a signature's that is missing."""
    is_rule = status == 409 and operation in RULED and KINDS[operation] != "create"
    return is_rule or 200 <= status < 300 or (status == 401 and operation in SIGNED)


def insert_rows_of(database: psycopg.Connection[Any], table: Table, first: int, last: int) -> None:
    """Insert these rows into one table."""
    columns, values = zip(*values_of(table).items(), strict=True)
    statement = (
        f"INSERT INTO {table.name} ({', '.join(columns)})"
        f" SELECT {', '.join(values)} FROM generate_series({first}, {last}) n"
    )
    try:
        database.execute(statement.encode())
    except psycopg.IntegrityError as error:
        error.add_note(f"{table.name} takes no row n: {statement}\n{ROW_VALUE_HINT}")
        raise


def delete_referring(database: psycopg.Connection[Any], table: str) -> None:
    """Delete the rows that would stop the deletion of a row of this table.

    Its own rows stay, and refer to none or to themselves.
    """
    for child in restricting(METADATA.tables[table]):
        if child.name == table:
            for own in _own_keys(child):
                value = "NULL" if own.parent.nullable else own.column.name
                reference = f"{own.parent.name} = {value}"
                database.execute(f"UPDATE {table} SET {reference}".encode())
            continue
        delete_referring(database, child.name)
        database.execute(f"DELETE FROM {child.name}".encode())


def _own_keys(table: Table) -> list[ForeignKey]:
    """The foreign keys by which rows of a table refer to others of it."""
    return [key for key in table.foreign_keys if key.column.table is table]


def key_of(table: Table, number: int) -> int | str:
    """The key of that row, as it is in JSON and in a path."""
    (column,) = table.primary_key.columns
    if column.type.python_type is str:
        return nth_key(_example_key(table), number)
    return number if column.type.python_type is int else str(UUID(int=number))


def _example_key(table: Table) -> str:
    """The example of the keys that clients give to the resource's items; one of no resource."""
    if (resource := RESOURCE_OF.get(table.name)) is None:
        return f"{table.name}-01"
    metadata = resource.schema.model_fields[resource.key].metadata
    [key] = [one for one in metadata if isinstance(one, Key)]
    return key.example


def column_of(table: Table, name: str) -> Column[Any] | None:
    """The column of a field or parameter, None if there is none."""
    return next((one for one in table.columns if letters(one.name) == letters(name)), None)


def key_for(parameter: str, number: int) -> int | str:
    """The key of that row as the value of a parameter; the number, if it is no resource's key."""
    table = KEY_PARAMETERS.get(parameter)
    return number if table is None else key_of(table, number)


def is_link(table: Table) -> bool:
    """Whether its key is the ids of rows of other tables."""
    return all(column.foreign_keys for column in table.primary_key)


def linked(table: Table) -> set[Table]:
    """The tables whose rows a link table links."""
    return {key.column.table for column in table.primary_key for key in column.foreign_keys}


def values_of(table: Table) -> dict[str, str]:
    """The columns that an INSERT gives, each with its value in row n, in SQL."""
    return {
        column.name: _value(column)
        for column in table.columns
        if is_given(column) or (column.primary_key and column.identity is None)
    }


def _value(column: Column[Any]) -> str:
    """The column's value in row n; a nullable column that clients send is null in every third."""
    if ROW_VALUE in column.info:
        return column_value(column)
    for key in column.foreign_keys:
        return _key(key.column.table, _referred(column, key))
    if column.primary_key:
        return _key(column.table, "n")
    value = column_value(column)
    if not column.nullable:
        return value
    is_sent = letters(column.name) in SENT.get(column.table.name, ())
    return f"CASE WHEN n % 3 > 0 THEN {value} END" if is_sent else "NULL"


def _referred(column: Column[Any], key: ForeignKey) -> str:
    """The number of the row to which row n refers, in SQL."""
    if is_one_to_one(column) or column is [*column.table.primary_key][-1]:
        return "n"
    if key.column.table is column.table and column.nullable:
        return "CASE WHEN n % 2 = 0 THEN 1 END"
    if is_last_of_pair(column):
        return "CASE WHEN n % 2 = 0 THEN n ELSE 1 END"
    return "CASE WHEN n % 2 = 0 THEN 1 ELSE n END"


def unique_references(table: Table) -> list[list[Column[Any]]]:
    """The references that are unique, alone or together, such as a review of a user and a book."""
    keys = [[*one.columns] for one in table.constraints if isinstance(one, UniqueConstraint)]
    keys += [[*one.columns] for one in table.indexes if one.unique]
    return [key for key in keys if key and all(column.foreign_keys for column in key)]


def is_one_to_one(column: Column[Any]) -> bool:
    """Whether the column alone is a reference that is unique, such as a profile's of a user."""
    return any(len(key) == 1 and column is key[0] for key in unique_references(column.table))


def is_last_of_pair(column: Column[Any]) -> bool:
    """Whether it is the last of several references that are unique together."""
    keys = unique_references(column.table)
    return any(column is key[-1] for key in keys if len(key) > 1)


def _key(table: Table, number: str) -> str:
    """The key of the row of that number, in SQL."""
    (column,) = table.primary_key.columns
    if column.type.python_type is int:
        return number
    if column.type.python_type is UUID:
        return f"lpad(to_hex({number}), 32, '0')::uuid"
    keys = ", ".join(f"'{key_of(table, n)}'" for n in range(1, MAX_ROWS + 1))
    return f"(ARRAY[{keys}])[{number}]"
