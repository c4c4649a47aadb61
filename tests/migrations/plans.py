"""The plans of queries."""

import psycopg


def assert_index(index: str, connection: psycopg.Connection[object], query: str) -> None:
    """Assert that the query reads this index and sorts nothing."""
    connection.execute("SET enable_seqscan = off")
    plan = "\n".join(str(row) for row in connection.execute(f"EXPLAIN {query}".encode()))
    assert index in plan
    assert "Sort" not in plan
