"""What is derived of each operation's statements is what PostgreSQL reports.

Each operation of the API is run. Each of its reads runs in a transaction of its own, whose locks
tell the tables that it read (AccessShareLock), and after each statement of a write the locks tell
those that have changed (RowExclusiveLock): by whatever way, be it joins, views, functions, triggers
or cascades.
"""

from typing import Any

import httpx
import pytest
from sqlalchemy import delete, text

from shared.database.dependencies import (
    DERIVED_FROM,
    ROWS_OF,
    UNTRACKED,
    changes_of,
    dependencies_of,
)
from shared.database.models import METADATA
from shared.database.transactions import Reader, Transaction
from tests.every_resource.document import ALL_WRITES, DOCUMENT, LISTS, Write, target_of
from tests.example.models import writers

LOCKS = text("""
SELECT relation::regclass::text, mode FROM pg_locks
WHERE pid = pg_backend_pid() AND locktype = 'relation'
""")
READS = sorted(
    {listed.url() for listed in LISTS}
    | {target_of(path, 1) for path, methods in DOCUMENT["paths"].items() if "get" in methods}
)


async def locked(connection: Any, mode: str) -> set[str]:
    """The tables of the models that this transaction has locked so, but for those kept by triggers
    or written apart."""
    rows = (await connection.execute(LOCKS)).all()
    tables = {name for name, held in rows if held == mode} & METADATA.tables.keys()
    return {name for name in tables if not _is_apart(name)}


def _is_apart(name: str) -> bool:
    return not {ROWS_OF, DERIVED_FROM, UNTRACKED}.isdisjoint(METADATA.tables[name].info)


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """The tables that PostgreSQL reported of each statement; each was compared."""
    reported: list[set[str]] = []

    async def execute(self: Reader, statement: Any, values: Any = None) -> Any:
        await self._connection.exec_driver_sql("BEGIN")
        result = await run_read(self, statement, values)
        read = await locked(self._connection, "AccessShareLock")
        await self._connection.exec_driver_sql("COMMIT")
        assert read <= dependencies_of(statement, values).keys()
        reported.append(read)
        return result

    async def change(self: Transaction, changes: Any, values: Any) -> Any:
        result = await run_change(self, changes, values)
        changed = await locked(self._connection, "RowExclusiveLock")
        assert changed <= changes.tables(values or {}).keys()
        reported.append(changed)
        return result

    run_read, run_change = Reader.execute, Transaction._change
    monkeypatch.setattr(Reader, "execute", execute)
    monkeypatch.setattr(Transaction, "_change", change)
    return reported


@pytest.mark.parametrize("url", READS)
def test_a_read_reads_what_is_derived(
    api: httpx.Client, few_rows: None, compared: list[set[str]], url: str
) -> None:
    assert api.get(url).status_code < 500
    for read in compared:
        assert read or url == "/health"


@pytest.mark.parametrize("write", ALL_WRITES, ids=str)
def test_a_write_changes_what_is_derived(
    api: httpx.Client, few_rows: None, compared: list[set[str]], write: Write
) -> None:
    assert write.send(api).is_success or not write.kind
    assert any(compared) or not write.kind


def test_every_table_that_a_delete_reaches_is_derived() -> None:
    reached = changes_of(delete(writers)).tables({})
    assert reached.keys() >= {"writers", "articles"}
