"""Triggers that the tables of resources share, for migrations that create such a table.

The functions that they call are in the database since revision 0005. What is written here stays
as it is: applied migrations depend on it.
"""

from alembic import op

# The last block of ids ends where bigint does; what follows it could not be computed.
ID_RANGE = "id BETWEEN 1 AND 9223372036854771711"


def count_rows_of(table: str) -> None:
    """Keep exact row counts of a new table, which has the columns `id` and `created_at`."""
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
    """What POST `/{table}` stored for an `Idempotency-Key` loses its data with the row."""
    op.execute(
        f"CREATE TRIGGER {table}_forget_responses AFTER DELETE ON {table} "
        "REFERENCING OLD TABLE AS deleted "
        f"FOR EACH STATEMENT EXECUTE FUNCTION forget_responses('/{table}')"
    )
    op.execute(
        f"CREATE TRIGGER {table}_forget_all_responses AFTER TRUNCATE ON {table} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION forget_responses('/{table}')"
    )
