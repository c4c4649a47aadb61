"""Row counts per block of ids, each with the range of its rows' created_at.

Deep offsets, and users created in the last days or after a given time, are found without reading
earlier rows. The index on created_at is no longer used.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TABLES = ("users", "posts")

INTO_COUNTS = """
    INSERT INTO row_counts AS counts (table_name, block, shard, row_count, oldest, newest)
"""
ADD_TO_COUNTS = """
    ON CONFLICT (table_name, block, shard) DO UPDATE SET
        row_count = counts.row_count + EXCLUDED.row_count,
        oldest = least(counts.oldest, EXCLUDED.oldest),
        newest = greatest(counts.newest, EXCLUDED.newest)
"""

# The range of a block may be wider than its rows' (deleted rows stay in it), never narrower.
# A single row, as the API writes them, is inserted without grouping, which is cheaper.
COUNT_ROWS = f"""
CREATE OR REPLACE FUNCTION count_rows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    {INTO_COUNTS}
    SELECT TG_TABLE_NAME, id >> 12, pg_backend_pid() % 64,
        CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END, created_at, created_at
    FROM changed WHERE NOT EXISTS (SELECT FROM changed OFFSET 1)
    {ADD_TO_COUNTS};
    IF NOT FOUND THEN
        {INTO_COUNTS}
        SELECT TG_TABLE_NAME, id >> 12, pg_backend_pid() % 64,
            CASE TG_OP WHEN 'INSERT' THEN count(*) ELSE -count(*) END,
            min(created_at), max(created_at)
        FROM changed GROUP BY id >> 12 ORDER BY id >> 12
        {ADD_TO_COUNTS};
    END IF;
    RETURN NULL;
END $$
"""  # noqa: S608 - of constants

# The first insert into a block merges the shards of the blocks before it into shard -1, so that a
# finished block is one row. Locked shards are skipped, so that an insert never waits here.
FINISH_BLOCKS = f"""
CREATE FUNCTION finish_blocks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    WITH finished AS (
        SELECT ctid FROM row_counts
        WHERE table_name = TG_TABLE_NAME AND shard >= 0 AND block < (NEW.id >> 12) - 1
        FOR UPDATE SKIP LOCKED
    ), taken AS (
        DELETE FROM row_counts WHERE ctid IN (SELECT ctid FROM finished) RETURNING *
    )
    {INTO_COUNTS}
    SELECT table_name, block, -1, sum(row_count), min(oldest), max(newest)
    FROM taken GROUP BY table_name, block ORDER BY block
    {ADD_TO_COUNTS};
    RETURN NULL;
END $$
"""  # noqa: S608 - of constants

COUNT_BLOCKS = """
INSERT INTO row_counts (table_name, block, shard, row_count, oldest, newest)
SELECT 'TABLE', id >> 12, -1, count(*), min(created_at), max(created_at)
FROM TABLE GROUP BY id >> 12
"""

COUNT_TABLE = """
INSERT INTO row_counts (table_name, shard, row_count) SELECT 'TABLE', 0, count(*) FROM TABLE
"""

WIDEN_BLOCK = """
CREATE FUNCTION widen_block() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO row_counts AS counts (table_name, block, shard, row_count, oldest, newest)
    VALUES (TG_TABLE_NAME, NEW.id >> 12, pg_backend_pid() % 64, 0, NEW.created_at, NEW.created_at)
    ON CONFLICT (table_name, block, shard) DO UPDATE SET
        oldest = least(counts.oldest, EXCLUDED.oldest),
        newest = greatest(counts.newest, EXCLUDED.newest)
    WHERE EXCLUDED.oldest < counts.oldest OR EXCLUDED.newest > counts.newest;
    RETURN NULL;
END $$
"""

COUNT_ROWS_WITHOUT_BLOCKS = """
CREATE OR REPLACE FUNCTION count_rows() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    change bigint;
BEGIN
    SELECT count(*) INTO change FROM changed;
    IF change > 0 THEN
        INSERT INTO row_counts AS counts (table_name, shard, row_count)
        VALUES (
            TG_TABLE_NAME,
            pg_backend_pid() % 64,
            CASE TG_OP WHEN 'INSERT' THEN change ELSE -change END
        )
        ON CONFLICT (table_name, shard)
        DO UPDATE SET row_count = counts.row_count + EXCLUDED.row_count;
    END IF;
    RETURN NULL;
END $$
"""


def upgrade() -> None:
    _stop_writers()
    op.execute("DELETE FROM row_counts")
    op.drop_constraint("row_counts_pkey", "row_counts")
    op.add_column("row_counts", sa.Column("block", sa.BigInteger, nullable=False))
    for column in ("oldest", "newest"):
        op.add_column("row_counts", sa.Column(column, sa.DateTime(timezone=True), nullable=False))
    op.create_primary_key("row_counts_pkey", "row_counts", ["table_name", "block", "shard"])
    op.execute(COUNT_ROWS)
    op.execute(FINISH_BLOCKS)
    op.execute(WIDEN_BLOCK)
    for table in TABLES:
        op.execute(COUNT_BLOCKS.replace("TABLE", table))
        op.execute(
            f"CREATE TRIGGER {table}_finish AFTER INSERT ON {table} FOR EACH ROW "
            "WHEN (NEW.id % 4096 = 0) EXECUTE FUNCTION finish_blocks()"
        )
        op.execute(
            f"CREATE TRIGGER {table}_widen AFTER UPDATE OF created_at ON {table} FOR EACH ROW "
            "WHEN (OLD.created_at <> NEW.created_at) EXECUTE FUNCTION widen_block()"
        )
    op.drop_index("users_created_at_idx", "users")


def downgrade() -> None:
    _stop_writers()
    op.create_index("users_created_at_idx", "users", ["created_at"])
    for table in TABLES:
        op.execute(f"DROP TRIGGER {table}_finish ON {table}")
        op.execute(f"DROP TRIGGER {table}_widen ON {table}")
    op.execute("DROP FUNCTION finish_blocks")
    op.execute("DROP FUNCTION widen_block")
    op.execute("DELETE FROM row_counts")
    op.drop_constraint("row_counts_pkey", "row_counts")
    for column in ("block", "oldest", "newest"):
        op.drop_column("row_counts", column)
    op.create_primary_key("row_counts_pkey", "row_counts", ["table_name", "shard"])
    op.execute(COUNT_ROWS_WITHOUT_BLOCKS)
    for table in TABLES:
        op.execute(COUNT_TABLE.replace("TABLE", table))


def _stop_writers() -> None:
    """Lock the tables until the end of the transaction, in the same order as deleting a user."""
    op.execute("LOCK TABLE users, posts, row_counts IN SHARE ROW EXCLUSIVE MODE")
