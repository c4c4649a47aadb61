"""Queries of one page of a table, in the order of a key, or of another column and the key.

A page begins after a key (cheap at any depth) or at an offset. In a whole table, the row counts, if
it has them, tell which block of ids has the offset; otherwise, and within the block, an index-only
scan of the key finds it. One row more than the page is read, to know whether there is a next page.

A place in the order of another column is that column's value as PostgreSQL casts it to a text and
back, and the key; so the next page begins there even if the row has been changed or deleted. A text
is ordered by its first `ORDERING_CHARACTERS`, which bounds cursors; its index is one of
`func.left(column, 100)` and the key.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from functools import cache, cached_property
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Enum,
    FromClause,
    Join,
    Over,
    Row,
    ScalarSelect,
    Select,
    String,
    Text,
    bindparam,
    cast,
    func,
    select,
    tuple_,
)
from sqlalchemy.exc import DataError
from sqlalchemy.sql import visitors
from sqlalchemy.sql.selectable import FromGrouping

from shared.database.models import BLOCK_IDS, row_counts
from shared.database.reads import Reader
from shared.database.statements import require_id
from shared.page import OrderedKey, PagePosition, PageResult, invalid_cursor

AFTER = bindparam("_page_after", type_=BigInteger)
OFFSET = bindparam("_page_offset", type_=BigInteger)
ROWS = bindparam("_page_rows", type_=BigInteger)
AFTER_TEXT = bindparam("_page_after_text", type_=Text)
ORDERING_CHARACTERS = 100
ORDERING_TYPES = (bool, int, float, Decimal, str, date, time, timedelta, UUID)


@dataclass(frozen=True, eq=False)
class PagedQuery:
    """The query of a list in the order of `key`, a column that `statement` selects.

    `order` is the column that orders the list, if it is not `key`, which then orders its equal
    values. Each row has a key of its own: a page with one key in several rows is an error, as the
    next page would lack some of them. A page's beginning and order are added to the statement.
    `counted`: with the total, which an `OffsetPage` shows.
    Create it once, at module level: its statements are cached.
    """

    statement: Select[*tuple[Any, ...]]
    key: Column[Any]
    counted: bool = False
    order: Column[Any] | None = None

    def __post_init__(self) -> None:
        """Raises `TypeError` for columns that may be null, or that a cursor cannot have, and for a
        statement that is in an order of its own, or selects another column by the key's name."""
        order, key, statement = self.order, self.key, self.statement
        if order is not None and (
            self._may_be_null(order) or not issubclass(order.type.python_type, ORDERING_TYPES)
        ):
            raise TypeError(
                f"a list cannot be in the order of {order}: the column must not be null, and its"
                " values must be numbers, texts, times or the like"
            )
        require_id(key)
        type_ = key.type.python_type
        is_in_cursors = type_ in (int, UUID) or (type_ is str and key.primary_key)
        if self._may_be_null(key) or not is_in_cursors:
            raise TypeError(
                f"a list cannot have the key {key}: it must be an id, a UUID or a primary key,"
                " and not null, as a cursor has nothing else; for another order, give `order`"
            )
        if not statement.compare(statement.order_by(None).limit(None).offset(None)):
            raise TypeError("a list's statement has no ORDER BY, LIMIT or OFFSET: give `order`")
        selected = statement.selected_columns.get(key.key)
        if getattr(selected, "element", selected) is not key:
            raise TypeError(f"a list's statement must select its key {key} as {key.key}")
        parts = (part for one in statement.selected_columns for part in visitors.iterate(one))
        if any(isinstance(part, Over) for part in parts):
            raise TypeError(
                "a list's statement has no window function, which would see only the rows from the"
                " page's beginning: select it from a subquery"
            )

    def _may_be_null(self, column: Column[Any]) -> bool:
        """Whether a row of the statement may have no value, as after an outer join."""
        froms = self.statement.get_final_froms()
        return bool(column.nullable) or any(_may_lack(one, column.table) for one in froms)

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
        key_type, has_order = self.key.type.python_type, self.order is not None
        text, after = start.ordered_key(key_type) if has_order else (None, start.key(key_type))
        page = _page(self, descending, after=after is not None, offset=start.offset > 0)
        bounds = {AFTER.key: after, OFFSET.key: start.offset, ROWS.key: limit + 1}
        given = {**(parameters or {}), **bounds, AFTER_TEXT.key: text}
        try:
            rows = (await reader.execute(page, given)).all()
        except DataError:
            if text is None:
                raise
            raise invalid_cursor() from None  # the text is no value of the column
        if not self.counted:
            return to_page(rows, self.key, limit)
        count = rows[0]._total if rows else (await reader.execute(self.total, given)).scalar()
        return to_page(rows, self.key, limit, count or 0)

    @property
    def ordering(self) -> ColumnElement[Any]:
        """The value that orders the list before the key."""
        assert self.order is not None
        is_text = isinstance(self.order.type, String) and not isinstance(self.order.type, Enum)
        return func.left(self.order, ORDERING_CHARACTERS, type_=Text) if is_text else self.order

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
        keys = self.statement.with_only_columns(self.key)
        return select(func.count()).select_from(keys.subquery())


def _may_lack(part: FromClause, table: FromClause) -> bool:
    """Whether rows of a FROM may have no row of the table."""
    join = part.element if isinstance(part, FromGrouping) else part
    if not isinstance(join, Join):
        return False
    is_left, is_right = _joins(join.left, table), _joins(join.right, table)
    return (
        (is_right and (join.isouter or join.full))
        or (is_left and join.full)
        or _may_lack(join.left, table)
        or _may_lack(join.right, table)
    )


def _joins(part: FromClause, table: FromClause) -> bool:
    """Whether the table is one of those that a FROM joins, and not only in a subquery of it."""
    one = part.element if isinstance(part, FromGrouping) else part
    if isinstance(one, Join):
        return _joins(one.left, table) or _joins(one.right, table)
    return one is table


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
    if len(rows) <= limit:
        return PageResult(rows, None, total)
    last = rows[limit - 1]
    next_key, text = getattr(last, key.key), getattr(last, "_page_text", None)
    place = next_key if text is None else OrderedKey(text, next_key)
    return PageResult(rows[:limit], place, total)


def row_count(table_name: str) -> Select[int]:
    """Return the query of the table's exact number of rows."""
    count = cast(func.coalesce(func.sum(row_counts.c.row_count), 0), BigInteger)
    return select(count).where(row_counts.c.table_name == table_name)


@cache
def _page(
    query: PagedQuery, descending: bool, *, after: bool, offset: bool
) -> Select[*tuple[Any, ...]]:
    statement = query.statement
    places: list[ColumnElement[Any]] = [query.key]
    last: list[ColumnElement[Any]] = [bindparam(AFTER.key, type_=query.key.type)]
    if query.order is not None:
        ordering = query.ordering
        statement = statement.add_columns(cast(ordering, Text).label("_page_text"))
        places, last = [ordering, *places], [cast(AFTER_TEXT, ordering.type), *last]
    if after:
        place, bound = tuple_(*places), tuple_(*last)
        statement = statement.where(place < bound if descending else place > bound)
    if offset:
        statement = _at_offset(query, statement, descending)
    page = statement.order_by(*(_directed(one, descending) for one in places)).limit(ROWS)
    if not query.counted:
        return page
    return page.add_columns(query.total.scalar_subquery().label("_total"))


def _at_offset(
    query: PagedQuery, statement: Select[*tuple[Any, ...]], descending: bool
) -> Select[*tuple[Any, ...]]:
    key = query.key
    if query.order is not None:
        return statement.offset(OFFSET)
    # The query of the keys has rows of its own, not those of the statement around it.
    keys = statement.with_only_columns(key).correlate(None).order_by(_directed(key, descending))
    whole = query.is_whole_table
    first = _counted_key(keys, key, descending) if whole else _key_at(keys, OFFSET)
    return statement.where(key <= first if descending else key >= first)


def _directed(column: ColumnElement[Any], descending: bool) -> ColumnElement[Any]:
    return column.desc() if descending else column.asc()


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
