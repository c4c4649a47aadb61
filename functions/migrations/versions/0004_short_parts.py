"""Searches for one or two letters, and for parts without three letters in a row.

The trigrams of `users_name_trgm_idx` are no help there. A name has about 30 short parts: they
cost an insert about as much as its trigrams do.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SHORT_PARTS = """
CREATE FUNCTION short_parts(whole text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    letters text[] := string_to_array(lower(whole COLLATE pg_c_utf8), NULL);
    parts text[] := letters;
BEGIN
    FOR place IN 2..cardinality(letters) LOOP
        parts := parts || (letters[place - 1] || letters[place]);
    END LOOP;
    RETURN parts;
END $$
"""


def upgrade() -> None:
    op.execute(SHORT_PARTS)
    op.create_index(
        "users_short_parts_idx", "users", [sa.text("short_parts(name)")], postgresql_using="gin"
    )


def downgrade() -> None:
    op.drop_index("users_short_parts_idx", "users")
    op.execute("DROP FUNCTION short_parts")
