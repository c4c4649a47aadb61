"""Maintenance of a database at the newest revision; every function is idempotent.

A restored dump lacks the database's settings and, if triggers were disabled during the restore,
exact row counts. Rows that were copied with their ids (COPY, INSERT, logical replication) do not
advance the sequences of ids, so that inserts fail. Every upgrade to the head repairs all three, and
reports the repairs.
"""

from typing import Any

from sqlalchemy import Connection, Row, text

from shared.database.driver import LACKING_TIMEOUTS, TIMEOUTS
from shared.database.models import BLOCK_IDS, METADATA
from shared.settings import settings

SETTINGS = {"TimeZone": "UTC", "jit": "off", **TIMEOUTS}
LACKING_SETTINGS = f"""
{LACKING_TIMEOUTS}
UNION ALL SELECT 'TimeZone' WHERE current_setting('TimeZone') <> 'UTC'
UNION ALL SELECT 'jit' WHERE current_setting('jit') <> 'off'
"""

COUNTED_TABLES = (
    "SELECT tgrelid::regclass::text FROM pg_trigger WHERE tgfoid = 'count_rows'::regproc"
)
# One statement has one snapshot, so writers need not be locked out. The span of a block may be
# wider than that of its rows.
WRONG_BLOCKS = f"""
SELECT count(*) FROM (
    SELECT id / {BLOCK_IDS} AS block, count(*) AS rows, min(created_at), max(created_at)
    FROM TABLE GROUP BY 1
) AS found (block, rows, oldest, newest)
FULL JOIN (
    SELECT block, sum(row_count), min(oldest), max(newest)
    FROM row_counts WHERE table_name = 'TABLE' GROUP BY block
) AS counted (block, rows, oldest, newest) USING (block)
WHERE coalesce(found.rows, 0) <> coalesce(counted.rows, 0)
    OR found.oldest < counted.oldest OR found.newest > counted.newest
"""  # noqa: S608 - of constants
COUNT_BLOCKS = f"""
DELETE FROM row_counts WHERE table_name = 'TABLE';
INSERT INTO row_counts (table_name, block, shard, row_count, oldest, newest)
SELECT 'TABLE', id / {BLOCK_IDS}, -1, count(*), min(created_at), max(created_at)
FROM TABLE GROUP BY 2
"""  # noqa: S608 - of constants

IDENTITY_COLUMNS = """
SELECT attrelid::regclass::text AS table, quote_ident(attname) AS column,
    pg_get_serial_sequence(attrelid::regclass::text, attname) AS sequence
FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
WHERE attidentity <> '' AND NOT attisdropped AND relkind IN ('r', 'p')
    AND relnamespace = current_schema()::regnamespace
ORDER BY attrelid::regclass::text, attnum
"""
IS_BEHIND = """
SELECT coalesce(max(COLUMN), 0) > (
    SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM SEQUENCE
) FROM TABLE
"""
# A sequence that is ahead of its rows is left unchanged.
CATCH_UP = """
SELECT setval('SEQUENCE', greatest(max(COLUMN), (SELECT last_value FROM SEQUENCE))) FROM TABLE
"""

ROWS_PER_STATEMENT = 1000
DELETE_EXPIRED_KEYS = """
DELETE FROM idempotency_keys WHERE (path, key, issuer, subject) IN (
    SELECT path, key, issuer, subject FROM idempotency_keys WHERE expires_at <= now()
    ORDER BY expires_at LIMIT :limit FOR UPDATE SKIP LOCKED
)
"""
DELETE_EXPIRED_AUDIT_ROWS = """
DELETE FROM audit_log WHERE id IN (
    SELECT id FROM audit_log WHERE at <= now() - make_interval(days => :days)
    ORDER BY at LIMIT :limit FOR UPDATE SKIP LOCKED
)
"""


def restore_settings(new_session: Connection) -> list[str]:
    """Set the database's missing settings; stricter values are kept. Return the repairs."""
    lacking = new_session.scalars(text(LACKING_SETTINGS)).all()
    for name in lacking:
        new_session.execute(
            text(
                "DO $$ BEGIN EXECUTE format("
                f"'ALTER DATABASE %I SET {name} = ''{SETTINGS[name]}''', current_database()"
                "); END $$"
            )
        )
    new_session.commit()
    return [f"setting {name}" for name in lacking]


def restore_row_counts(connection: Connection) -> list[str]:
    """Recount the tables whose counts are wrong, while writers wait. Return the repairs."""
    counted = set(connection.scalars(text(COUNTED_TABLES)))
    tables = [table.name for table in METADATA.sorted_tables if table.name in counted]
    wrong = [
        table for table in tables if connection.scalar(text(WRONG_BLOCKS.replace("TABLE", table)))
    ]
    connection.commit()
    if not wrong:
        return []
    # The same order as that of a delete prevents deadlocks.
    locked = ", ".join([*tables, "row_counts"])
    connection.execute(text(f"LOCK TABLE {locked} IN SHARE ROW EXCLUSIVE MODE"))
    connection.execute(text("ALTER TABLE row_counts DISABLE TRIGGER row_counts_ignore"))
    for table in wrong:
        connection.execute(text(COUNT_BLOCKS.replace("TABLE", table)))
    connection.execute(text("ALTER TABLE row_counts ENABLE TRIGGER row_counts_ignore"))
    connection.commit()
    return [f"row_counts of {table}" for table in wrong]


def restore_sequences(connection: Connection) -> list[str]:
    """Advance the sequences of ids that are behind their rows. Return the repairs."""
    behind = [
        identity
        for identity in connection.execute(text(IDENTITY_COLUMNS)).all()
        if connection.scalar(text(_of(identity, IS_BEHIND)))
    ]
    connection.commit()
    for identity in behind:
        # With the lock, no INSERT takes an id between reading and setting the sequence.
        connection.execute(text(f"LOCK TABLE {identity.table} IN SHARE ROW EXCLUSIVE MODE"))
        connection.execute(text(_of(identity, CATCH_UP)))
        connection.commit()
    return [f"sequence of {identity.table}.{identity.column}" for identity in behind]


def _of(identity: Row[Any], statement: str) -> str:
    for name, value in identity._mapping.items():
        statement = statement.replace(name.upper(), value)
    return statement


def delete_expired(connection: Connection) -> dict[str, int]:
    """Delete expired rows, a thousand per transaction. Return their number by table."""
    days = {"days": settings().audit_retention_days}
    return {
        "idempotency_keys": _delete(connection, DELETE_EXPIRED_KEYS, {}),
        "audit_log": _delete(connection, DELETE_EXPIRED_AUDIT_ROWS, days),
    }


def _delete(connection: Connection, statement: str, values: dict[str, int]) -> int:
    deleted = 0
    while True:
        result = connection.execute(text(statement), {"limit": ROWS_PER_STATEMENT, **values})
        connection.commit()
        deleted += result.rowcount
        if result.rowcount < ROWS_PER_STATEMENT:
            return deleted
