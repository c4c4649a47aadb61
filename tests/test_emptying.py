"""The fixture `database` begins with an emptied database, whatever the test before did."""

from typing import Any

import psycopg

from tests.conftest import Emptier
from tests.resources import RESOURCE_TABLES, insert_rows

END_OTHERS = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE pid <> pg_backend_pid() AND datname = current_database()
"""


def test_the_database_is_emptied_also_after_all_connections_were_ended(
    database: psycopg.Connection[Any], emptier: Emptier
) -> None:
    insert_rows(database, 1, 3)
    database.execute(END_OTHERS)
    emptier.empty()
    for table in RESOURCE_TABLES:
        assert database.execute(f"SELECT FROM {table.name}").fetchall() == []
