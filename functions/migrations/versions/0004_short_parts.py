"""An index for searches of one or two letters, and of text without three consecutive letters.

The trigrams of `users_name_trgm_idx` do not support them. A name has about 30 letters and bigrams,
which cost an insert about as much as its trigrams. Each search reads the index's whole list of
pending entries, which takes less than a millisecond with a limit of 256 kB instead of 4 MB.
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


PENDING_KILOBYTES = 256


def upgrade() -> None:
    op.execute(SHORT_PARTS)
    op.create_index(
        "users_short_parts_idx",
        "users",
        [sa.text("short_parts(name)")],
        postgresql_using="gin",
        postgresql_with={"gin_pending_list_limit": PENDING_KILOBYTES},
    )
    op.execute(
        f"ALTER INDEX users_name_trgm_idx SET (gin_pending_list_limit = {PENDING_KILOBYTES})"
    )


def downgrade() -> None:
    op.execute("ALTER INDEX users_name_trgm_idx RESET (gin_pending_list_limit)")
    op.drop_index("users_short_parts_idx", "users")
    op.execute("DROP FUNCTION short_parts")
