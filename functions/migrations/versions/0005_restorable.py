"""Row counts that survive dumps and all statements, and stored responses that are deleted.

Row counts: trigger functions find their tables with any `search_path` (pg_dump empties it), a
dump's rows of `row_counts` are ignored if triggers count the restored rows, and statements that
triggers cannot count are rejected.

Stored responses refer to the created resource by its id, and are deleted with it.
"""

import sqlalchemy as sa
from alembic import op

from migrations.triggers import forget_responses_of

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TABLES = ("users", "posts")
FUNCTIONS_OF_TRIGGERS = ("count_rows", "finish_blocks", "widen_block", "forget_rows")
# The last block of ids ends at the largest bigint; the start of the next would overflow.
ID_RANGE = "id BETWEEN 1 AND 9223372036854771711"

# TRUNCATE removes rows that its snapshot does not see; their counts would remain.
FORGET_ROWS = """
CREATE OR REPLACE FUNCTION forget_rows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
        RAISE EXCEPTION 'TRUNCATE of % needs the isolation level READ COMMITTED', TG_TABLE_NAME
        USING ERRCODE = 'feature_not_supported',
            DETAIL = 'Its rows could not be taken off row_counts.',
            HINT = 'Use DELETE, or TRUNCATE in a transaction of its own.';
    END IF;
    DELETE FROM row_counts WHERE table_name = TG_TABLE_NAME;
    RETURN NULL;
END $$
"""

FORGET_ROWS_OF_ANY_SNAPSHOT = """
CREATE OR REPLACE FUNCTION forget_rows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM row_counts WHERE table_name = TG_TABLE_NAME;
    RETURN NULL;
END $$
"""

KEEP_ID = """
CREATE FUNCTION keep_id() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'ids of % never change', TG_TABLE_NAME
    USING ERRCODE = 'generated_always',
        DETAIL = 'Rows are counted by blocks of ids, and clients keep ids.',
        HINT = 'Insert a new row, and delete the old one.';
END $$
"""

# For the COPY and INSERT statements of a dump; the triggers' own inserts come from a trigger.
# If a restore disables triggers, this one is disabled too, and the dump's counts are used.
IGNORE_COUNT = """
CREATE FUNCTION ignore_count() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RETURN NULL;
END $$
"""

# Planned at each use: a cached plan, made while there were few keys, would scan the whole table.
FORGET_RESPONSES = """
CREATE FUNCTION forget_responses() RETURNS trigger LANGUAGE plpgsql
SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        UPDATE idempotency_keys SET fingerprint = NULL, body = NULL WHERE path = TG_ARGV[0];
    ELSE
        UPDATE idempotency_keys AS keys SET fingerprint = NULL, body = NULL
        FROM deleted WHERE keys.path = TG_ARGV[0] AND keys.resource_id = deleted.id;
    END IF;
    RETURN NULL;
END $$
"""


def upgrade() -> None:
    _guard_row_counts()
    _store_resource_ids()
    op.execute(FORGET_RESPONSES)
    for table in TABLES:
        forget_responses_of(table)
    for function in (*FUNCTIONS_OF_TRIGGERS, "keep_id", "ignore_count", "forget_responses"):
        _pin_search_path(function)


def downgrade() -> None:
    for table in TABLES:
        for trigger in ("keep_id", "forget_responses", "forget_all_responses"):
            op.execute(f"DROP TRIGGER {table}_{trigger} ON {table}")
        op.drop_constraint(f"{table}_id_range", table)
    op.execute("DROP TRIGGER row_counts_ignore ON row_counts")
    for function in ("keep_id", "ignore_count", "forget_responses"):
        op.execute(f"DROP FUNCTION {function}")
    op.execute(FORGET_ROWS_OF_ANY_SNAPSHOT)
    for function in FUNCTIONS_OF_TRIGGERS:
        op.execute(f"ALTER FUNCTION {function}() RESET ALL")
    _store_locations()


def _guard_row_counts() -> None:
    op.execute(FORGET_ROWS)
    op.execute(KEEP_ID)
    op.execute(IGNORE_COUNT)
    op.execute(
        "CREATE TRIGGER row_counts_ignore BEFORE INSERT ON row_counts FOR EACH ROW "
        "WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION ignore_count()"
    )
    for table in TABLES:
        op.execute(
            f"CREATE TRIGGER {table}_keep_id BEFORE UPDATE OF id ON {table} FOR EACH ROW "
            "WHEN (OLD.id <> NEW.id) EXECUTE FUNCTION keep_id()"
        )
        op.create_check_constraint(f"{table}_id_range", table, ID_RANGE)


def _store_resource_ids() -> None:
    op.add_column("idempotency_keys", sa.Column("resource_id", sa.BigInteger))
    op.execute("UPDATE idempotency_keys SET resource_id = split_part(location, '/', -1)::bigint")
    op.alter_column("idempotency_keys", "resource_id", nullable=False)
    op.drop_column("idempotency_keys", "location")
    op.alter_column("idempotency_keys", "fingerprint", nullable=True)
    op.alter_column("idempotency_keys", "body", nullable=True)
    op.create_index("idempotency_keys_resource_idx", "idempotency_keys", ["path", "resource_id"])


def _store_locations() -> None:
    op.drop_index("idempotency_keys_resource_idx", "idempotency_keys")
    op.execute("DELETE FROM idempotency_keys WHERE body IS NULL")
    op.alter_column("idempotency_keys", "body", nullable=False)
    op.alter_column("idempotency_keys", "fingerprint", nullable=False)
    op.add_column("idempotency_keys", sa.Column("location", sa.Text))
    op.execute("UPDATE idempotency_keys SET location = path || '/' || resource_id")
    op.alter_column("idempotency_keys", "location", nullable=False)
    op.drop_column("idempotency_keys", "resource_id")


def _pin_search_path(function: str) -> None:
    """Set the search_path to the tables' schema; the cost per call is not measurable."""
    schema = op.get_bind().scalar(sa.text("SELECT quote_ident(current_schema())"))
    op.execute(f"ALTER FUNCTION {function}() SET search_path = pg_catalog, {schema}, pg_temp")
