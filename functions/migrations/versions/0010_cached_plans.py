"""Find the stored responses of deleted rows by a cached plan that uses the index.

To plan the statement at each use, as before, took as long as the rest of a deletion. Without
sequential scans a plan made while there were few keys is still right when there are many.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

BY_ID = "keys.resource_id = ANY (ARRAY(SELECT id FROM deleted))"
BY_KEY = "keys.resource_key = ANY (ARRAY(SELECT to_jsonb(deleted) ->> TG_ARGV[1] FROM deleted))"
FORMER_BY_ID = "keys.resource_id = deleted.id"
FORMER_BY_KEY = "keys.resource_key = to_jsonb(deleted) ->> TG_ARGV[1]"


def upgrade() -> None:
    _define("enable_seqscan = off", "", BY_ID, BY_KEY)


def downgrade() -> None:
    _define("plan_cache_mode = force_custom_plan", "FROM deleted", FORMER_BY_ID, FORMER_BY_KEY)


def _define(setting: str, from_: str, by_id: str, by_key: str) -> None:
    schema = op.get_bind().scalar(sa.text("SELECT quote_ident(current_schema())"))
    forget = "UPDATE idempotency_keys AS keys SET fingerprint = NULL, body = NULL"
    options = f"SET search_path = pg_catalog, {schema}, pg_temp SET {setting}"
    op.execute(f"""
CREATE OR REPLACE FUNCTION forget_responses() RETURNS trigger LANGUAGE plpgsql {options} AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        {forget} WHERE keys.path = TG_ARGV[0];
    ELSE
        {forget} {from_} WHERE keys.path = TG_ARGV[0] AND {by_id};
    END IF;
    RETURN NULL;
END $$
""")
    op.execute(f"""
CREATE OR REPLACE FUNCTION forget_responses_by_key() RETURNS trigger LANGUAGE plpgsql {options} AS $$
BEGIN
    {forget} {from_} WHERE keys.path = TG_ARGV[0] AND {by_key};
    RETURN NULL;
END $$
""")
