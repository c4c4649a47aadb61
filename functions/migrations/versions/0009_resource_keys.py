"""Store keys that are not integers, in `resource_key` of the audit log and the stored responses.

Both tables keep `resource_id`, which the previous release reads and writes. It is null for
resources with other keys, which that release does not serve.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

TABLES = ("idempotency_keys", "audit_log")
FORGET_RESPONSES = """
CREATE FUNCTION forget_responses_by_key() RETURNS trigger LANGUAGE plpgsql
SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    UPDATE idempotency_keys AS keys SET fingerprint = NULL, body = NULL
    FROM deleted
    WHERE keys.path = TG_ARGV[0] AND keys.resource_key = to_jsonb(deleted) ->> TG_ARGV[1];
    RETURN NULL;
END $$
"""


def upgrade() -> None:
    for table in TABLES:
        op.add_column(table, sa.Column("resource_key", sa.Text))
        op.alter_column(table, "resource_id", nullable=True)
    op.create_index(
        "idempotency_keys_resource_key_idx",
        "idempotency_keys",
        ["path", "resource_key"],
        postgresql_where=sa.text("resource_key IS NOT NULL"),
    )
    op.execute(FORGET_RESPONSES)
    schema = op.get_bind().scalar(sa.text("SELECT quote_ident(current_schema())"))
    op.execute(
        f"ALTER FUNCTION forget_responses_by_key() SET search_path = pg_catalog, {schema}, pg_temp"
    )


def downgrade() -> None:
    op.execute("DROP FUNCTION forget_responses_by_key")
    for table in TABLES:
        op.execute(f"DELETE FROM {table} WHERE resource_id IS NULL")  # noqa: S608
        op.alter_column(table, "resource_id", nullable=False)
        op.drop_column(table, "resource_key")
