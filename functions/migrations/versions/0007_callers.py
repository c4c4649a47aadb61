"""Callers: the user that each one owns, idempotency keys per caller, and the audit log."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

KEYS = "idempotency_keys"


def upgrade() -> None:
    op.create_table(
        "identities",
        sa.Column("issuer", sa.Text),
        sa.Column("subject", sa.Text),
        sa.Column(
            "user_id",
            sa.BigInteger,
            sa.ForeignKey("users.id", name="identities_user_id_fkey", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("issuer", "subject", name="identities_pkey"),
        sa.UniqueConstraint("user_id", name="identities_user_id_key"),
    )
    op.create_table(
        "audit_log",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("issuer", sa.Text),
        sa.Column("subject", sa.Text),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("resource", sa.Text, nullable=False),
        sa.Column("resource_id", sa.BigInteger, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
    )
    op.create_index("audit_log_at_idx", "audit_log", ["at"])
    op.create_index("audit_log_resource_idx", "audit_log", ["resource", "resource_id"])
    for column in ("issuer", "subject"):
        op.add_column(KEYS, sa.Column(column, sa.Text, nullable=False, server_default=""))
    op.drop_constraint("idempotency_keys_pkey", KEYS)
    op.create_primary_key("idempotency_keys_pkey", KEYS, ["path", "key", "issuer", "subject"])


def downgrade() -> None:
    op.execute("DELETE FROM idempotency_keys WHERE issuer <> ''")
    op.drop_constraint("idempotency_keys_pkey", KEYS)
    for column in ("issuer", "subject"):
        op.drop_column(KEYS, column)
    op.create_primary_key("idempotency_keys_pkey", KEYS, ["path", "key"])
    op.drop_table("audit_log")
    op.drop_table("identities")
