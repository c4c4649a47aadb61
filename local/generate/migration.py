"""A migration to the models: `python -m local.generate.migration "more tickets"`.

Alembic's autogenerate compares the models with an ephemeral database at the latest revision. Its
operations are tried there, and what they leave different (`local.generate.catalog`), such as
defaults, CHECK constraints and options of indexes, is added as SQL, or printed as a warning if it
has to be written by hand. A new table with an id and created_at gets the triggers of a resource's
table; the counts and stored responses of a dropped table are deleted. Without a difference no file
is written. If a column is dropped, and another one of its type is added, a warning is printed:
Alembic does not detect a renaming, and the values would be lost. Read the file before you commit
it.
"""

import sys
import tempfile
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.operations import Operations
from alembic.operations.ops import (
    AddColumnOp,
    CreateForeignKeyOp,
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
from sqlalchemy import Column, Enum, ForeignKeyConstraint, create_engine, make_url
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.compiler import BIND_PARAMS

from local.generate.catalog import differences, quoted
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
    """Drop a script without operations; add what Alembic leaves out; warn about the rest."""
    script: MigrationScript = scripts[0]
    assert script.upgrade_ops is not None
    assert script.downgrade_ops is not None
    for line in renamed(script.upgrade_ops):
        print(line, file=sys.stderr)
    _order_tables(script.upgrade_ops, script.downgrade_ops)
    _order_tables(script.downgrade_ops, script.upgrade_ops)
    _add_types(script.upgrade_ops, script.downgrade_ops)
    _add_types(script.downgrade_ops, script.upgrade_ops)
    for line in _add_differences(context, script.upgrade_ops, script.downgrade_ops):
        print(f"WARNING: write this by hand: {line}", file=sys.stderr)
    if script.upgrade_ops.is_empty():
        scripts.clear()


def _add_differences(
    context: MigrationContext, upgrade: OpContainer, downgrade: OpContainer
) -> Iterator[str]:
    """Add the statements for what `upgrade` leaves different; yield what they leave different."""
    connection = context.connection
    assert connection is not None
    metadata = context.opts["target_metadata"]
    with connection.begin_nested() as savepoint:
        try:
            for one in _operations(upgrade):
                if reason := _failure(context, [one]):
                    yield reason
            for difference in differences(connection, metadata):
                statements = [*map(_execute, difference.upgrade())]
                if statements and not _failure(context, statements):
                    upgrade.ops += statements
                    downgrade.ops[:0] = map(_execute, difference.downgrade())
            yield from map(str, differences(connection, metadata))
        except DBAPIError as error:
            yield (
                "constraints, defaults and the like, as the models cannot be created. If they need"
                f" an extension, create it by a migration before: {error.orig}"
            )
        savepoint.rollback()


def _failure(context: MigrationContext, operations: Iterable[MigrateOperation]) -> str | None:
    """Carry the operations out, or return why the database rejects them."""
    assert context.connection is not None
    try:
        with context.connection.begin_nested():
            for one in operations:
                Operations(context).invoke(one)
    except DBAPIError as error:
        return str(error.orig)
    return None


def _execute(statement: str) -> ExecuteSQLOp:
    """Return the operation of a statement, of which SQLAlchemy takes no part for a parameter."""
    is_plain = "\\:" not in statement and not BIND_PARAMS.search(statement)
    return ExecuteSQLOp(statement if is_plain else statement.replace(":", r"\:"))


def _order_tables(creating: OpContainer, dropping: OpContainer) -> None:
    """Create tables before the tables that refer to them, and drop them after.

    Of tables that refer to each other, keys are created last and dropped first.
    """
    created = {one.table_name: one for one in creating.ops if isinstance(one, CreateTableOp)}
    keys = {name: _foreign_keys(one) for name, one in created.items()}
    order = _sorted({name: [one for one in keys[name] if one in created] for name in created})

    def place(one: object) -> int:
        name = one.table_name if isinstance(one, CreateTableOp | DropTableOp) else ""
        return order.index(name) if name in created else len(order)

    creating.ops.sort(key=place)
    dropping.ops.sort(key=place, reverse=True)
    for name, one in created.items():
        later = order[order.index(name) + 1 :]
        separate = [key for referred in later for key in keys[name].get(referred, ())]
        one.columns = [item for item in one.columns if not any(item is key for key in separate)]
        creating.ops += map(CreateForeignKeyOp.from_constraint, separate)
        dropping.ops[:0] = map(DropConstraintOp.from_constraint, separate)


def _foreign_keys(created: CreateTableOp) -> dict[str, list[ForeignKeyConstraint]]:
    """Return the table's foreign keys to other tables, by the names of these."""
    found: dict[str, list[ForeignKeyConstraint]] = {}
    for one in created.columns:
        if isinstance(one, ForeignKeyConstraint):
            referred = one.elements[0].target_fullname.split(".")[0]
            if referred != created.table_name:
                found.setdefault(referred, []).append(one)
    return found


def _sorted(referred: dict[str, list[str]]) -> list[str]:
    """Return the tables after those to which they refer, except to one in each circle."""
    while True:
        try:
            return [*TopologicalSorter(referred).static_order()]
        except CycleError as error:
            before, after = error.args[1][:2]
            referred[after].remove(before)


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
    ops.ops[:0] = map(_execute, of_columns.values())
    reverse.ops += [_execute(f"DROP TYPE {name}") for name in of_columns | of_tables]


def _enums(columns: Iterable[Column[Any]]) -> dict[str, str]:
    """Return the statements that create the types of columns, by the types' names in SQL."""
    types = (column.type for column in columns)
    return {
        QUOTES.quote(str(one.name)): f"CREATE TYPE {QUOTES.quote(str(one.name))} AS ENUM"
        f" ({', '.join(map(quoted, one.enums))})"
        for one in types
        if isinstance(one, Enum) and one.native_enum
    }


def _operations(container: OpContainer) -> Iterator[MigrateOperation]:
    for one in container.ops:
        if isinstance(one, ModifyTableOps):
            yield from _operations(one)
        else:
            yield one


if __name__ == "__main__":
    main()
