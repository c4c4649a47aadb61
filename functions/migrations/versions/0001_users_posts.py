"""Users, posts, and exact counts of their rows.

It also sets timeouts of the database, which apply to all sessions, including those through a
pooler. The cache relies on `transaction_timeout`: a writer's fence outlives its transaction.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

DATABASE_SETTINGS = {
    "TimeZone": "UTC",
    "statement_timeout": "8s",
    "transaction_timeout": "9s",
    "idle_in_transaction_session_timeout": "5s",
    "lock_timeout": "3s",
}

COUNT_ROWS = """
CREATE FUNCTION count_rows() RETURNS trigger LANGUAGE plpgsql AS $$
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

FORGET_ROWS = """
CREATE FUNCTION forget_rows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM row_counts WHERE table_name = TG_TABLE_NAME;
    RETURN NULL;
END $$
"""


def upgrade() -> None:
    op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    _set_database_settings(DATABASE_SETTINGS)
    _create_users()
    _create_posts()
    _create_row_counts()


def downgrade() -> None:
    # pg_trgm is kept: it may have been installed before.
    op.drop_table("posts")
    op.drop_table("users")
    op.drop_table("row_counts")
    op.execute("DROP FUNCTION count_rows")
    op.execute("DROP FUNCTION forget_rows")
    _set_database_settings(dict.fromkeys(DATABASE_SETTINGS, "DEFAULT"))


def _create_users() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("email", sa.Text, nullable=False),
        _created_at(),
    )
    lower_email = sa.text("lower(email COLLATE pg_c_utf8)")
    op.create_index("users_email_key", "users", [lower_email], unique=True)
    op.create_index("users_created_at_idx", "users", ["created_at"])
    lower_name = sa.text("lower(name COLLATE pg_c_utf8) gin_trgm_ops")
    op.create_index("users_name_trgm_idx", "users", [lower_name], postgresql_using="gin")


def _create_posts() -> None:
    op.create_table(
        "posts",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column(
            "user_id",
            sa.BigInteger,
            sa.ForeignKey("users.id", name="posts_user_id_fkey", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        _created_at(),
    )
    op.create_index("posts_user_id_id_idx", "posts", ["user_id", "id"])


def _created_at() -> sa.Column[object]:
    now = sa.func.now()
    return sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=now)


def _create_row_counts() -> None:
    op.create_table(
        "row_counts",
        sa.Column("table_name", sa.Text, primary_key=True),
        sa.Column("shard", sa.SmallInteger, primary_key=True),
        sa.Column("row_count", sa.BigInteger, nullable=False),
    )
    # Leave room on each page, so that updates of counts are heap-only.
    op.execute("ALTER TABLE row_counts SET (fillfactor = 50)")
    op.execute(COUNT_ROWS)
    op.execute(FORGET_ROWS)
    for table in ("users", "posts"):
        _count_rows_of(table)


def _count_rows_of(table: str) -> None:
    for event, transition in (("INSERT", "NEW"), ("DELETE", "OLD")):
        op.execute(
            f"CREATE TRIGGER {table}_count_{event.lower()} AFTER {event} ON {table} "
            f"REFERENCING {transition} TABLE AS changed "
            "FOR EACH STATEMENT EXECUTE FUNCTION count_rows()"
        )
    op.execute(
        f"CREATE TRIGGER {table}_forget AFTER TRUNCATE ON {table} "
        "FOR EACH STATEMENT EXECUTE FUNCTION forget_rows()"
    )


def _set_database_settings(settings: dict[str, str]) -> None:
    for name, value in settings.items():
        literal = value if value == "DEFAULT" else f"''{value}''"
        op.execute(
            "DO $$ BEGIN EXECUTE format("
            f"'ALTER DATABASE %I SET {name} = {literal}', current_database()); END $$"
        )
