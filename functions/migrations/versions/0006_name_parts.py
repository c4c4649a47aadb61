"""One index for all searches by name, and names in Unicode's form NFC.

A search scans the blocks of ids (see `users.search`); the index holds the letters, bigrams and
trigrams of each name, prefixed with its block. It replaces pg_trgm's index, which supports only
letters and digits, and `short_parts`: with those two, searches among a million users took up to
0.9 s. It has no list of pending entries, which a search would read once per block, and costs an
insert about 0.1 ms more.

`fold_case` does not depend on the server's locale: it uses Unicode's simple case mappings in both
directions, so that all three forms of the Greek sigma are equal, and maps ß to ss. The extension
pg_trgm is kept: it may have been installed before.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

FOLD_CASE = """
CREATE FUNCTION fold_case(whole text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN replace(lower(upper(whole COLLATE pg_c_utf8)), 'ß', 'ss')
"""

# They use only pg_catalog, so that a dump can be restored with any search_path.
NAME_PARTS = """
CREATE FUNCTION name_parts(block bigint, whole text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 1000 AS $$
DECLARE
    letters text[] := string_to_array(whole, NULL) || ARRAY['', ''];
    prefix text := block || ':';
    parts text[] := '{}';
BEGIN
    FOR place IN 1 .. cardinality(letters) - 2 LOOP
        parts := parts || ARRAY[
            prefix || letters[place],
            prefix || letters[place] || letters[place + 1],
            prefix || letters[place] || letters[place + 1] || letters[place + 2]
        ];
    END LOOP;
    RETURN parts;
END $$
"""

# At most five: enough to leave few names to compare, and each costs a look-up per block.
SEARCH_PARTS = """
CREATE FUNCTION search_parts(block bigint, part text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    letters integer := length(part);
    parts text[] := '{}';
BEGIN
    FOR place IN 1 .. greatest(letters - 2, 1) BY greatest(letters / 4, 1) LOOP
        parts := parts || (block || ':' || substr(part, place, 3));
    END LOOP;
    RETURN parts;
END $$
"""

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

NORMALIZE_NAMES = """
UPDATE users SET name = normalize(name, NFC) WHERE name IS NOT NFC NORMALIZED
"""

SET_JIT = """
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET jit = VALUE', current_database()); END $$
"""

PENDING_KILOBYTES = 256


def upgrade() -> None:
    op.execute(NORMALIZE_NAMES)
    for function in (FOLD_CASE, NAME_PARTS, SEARCH_PARTS):
        op.execute(function)
    op.execute("SET LOCAL maintenance_work_mem = '256MB'")
    op.create_index(
        "users_name_parts_idx",
        "users",
        [sa.text('name_parts(id >> 12, fold_case(name) COLLATE "C")')],
        postgresql_using="gin",
        postgresql_with={"fastupdate": False},
    )
    # Last, as readers wait from here to the end of the transaction.
    op.drop_index("users_short_parts_idx", "users")
    op.drop_index("users_name_trgm_idx", "users")
    op.execute("DROP FUNCTION short_parts")
    # The estimated cost of a search grows with the table; JIT would take longer than the search.
    op.execute(SET_JIT.replace("VALUE", "off"))


def downgrade() -> None:
    op.execute(SET_JIT.replace("VALUE", "DEFAULT"))
    op.execute(SHORT_PARTS)
    pending = {"gin_pending_list_limit": PENDING_KILOBYTES}
    lower_name = sa.text("lower(name COLLATE pg_c_utf8) gin_trgm_ops")
    for index, expression in (
        ("users_name_trgm_idx", lower_name),
        ("users_short_parts_idx", sa.text("short_parts(name)")),
    ):
        op.create_index(
            index, "users", [expression], postgresql_using="gin", postgresql_with=pending
        )
    op.drop_index("users_name_parts_idx", "users")
    for function in ("name_parts", "search_parts", "fold_case"):
        op.execute(f"DROP FUNCTION {function}")
