"""Reading one page of a table in the order of a key.

A page begins after a key (cheap at any depth) or after a number of rows (an index-only scan of
the key finds where). One row more than the page is read, to know whether there is a next one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Row, Select, cast, func, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import InstrumentedAttribute

from blog.models import RowCount


@dataclass(frozen=True, slots=True)
class Start:
    """Where a page begins: after a number of rows, or after a key (0 is the start)."""

    offset: int = 0
    after: int = 0


@dataclass(frozen=True, slots=True)
class Slice:
    """A page's rows; `last_key` is None where none follow; `total` is 0 unless asked for."""

    rows: Sequence[Row[*tuple[Any, ...]]]
    last_key: int | None
    total: int = 0


async def fetch_slice(
    connection: AsyncConnection,
    statement: Select[*tuple[Any, ...]],
    key: InstrumentedAttribute[int],
    start: Start,
    limit: int,
    *,
    descending: bool = False,
    total: Select[int] | None = None,
) -> Slice:
    """Up to `limit` rows of `statement` in the order of `key`, which it must select.

    `total` is a statement of one number; it is read in the same round trip unless there are no
    rows.
    """
    page = _from_start(statement, key, start, descending).limit(limit + 1)
    if total is not None:
        page = page.add_columns(total.scalar_subquery().label("total"))
    rows = (await connection.execute(page)).all()
    last_key = getattr(rows[limit - 1], key.key) if len(rows) > limit else None
    if total is None:
        return Slice(rows[:limit], last_key)
    count = rows[0].total if rows else await connection.scalar(total)
    return Slice(rows[:limit], last_key, count or 0)


def row_count(table_name: str) -> Select[int]:
    """A statement of the exact number of the table's rows."""
    count = cast(func.coalesce(func.sum(RowCount.row_count), 0), BigInteger)
    return select(count).where(RowCount.table_name == table_name)


def _from_start(
    statement: Select[*tuple[Any, ...]],
    key: InstrumentedAttribute[int],
    start: Start,
    descending: bool,
) -> Select[*tuple[Any, ...]]:
    order = key.desc() if descending else key.asc()
    if start.after:
        statement = statement.where(key < start.after if descending else key > start.after)
    if start.offset:
        first_key = statement.with_only_columns(key).order_by(order).offset(start.offset).limit(1)
        first = first_key.scalar_subquery()
        statement = statement.where(key <= first if descending else key >= first)
    return statement.order_by(order)
