"""Two columns that a trigger keeps equal, while releases with either name write the table."""

from collections.abc import Iterator
from typing import Any

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Connection, create_engine, text

from migrations.triggers import keep_equal, stop_keeping_equal


@pytest.fixture
def connection(empty_url: str) -> Iterator[Connection]:
    engine = create_engine(empty_url.replace("postgresql://", "postgresql+psycopg://", 1))
    with engine.connect() as made:
        yield made
        made.rollback()
    engine.dispose()


def renaming(connection: Connection, old: str, new: str) -> None:
    """Make a table with two rows and the columns `old` and `new`, and keep them equal."""
    connection.execute(text(f"CREATE TABLE made_labels (id int, old text {old})"))
    connection.execute(text("INSERT INTO made_labels VALUES (1, 'a'), (2, 'b')"))
    connection.execute(text(f"ALTER TABLE made_labels ADD new text {new}"))
    with Operations.context(MigrationContext.configure(connection)):
        keep_equal("made_labels", "old", "new")


def rows(connection: Connection) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in connection.execute(text("SELECT * FROM made_labels ORDER BY id"))]


NOT_NULL = "ALTER TABLE made_labels ALTER new SET NOT NULL"


@pytest.mark.parametrize(
    ("old", "unset"), [("", None), ("NOT NULL DEFAULT 'none'", "none"), ("DEFAULT 'none'", "none")]
)
def test_both_columns_have_the_value_that_either_release_writes(
    connection: Connection, old: str, unset: str | None
) -> None:
    renaming(connection, old, "")
    if "NOT NULL" in old:
        connection.execute(text(NOT_NULL))
    for statement in (
        "INSERT INTO made_labels (id, old) VALUES (3, 'by the former release')",
        "INSERT INTO made_labels (id, new) VALUES (4, 'by the new release')",
        "INSERT INTO made_labels (id) VALUES (5)",
        "UPDATE made_labels SET old = 'by the former release' WHERE id = 1",
        "UPDATE made_labels SET new = 'by the new release' WHERE id = 2",
    ):
        connection.execute(text(statement))
    former, new = "by the former release", "by the new release"
    values = [former, new, former, new, unset]
    assert rows(connection) == [(id_, one, one) for id_, one in enumerate(values, 1)]
    with Operations.context(MigrationContext.configure(connection)):
        stop_keeping_equal("made_labels", "new", "old")
    connection.execute(text("UPDATE made_labels SET old = 'a' WHERE id = 1"))
    assert rows(connection)[0] == (1, "a", former)


def test_a_new_column_with_a_default_is_rejected(connection: Connection) -> None:
    """As an INSERT of the former release would get the default in both columns."""
    with pytest.raises(ValueError, match=r"made_labels\.new has a default.* add it without one"):
        renaming(connection, "", "DEFAULT ''")
