"""The API over rows of every resource."""

from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
from sqlalchemy import text

from local.services import Services
from shared.database.models import identities
from shared.database.transactions import Transaction
from tests.in_process import client_of
from tests.resources import EMPTY, SEEDED, delete_referring, insert_rows, insert_unreferred

ROWS = 23
"""More than two pages of the default limit."""
FEW_ROWS = 3
TABLES = {table.name for table in (*SEEDED, identities)}
LOCKS = text("""
SELECT relation::regclass::text, mode FROM pg_locks
WHERE pid = pg_backend_pid() AND locktype = 'relation'
""")


@pytest.fixture(scope="module")
def filled_api(services: Services) -> Iterator[httpx.Client]:
    """The API with rows 1 to `ROWS` of every resource, for tests that only read."""
    with (
        psycopg.connect(services.database_url, autocommit=True) as database,
        client_of() as client,
    ):
        database.execute(EMPTY)
        insert_rows(database, 1, ROWS)
        yield client


@pytest.fixture
def few_rows(request: pytest.FixtureRequest, database: psycopg.Connection[Any]) -> None:
    """Fewer rows of every resource than a page has, so that the first page shows each change.

    Where the test's `write` is a deletion, there are no rows that would stop it.
    """
    insert_rows(database, 1, FEW_ROWS)
    insert_unreferred(database, FEW_ROWS + 1)
    write = getattr(request.node, "callspec", None) and request.node.callspec.params.get("write")
    if write is not None and write.kind == "delete":
        delete_referring(database, write.table)


async def locked(connection: Any, mode: str) -> set[str]:
    """Those of `TABLES` that this transaction has locked in this mode."""
    rows = (await connection.execute(LOCKS)).all()
    return {name for name, held in rows if held == mode} & TABLES


@pytest.fixture
def changed(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The tables that, as PostgreSQL reports, the test's writes have changed."""
    reported: set[str] = set()

    async def change(self: Transaction, *given: Any) -> Any:
        result = await run_change(self, *given)
        reported.update(await locked(self._connection, "RowExclusiveLock"))
        return result

    run_change = Transaction._change
    monkeypatch.setattr(Transaction, "_change", change)
    return reported
