"""Row counts beside the rows themselves."""

from functools import partial
from typing import Any

import psycopg

from shared.database.models import BLOCK_IDS
from shared.database.paged_query import has_row_counts
from tests.example.models import EXAMPLE
from tests.resources import RESOURCE_TABLES

TABLES = [
    table.name for table in (*RESOURCE_TABLES, *EXAMPLE.sorted_tables) if has_row_counts(table)
]
COUNTED = """
SELECT block, sum(row_count)::int FROM row_counts WHERE table_name = %s
GROUP BY block HAVING sum(row_count) <> 0 ORDER BY block
"""
FOUND = f"SELECT id / {BLOCK_IDS}, count(*)::int FROM TABLE GROUP BY 1 ORDER BY 1"
OUTSIDE_OF_SPANS = f"""
SELECT id FROM TABLE WHERE NOT EXISTS (
    SELECT FROM row_counts WHERE table_name = 'TABLE' AND block = id / {BLOCK_IDS}
    HAVING min(oldest) <= created_at AND max(newest) >= created_at
)
"""


def counted(connection: psycopg.Connection[Any], table: str) -> int:
    row = connection.execute(
        "SELECT coalesce(sum(row_count), 0) FROM row_counts WHERE table_name = %s", [table]
    ).fetchone()
    assert row is not None
    return int(row[0])


def exists(connection: psycopg.Connection[Any], table: str) -> bool:
    """The example's tables are not in every database."""
    return connection.execute("SELECT to_regclass(%s)", [f"public.{table}"]).fetchone() != (None,)


def assert_counts_are_exact(connection: psycopg.Connection[Any]) -> None:
    """Of every block of every table, whose span holds all of its rows."""
    for table in filter(partial(exists, connection), TABLES):
        found = connection.execute(FOUND.replace("TABLE", table)).fetchall()
        assert connection.execute(COUNTED, [table]).fetchall() == found
        outside = connection.execute(OUTSIDE_OF_SPANS.replace("TABLE", table)).fetchall()
        assert outside == []
