"""What the migrations make of the posts: indexes, row counts."""

import pytest

from shared.database.models import BLOCK_IDS
from tests.migrations.conftest import Migrate, Schema
from tests.migrations.counts import assert_counts_are_exact, counted
from tests.migrations.plans import assert_index

USERS = """
INSERT INTO users (name, email) SELECT 'A', gen_random_uuid() FROM generate_series(1, %s)
"""
QUERIES = [
    "SELECT * FROM posts WHERE user_id = 7",
    "SELECT * FROM posts WHERE user_id = 7 AND id < 9 ORDER BY id DESC LIMIT 10",
    "SELECT user_id, count(*) FROM posts WHERE user_id > 7 GROUP BY user_id"
    " ORDER BY user_id LIMIT 10",
]


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_by_user_uses_the_index(migrated: Schema, query: str) -> None:
    assert_index("posts_user_id_id_idx", migrated, query)


def test_rows_are_counted_again_where_the_counts_change(schema: Schema, migrate: Migrate) -> None:
    schema.execute(USERS, [BLOCK_IDS + 10])
    schema.execute("INSERT INTO posts (user_id, title, content) SELECT id, 'T', 'C' FROM users")
    schema.execute("DELETE FROM users WHERE id = 1")
    migrate(action="downgrade", revision="0002")
    assert counted(schema, "users") == counted(schema, "posts") == BLOCK_IDS + 9
    schema.execute("DELETE FROM users WHERE id = 2")
    assert counted(schema, "users") == counted(schema, "posts") == BLOCK_IDS + 8
    migrate()
    assert counted(schema, "users") == counted(schema, "posts") == BLOCK_IDS + 8
    assert_counts_are_exact(schema)
