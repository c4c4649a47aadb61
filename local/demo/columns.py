"""Values of a table's columns, derived from their types: SQL with a row's number `n`.

Demo data uses them for columns that it does not know, tests for all columns. A column whose rows
need another value, such as one with a CHECK or one by which a list is filtered, has it in its
`info`: `Column(Text, info={ROW_VALUE: "'ABC'"})`.
"""

import string
from collections.abc import Collection
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, JSON, Column, Enum, Numeric, Table
from sqlalchemy.types import TypeEngine

from shared.database.models import ROW_VALUE

ROW_VALUE_HINT = "Give a column that needs another value its own: Column(…, info={ROW_VALUE: …})."
LETTERS = [string.ascii_lowercase, string.ascii_uppercase]
VALUES: dict[type, str] = {
    bool: "n % 6 = 5",
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
"""The value of each type in row n."""


def nth_key(example: str, number: int) -> str:
    """Return text key `number` of a table: the example is number 1.

    Its digits count up or, if it has none, its letters. Raises `ValueError` beyond the last one.
    """
    counted = [string.digits] if any(map(str.isdigit, example)) else LETTERS
    key, rest = list(example), number - 1
    for place in reversed(range(len(key))):
        for symbols in counted:
            if key[place] in symbols:
                rest, symbol = divmod(symbols.index(key[place]) + rest, len(symbols))
                key[place] = symbols[symbol]
    if rest:
        raise ValueError(f"{number} keys like {example} do not exist: give the Key another example")
    return "".join(key)


def needed_values(table: Table, known: Collection[str]) -> dict[str, str]:
    """Return values for the other columns that have no default and are not nullable.

    A foreign key gets the first id of the table that it refers to.
    """
    needed = [one for one in table.columns if is_given(one) and not one.nullable]
    return {column.name: _needed(column) for column in needed if column.name not in known}


def column_value(column: Column[Any]) -> str:
    """Return the column's value in row n: its own, or one of its type."""
    return column.info.get(ROW_VALUE) or value_of(column.type, column.name)


def is_given(column: Column[Any]) -> bool:
    """Whether an INSERT sets the column: the database generates no value, or not one for rows."""
    is_generated = column.identity is not None or column.server_default is not None
    return ROW_VALUE in column.info or not is_generated


def value_of(type_: TypeEngine[Any], name: str) -> str:
    """Return the value of a column in row n, unique if its type allows that."""
    if isinstance(type_, ARRAY):
        return f"ARRAY[{value_of(type_.item_type, name)}]"
    if isinstance(type_, Enum):
        return f"'{type_.enums[0]}'" + (f"::{type_.name}" if type_.native_enum else "")
    if isinstance(type_, JSON):
        return f"jsonb_build_object('row', '{name} ' || n)"
    if isinstance(type_, Numeric) and type_.precision is not None:
        return f"n % {10 ** (type_.precision - (type_.scale or 0))}"
    assert type_.python_type in VALUES, f"{name} has the type {type_!r}: {ROW_VALUE_HINT}"
    return VALUES[type_.python_type].format(name=name)


def _needed(column: Column[Any]) -> str:
    for key in column.foreign_keys:
        return f"(SELECT min({key.column.name}) FROM {key.column.table.name})"  # noqa: S608
    return column_value(column)
