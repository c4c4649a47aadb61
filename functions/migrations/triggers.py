"""Triggers of resources' tables, for use in migrations.

Revision 0005 creates the functions that they call, except `forget_responses_by_key`, which is of
0009. Do not change this module: applied migrations depend on it.
"""

from alembic import op
from sqlalchemy import Integer, inspect, text

# The last block of ids ends at the largest bigint; the start of the next would overflow.
ID_RANGE = "id BETWEEN 1 AND 9223372036854771711"


def count_rows_of(table: str) -> None:
    """Maintain exact row counts of a new table with the columns `id` and `created_at`."""
    for event, transition in (("insert", "NEW"), ("delete", "OLD")):
        op.execute(
            f"CREATE TRIGGER {table}_count_{event} AFTER {event} ON {table} "
            f"REFERENCING {transition} TABLE AS changed "
            "FOR EACH STATEMENT EXECUTE FUNCTION count_rows()"
        )
    op.execute(
        f"CREATE TRIGGER {table}_forget AFTER TRUNCATE ON {table} "
        "FOR EACH STATEMENT EXECUTE FUNCTION forget_rows()"
    )
    op.execute(
        f"CREATE TRIGGER {table}_finish AFTER INSERT ON {table} FOR EACH ROW "
        "WHEN (NEW.id % 4096 = 0) EXECUTE FUNCTION finish_blocks()"
    )
    op.execute(
        f"CREATE TRIGGER {table}_widen AFTER UPDATE OF created_at ON {table} FOR EACH ROW "
        "WHEN (OLD.created_at <> NEW.created_at) EXECUTE FUNCTION widen_block()"
    )
    op.execute(
        f"CREATE TRIGGER {table}_keep_id BEFORE UPDATE OF id ON {table} FOR EACH ROW "
        "WHEN (OLD.id <> NEW.id) EXECUTE FUNCTION keep_id()"
    )
    op.create_check_constraint(f"{table}_id_range", table, ID_RANGE)


def forget_responses_of(table: str) -> None:
    """Delete the stored response of a POST to `/{table}` with the row that it created."""
    op.execute(
        f"CREATE TRIGGER {table}_forget_responses AFTER DELETE ON {table} "
        "REFERENCING OLD TABLE AS deleted "
        f"FOR EACH STATEMENT EXECUTE FUNCTION forget_responses('/{table}')"
    )
    op.execute(
        f"CREATE TRIGGER {table}_forget_all_responses AFTER TRUNCATE ON {table} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION forget_responses('/{table}')"
    )


def forget_responses_by_key(table: str, key: str) -> None:
    """Do the same as `forget_responses_of` for a table whose primary key is not an integer."""
    op.execute(
        f"CREATE TRIGGER {table}_forget_responses AFTER DELETE ON {table} "
        "REFERENCING OLD TABLE AS deleted "
        f"FOR EACH STATEMENT EXECUTE FUNCTION forget_responses_by_key('/{table}', '{key}')"
    )
    op.execute(
        f"CREATE TRIGGER {table}_forget_all_responses AFTER TRUNCATE ON {table} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION forget_responses('/{table}')"
    )


def forget_responses_when_set(table: str, column: str) -> None:
    """Delete the stored response of a POST to `/{table}` when a row's `column`, such as
    `deleted_at`, is no longer null."""
    name = _forgetter(table, column)
    found = inspect(op.get_bind())
    (key,) = found.get_pk_constraint(table)["constrained_columns"]
    (type_,) = (one["type"] for one in found.get_columns(table) if one["name"] == key)
    is_id = isinstance(type_, Integer)
    same = f"resource_id = NEW.{key}" if is_id else f"resource_key = NEW.{key}::text"
    schema = op.get_bind().scalar(text("SELECT quote_ident(current_schema())"))
    op.execute(
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql "  # noqa: S608
        # Without sequential scans the plan is right however many keys there are later.
        f"SET search_path = pg_catalog, {schema}, pg_temp SET enable_seqscan = off AS $$ BEGIN "
        "UPDATE idempotency_keys SET fingerprint = NULL, body = NULL "
        f"WHERE path = '/{table}' AND {same}; RETURN NULL; END $$"
    )
    op.execute(
        f"CREATE TRIGGER {name} AFTER UPDATE OF {column} ON {table} FOR EACH ROW "
        f"WHEN (OLD.{column} IS NULL AND NEW.{column} IS NOT NULL) EXECUTE FUNCTION {name}()"
    )


def stop_forgetting_responses_when_set(table: str, column: str) -> None:
    """Remove the trigger of `forget_responses_when_set`."""
    op.execute(f"DROP FUNCTION {_forgetter(table, column)} CASCADE")


def _forgetter(table: str, column: str) -> str:
    return f"{table}_{column}_forget_responses"


def keep_equal(table: str, known: str, other: str) -> None:
    """Copy one column into another, and keep both equal, whichever one a statement sets.

    Raises `ValueError` if `other` has a default, which would replace the value of an INSERT that
    sets `known` only; `known` may have one.
    """
    columns = {one["name"]: one for one in inspect(op.get_bind()).get_columns(table)}
    if columns[other]["default"] is not None:
        raise ValueError(
            f"{table}.{other} has a default, so values that other releases write to {known} only"
            f" would be lost: add it without one; it gets the default of {known}"
            " (docs/changing-a-resource.md, Rename a field)"
        )
    name = _keeper(table, known, other)
    op.execute(f"UPDATE {table} SET {other} = {known}")  # noqa: S608
    op.execute(
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF TG_OP = 'INSERT' THEN NEW.{other} := coalesce(NEW.{other}, NEW.{known}); "
        f"ELSIF NEW.{other} IS NOT DISTINCT FROM OLD.{other} THEN NEW.{other} := NEW.{known}; "
        f"END IF; NEW.{known} := NEW.{other}; RETURN NEW; END $$"
    )
    op.execute(
        f"CREATE TRIGGER {name} BEFORE INSERT OR UPDATE ON {table} "
        f"FOR EACH ROW EXECUTE FUNCTION {name}()"
    )


def stop_keeping_equal(table: str, *columns: str) -> None:
    """Remove the trigger of `keep_equal`."""
    op.execute(f"DROP FUNCTION {_keeper(table, *columns)} CASCADE")


def _keeper(table: str, *columns: str) -> str:
    return "_".join((table, *sorted(columns), "are_equal"))
