"""The comparison of the database with the models: what Alembic leaves out of its own.

It is columns that the models no longer have, and that the next release drops, and expressions of
indexes, which PostgreSQL prints in other words: `local.generate.catalog` compares these.
"""

from typing import Any

from sqlalchemy import Column

from shared.database.models import METADATA, RETIRED


def is_compared(
    item: Any, name: str | None, kind: str, _is_reflected: bool, compared_with: object
) -> bool:
    """Whether Alembic compares the object with the models (its `include_object`)."""
    if kind == "index" and compared_with is not None:
        return all(isinstance(one, Column) for one in item.expressions)
    return kind != "column" or name not in retired_columns(item.table.name)


def retired_columns(table: str) -> tuple[str, ...]:
    """Return the columns of a table that its model no longer has."""
    return METADATA.tables[table].info.get(RETIRED, ()) if table in METADATA.tables else ()
