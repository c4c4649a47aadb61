"""Reading one page of a table in the order of a key.

A page begins after a key (cheap at any depth) or after a number of rows. In a whole table the row
counts tell in which block of ids that is; within the block, or in a part of a table, an index-only
scan of the key finds it. One row more than the page is read, to know whether there is a next page.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Row,
    ScalarSelect,
    Select,
    bindparam,
    cast,
    func,
    select,
)

from blog.database.models import BLOCK_IDS, row_counts
from blog.database.transactions import Reader
from blog.page import PagePosition, PageResult

AFTER = bindparam("page_after", type_=BigInteger)
OFFSET = bindparam("page_offset", type_=BigInteger)
ROWS = bindparam("page_rows", type_=BigInteger)


@dataclass(frozen=True, eq=False)
class PagedQuery:
    """A list in the order of `key`, which `statement` must select.

    `total` is a statement of one number, None where it is not asked for. Make a listing once and
    keep it: its statements are built at their first use.
    """

    statement: Select[*tuple[Any, ...]]
    key: Column[int]
    descending: bool = False
    total: Select[int] | None = None
    whole_table: bool = False
    """The statement selects every row of the key's table."""


async def fetch_page(
    reader: Reader,
    listing: PagedQuery,
    start: PagePosition,
    limit: int,
    parameters: Mapping[str, object] | None = None,
) -> PageResult:
    """Return up to `limit` rows of the listing, whose statement takes the `parameters`.

    The total is read in the same round trip unless there are no rows.
    """
    page = _page(listing, after=start.after > 0, offset=start.offset > 0)
    bounds = {"page_after": start.after, "page_offset": start.offset, "page_rows": limit + 1}
    given = {**(parameters or {}), **bounds}
    rows = (await reader.execute(page, given)).all()
    if listing.total is None:
        return to_page(reader, rows, listing.key, limit)
    count = rows[0].total if rows else (await reader.execute(listing.total, given)).scalar()
    return to_page(reader, rows, listing.key, limit, count or 0)


def to_page(
    reader: Reader,
    rows: Sequence[Row[*tuple[Any, ...]]],
    key: Column[int],
    limit: int,
    total: int = 0,
) -> PageResult:
    """Return the first `limit` of the rows; one more means that others follow."""
    next_key = getattr(rows[limit - 1], key.key) if len(rows) > limit else None
    return PageResult(rows[:limit], next_key, reader.depends_on, total, reader.names_caller)


def row_count(table_name: str) -> Select[int]:
    """A statement of the exact number of the table's rows."""
    count = cast(func.coalesce(func.sum(row_counts.c.row_count), 0), BigInteger)
    return select(count).where(row_counts.c.table_name == table_name)


@cache
def _page(listing: PagedQuery, *, after: bool, offset: bool) -> Select[*tuple[Any, ...]]:
    statement, key, descending = listing.statement, listing.key, listing.descending
    order = key.desc() if descending else key.asc()
    if after:
        statement = statement.where(key < AFTER if descending else key > AFTER)
    if offset:
        keys = statement.with_only_columns(key).order_by(order)
        first = _counted_key(keys, listing) if listing.whole_table else _key_at(keys, OFFSET)
        statement = statement.where(key <= first if descending else key >= first)
    page = statement.order_by(order).limit(ROWS)
    if listing.total is None:
        return page
    return page.add_columns(listing.total.scalar_subquery().label("total"))


def _counted_key(keys: Select[int], listing: PagedQuery) -> ScalarSelect[int]:
    """The key after OFFSET others, NULL beyond the last: the block by its counts, then its keys."""
    key, descending = listing.key, listing.descending
    rows = func.sum(row_counts.c.row_count)
    block_order = row_counts.c.block.desc() if descending else row_counts.c.block.asc()
    counts = (
        select(row_counts.c.block, rows.label("rows"))
        .add_columns((func.sum(rows).over(order_by=block_order) - rows).label("rows_before"))
        .where(row_counts.c.table_name == key.table.name)
        .group_by(row_counts.c.block)
        .subquery()
    )
    rest = OFFSET - counts.c.rows_before
    start = (
        select(counts.c.block, cast(rest, BigInteger).label("rest"))
        .where(rest >= 0, rest < counts.c.rows)
        .cte("start")
    )
    first_id, next_id = start.c.block * BLOCK_IDS, (start.c.block + 1) * BLOCK_IDS
    if descending:
        keys = keys.where(key < select(next_id).scalar_subquery())
    else:
        keys = keys.where(key >= select(first_id).scalar_subquery())
    return _key_at(keys, select(start.c.rest).scalar_subquery())


def _key_at(keys: Select[int], offset: ColumnElement[int]) -> ScalarSelect[int]:
    return keys.offset(offset).limit(1).scalar_subquery()
