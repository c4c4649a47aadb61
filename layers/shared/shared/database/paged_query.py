"""Queries of one page of a table, in the order of a key.

A page begins after a key (cheap at any depth) or at an offset. In a whole table, the row counts, if
it has them, tell which block of ids has the offset; otherwise, and within the block, an index-only
scan of the key finds it. One row more than the page is read, to know whether there is a next page.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    FromClause,
    Row,
    ScalarSelect,
    Select,
    bindparam,
    cast,
    func,
    select,
)

from shared.database.models import BLOCK_IDS, row_counts
from shared.database.transactions import Reader
from shared.page import PagePosition, PageResult

AFTER = bindparam("_page_after", type_=BigInteger)
OFFSET = bindparam("_page_offset", type_=BigInteger)
ROWS = bindparam("_page_rows", type_=BigInteger)


@dataclass(frozen=True, eq=False)
class PagedQuery:
    """The query of a list in the order of `key`, a column that `statement` selects.

    Each row has a key of its own: a page with one key in several rows is an error, as the next page
    would lack some of them. `counted`: with the total, which an `OffsetPage` shows. Create it once,
    at module level: its statements are cached.
    """

    statement: Select[*tuple[Any, ...]]
    key: Column[Any]
    counted: bool = False

    def __post_init__(self) -> None:
        """Raises `TypeError` for a key that may be null, or that a cursor cannot have."""
        type_ = self.key.type.python_type
        is_in_cursors = type_ in (int, UUID) or (type_ is str and self.key.primary_key)
        if self.key.nullable or not is_in_cursors:
            raise TypeError(
                f"a list cannot be in the order of {self.key}: its key must be an id, a UUID or a"
                " primary key, and not null, as a cursor has nothing else"
            )

    async def fetch(
        self,
        reader: Reader,
        start: PagePosition,
        limit: int,
        parameters: Mapping[str, object] | None = None,
        *,
        descending: bool = False,
    ) -> PageResult:
        """Return up to `limit` rows from `start`; `parameters` are those of the statement.

        The total is read in the same round trip, unless the page has no rows. Raises
        `InvalidRequest` for the cursor of a list with keys of another type.
        """
        after = start.key(self.key.type.python_type)
        page = _page(self, descending, after=after is not None, offset=start.offset > 0)
        bounds = {AFTER.key: after, OFFSET.key: start.offset, ROWS.key: limit + 1}
        given = {**(parameters or {}), **bounds}
        rows = (await reader.execute(page, given)).all()
        if not self.counted:
            return to_page(rows, self.key, limit)
        count = rows[0]._total if rows else (await reader.execute(self.total, given)).scalar()
        return to_page(rows, self.key, limit, count or 0)

    @cached_property
    def is_whole_table(self) -> bool:
        """Whether the statement selects every row of a table with row counts."""
        if self.key.identity is None or not has_row_counts(self.key.table):
            return False
        columns = self.statement.selected_columns
        is_single = self.statement.get_final_froms() == [self.key.table]
        return is_single and self.statement.with_only_columns(*columns).compare(select(*columns))

    @cached_property
    def total(self) -> Select[int]:
        """The query of the number of rows."""
        if self.is_whole_table:
            return row_count(self.key.table.name)
        # In a subquery, since the rows of a statement with GROUP BY or DISTINCT are its groups.
        keys = self.statement.with_only_columns(self.key, maintain_column_froms=True)
        return select(func.count()).select_from(keys.subquery())


def has_row_counts(table: FromClause) -> bool:
    """Whether the table's triggers maintain row counts: it has identity ids and `created_at`."""
    id_ = table.c.get("id")
    return isinstance(id_, Column) and id_.identity is not None and "created_at" in table.c


def to_page(
    rows: Sequence[Row[*tuple[Any, ...]]],
    key: Column[Any],
    limit: int,
    total: int = 0,
) -> PageResult:
    """Return the page of the first `limit` rows; an additional row means that others follow.

    Raises `TypeError` if several rows have one key.
    """
    if len({getattr(row, key.key) for row in rows}) < len(rows):
        raise TypeError(f"several rows of a page have one {key}: group them by it")
    next_key = getattr(rows[limit - 1], key.key) if len(rows) > limit else None
    return PageResult(rows[:limit], next_key, total)


def row_count(table_name: str) -> Select[int]:
    """Return the query of the table's exact number of rows."""
    count = cast(func.coalesce(func.sum(row_counts.c.row_count), 0), BigInteger)
    return select(count).where(row_counts.c.table_name == table_name)


@cache
def _page(
    query: PagedQuery, descending: bool, *, after: bool, offset: bool
) -> Select[*tuple[Any, ...]]:
    statement, key = query.statement, query.key
    order = key.desc() if descending else key.asc()
    if after:
        last = bindparam(AFTER.key, type_=key.type)
        statement = statement.where(key < last if descending else key > last)
    if offset:
        keys = statement.with_only_columns(key).order_by(order)
        whole = query.is_whole_table
        first = _counted_key(keys, key, descending) if whole else _key_at(keys, OFFSET)
        statement = statement.where(key <= first if descending else key >= first)
    page = statement.order_by(order).limit(ROWS)
    if not query.counted:
        return page
    return page.add_columns(query.total.scalar_subquery().label("_total"))


def _counted_key(keys: Select[int], key: Column[Any], descending: bool) -> ScalarSelect[int]:
    """Return the key at OFFSET, NULL past the end: find its block by the counts, then the key."""
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
