"""Columns that the models no longer have, and that the next release drops."""

from typing import Any

from shared.database.models import METADATA, RETIRED


def is_compared(item: Any, name: str | None, kind: str, *_: object) -> bool:
    """Whether Alembic compares the object with the models (its `include_object`)."""
    return kind != "column" or name not in retired_columns(item.table.name)


def retired_columns(table: str) -> tuple[str, ...]:
    """Return the columns of a table that its model no longer has."""
    return METADATA.tables[table].info.get(RETIRED, ()) if table in METADATA.tables else ()
