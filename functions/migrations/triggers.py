"""Triggers that the tables of resources share, for migrations that create such a table.

The functions that they call are in the database since revision 0005. What is written here stays
as it is: applied migrations depend on it.
"""

from alembic import op


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
