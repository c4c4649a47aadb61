"""The tables derived from each operation's statements are those that PostgreSQL reports.

Each operation of the API is run. Each of its reads runs in a transaction of its own, whose locks
tell the tables that it read (AccessShareLock), and what each statement of a write adds to its
transaction's locks tells those that it changed (RowExclusiveLock): by whatever way, be it joins,
views, functions, triggers or cascades.
"""

from typing import Any

import httpx
import pytest
from sqlalchemy import delete

from shared.database.changes import changes_of
from shared.database.dependencies import dependencies_of
from shared.database.reads import Reader
from shared.database.transactions import Transaction
from tests.every_resource.conftest import locked
from tests.every_resource.document import ALL_WRITES, DOCUMENT, LISTS, Write, url_of
from tests.example.models import writers

READS = sorted(
    {listed.url() for listed in LISTS}
    | {url_of(path, 1) for path, methods in DOCUMENT["paths"].items() if "get" in methods}
)


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """The tables that PostgreSQL reported for each statement, every one of them compared."""
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
        before = await locked(self._connection, "RowExclusiveLock")
        result = await run_change(self, changes, values)
        changed = await locked(self._connection, "RowExclusiveLock") - before
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
    response = write.send(api)
    assert write.is_done(response) or not write.kind
    assert any(compared) or not write.kind or write.is_rejected(response.status_code)


def test_every_table_that_a_delete_reaches_is_derived() -> None:
    reached = changes_of(delete(writers)).tables({})
    assert reached.keys() >= {"writers", "articles"}
