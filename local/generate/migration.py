"""A migration to the models: `python -m local.generate.migration "more tickets"`.

Alembic's autogenerate compares the models with an ephemeral database at the latest revision; CHECK
constraints, which it ignores, are compared by their names. A new
table with an id and created_at gets the triggers of a resource's table; the counts and stored
responses of a dropped table are deleted. Without a difference no file is written. If a column is
dropped, and another one of its type is added, a warning is printed: Alembic does not detect a
renaming, and the values would be lost. Read the file before you commit it.
"""

import sys
import tempfile
from collections.abc import Iterable, Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.operations.ops import (
    AddColumnOp,
    CreateCheckConstraintOp,
    CreateTableOp,
    DropColumnOp,
    DropConstraintOp,
    DropTableOp,
    ExecuteSQLOp,
    MigrateOperation,
    MigrationScript,
    ModifyTableOps,
    OpContainer,
)
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import CheckConstraint, Column, Enum, create_engine, inspect, make_url
from sqlalchemy.dialects.postgresql.base import PGDialect

from local.services import running_services
from migrations.handler import alembic_config

QUOTES = PGDialect().identifier_preparer  # type: ignore[no-untyped-call]


def main() -> None:
    message = " ".join(sys.argv[1:]).strip()
    if not message:
        sys.exit("say what the migration does: make migration MESSAGE='Comments of tickets'")
    with (
        tempfile.TemporaryDirectory() as folder,
        running_services(Path(folder), ephemeral=True) as services,
    ):
        url = make_url(services.database_url).set(drivername="postgresql+psycopg")
        engine = create_engine(url)
        with engine.connect() as connection:
            config = alembic_config(connection)
            command.upgrade(config, "head")
            is_written = write_migration(config, message)
        engine.dispose()
    if not is_written:
        print("the models are equal to the migrated database: nothing to write")


def write_migration(config: Config, message: str, folder: Path | None = None) -> bool:
    """Write the migration from the config's database, at the head, to the models.

    Return whether there was a difference.
    """
    head = ScriptDirectory.from_config(config).get_current_head()
    assert head is not None
    written = command.revision(
        config,
        message,
        autogenerate=True,
        rev_id=f"{int(head) + 1:04}",
        version_path=None if folder is None else str(folder),
        process_revision_directives=_complete,
    )
    return bool(written)


def _complete(context: MigrationContext, _revision: object, scripts: list[Any]) -> None:
    """Drop a script without operations; add CHECKs and enumerations; warn about renamings."""
    script: MigrationScript = scripts[0]
    assert script.upgrade_ops is not None
    assert script.downgrade_ops is not None
    for change, reverse in _changed_checks(context):
        script.upgrade_ops.ops.append(change)
        script.downgrade_ops.ops.insert(0, reverse)
    if script.upgrade_ops.is_empty():
        scripts.clear()
        return
    for line in renamed(script.upgrade_ops):
        print(line, file=sys.stderr)
    _add_types(script.upgrade_ops, script.downgrade_ops)
    _add_types(script.downgrade_ops, script.upgrade_ops)
    _order_tables(script.upgrade_ops, script.downgrade_ops)


def _changed_checks(context: MigrationContext) -> Iterator[tuple[MigrateOperation, ...]]:
    """Yield what creates or drops each CHECK constraint of a table that exists, and its reverse."""
    assert context.connection is not None
    inspector = inspect(context.connection)
    for table in context.opts["target_metadata"].sorted_tables:
        if not inspector.has_table(table.name):
            continue
        checks = inspector.get_check_constraints(table.name)
        found = {str(one["name"]): one["sqltext"] for one in checks}
        declared = {
            str(one.name): str(one.sqltext)
            for one in table.constraints
            if isinstance(one, CheckConstraint) and one.name
        }
        for name in sorted(found.keys() ^ declared.keys()):
            text = declared.get(name) or found[name]
            create = CreateCheckConstraintOp(name, table.name, text)
            drop = DropConstraintOp(name, table.name, type_="check", _reverse=create)
            yield (create, drop) if name in declared else (drop, create)


def _order_tables(upgrade: OpContainer, downgrade: OpContainer) -> None:
    """Drop tables after the tables that refer to them, and create them again before."""
    referred = {
        one.table_name: {key.target_fullname.split(".")[0] for key in one.to_table().foreign_keys}
        for one in upgrade.ops
        if isinstance(one, DropTableOp)
    }
    order = [name for name in TopologicalSorter(referred).static_order() if name in referred]

    def place(one: object) -> int:
        if isinstance(one, CreateTableOp | DropTableOp) and one.table_name in order:
            return order.index(one.table_name)
        return len(order)

    upgrade.ops.sort(key=place, reverse=True)
    downgrade.ops.sort(key=place)


def renamed(upgrade: OpContainer) -> Iterator[str]:
    """Yield a warning for each dropped column that may have been renamed."""
    dropped = [one for one in _operations(upgrade) if isinstance(one, DropColumnOp)]
    added = [one for one in _operations(upgrade) if isinstance(one, AddColumnOp)]
    for old in dropped:
        for new in added:
            old_type = old.to_column().type
            if new.table_name == old.table_name and str(new.column.type) == str(old_type):
                yield (
                    f"WARNING: {old.table_name}.{old.column_name} is dropped, with its values, and "
                    f"{new.column.name} is added. If it was renamed, write instead: "
                    f'op.alter_column("{old.table_name}", "{old.column_name}", '
                    f'new_column_name="{new.column.name}")'
                )


def _add_types(ops: OpContainer, reverse: OpContainer) -> None:
    """Create the types of enumerations that `ops` add, and drop them in `reverse`.

    Alembic creates the types of a new table only, and drops none.
    """
    of_columns = _enums(one.column for one in _operations(ops) if isinstance(one, AddColumnOp))
    of_tables = _enums(
        column
        for one in _operations(ops)
        if isinstance(one, CreateTableOp)
        for column in one.columns
        if isinstance(column, Column)
    )
    ops.ops[:0] = map(ExecuteSQLOp, of_columns.values())
    reverse.ops += [ExecuteSQLOp(f"DROP TYPE {name}") for name in of_columns | of_tables]


def _enums(columns: Iterable[Column[Any]]) -> dict[str, str]:
    """Return the statements that create the types of columns, by the types' names in SQL."""
    types = (column.type for column in columns)
    return {
        QUOTES.quote(str(one.name)): f"CREATE TYPE {QUOTES.quote(str(one.name))} AS ENUM"
        f" ({', '.join(map(_literal, one.enums))})"
        for one in types
        if isinstance(one, Enum) and one.native_enum
    }


def _literal(value: str) -> str:
    """Return a text in SQL, in which SQLAlchemy takes a colon for the beginning of a parameter."""
    return "'" + value.replace("'", "''").replace(":", r"\:") + "'"


def _operations(container: OpContainer) -> Iterator[object]:
    for one in container.ops:
        if isinstance(one, ModifyTableOps):
            yield from _operations(one)
        else:
            yield one


if __name__ == "__main__":
    main()
