"""Lists in the order of another column than their key: each type of column, in both directions."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Double,
    Engine,
    Enum,
    Identity,
    Integer,
    Interval,
    MetaData,
    Numeric,
    Table,
    Text,
    Time,
    Uuid,
    delete,
    insert,
    select,
    update,
)

from shared.database import read
from shared.database.paged_query import ORDERING_CHARACTERS, PagedQuery
from shared.errors import InvalidRequest
from shared.http.pagination import decode_cursor, encode_cursor
from shared.page import OrderedKey, PagePosition, PageResult
from tests.conftest import Worker
from tests.tables import made
from tests.transactions import REQUEST

LONG = "l" * ORDERING_CHARACTERS
VALUES: dict[str, tuple[Any, list[Any]]] = {
    "whole": (Integer(), [-7, 0, 0, 2**31 - 1]),
    "real": (Double(), [-1e300, 0.1, 0.1, 1 / 3]),
    "amount": (Numeric(20, 3), [Decimal("-0.001"), Decimal(2), Decimal(2), Decimal("1e16")]),
    "is_done": (Boolean(), [False, False, True, True]),
    "title": (Text(), ["", "A", "a \u00e9\U0001f980", LONG + "b", LONG + "a"]),
    "state": (Enum("open", "done", "aborted", name="ordered_state"), ["open", "open", "aborted"]),
    "day": (Date(), [date.min, date(2026, 11, 30), date(2026, 11, 30), date.max]),
    "at": (DateTime(timezone=True), [datetime(2026, 1, 1, 0, 0, 0, n, UTC) for n in (1, 2, 2)]),
    "hour": (Time(), [time(), time(23, 59, 59, 999999), time(12), time(12)]),
    "lasts": (Interval(), [timedelta(days=-1, seconds=3), timedelta(), timedelta(40, 0, 7)]),
    "code": (Uuid(), [UUID(int=1), UUID(int=2**128 - 1), UUID(int=1)]),
}
ordered = Table(
    "made_ordered",
    MetaData(),
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    *(Column(name, type_, nullable=False) for name, (type_, _) in VALUES.items()),
)
ROWS = 7


@pytest.fixture(autouse=True)
def engine(emptied: None) -> Iterator[Engine]:
    """The database with the table, and its rows."""
    rows = [
        {name: values[number % len(values)] for name, (_, values) in VALUES.items()}
        for number in range(ROWS)
    ]
    with made(ordered) as engine:
        with engine.begin() as connection:
            connection.execute(insert(ordered), rows)
        yield engine


def page(
    worker: Worker, query: PagedQuery, start: PagePosition, limit: int, *, descending: bool
) -> PageResult:
    return worker.run(read(REQUEST, query.fetch, start, limit, descending=descending))


def continued(result: PageResult) -> PagePosition:
    """The position of the next page, as a client's cursor has it."""
    assert result.next_key is not None
    return PagePosition(after=decode_cursor(encode_cursor(result.next_key)))


def expected(database: psycopg.Connection[Any], name: str, *, descending: bool) -> list[int]:
    value = f"left({name}, {ORDERING_CHARACTERS})" if name == "title" else name
    order = "DESC" if descending else "ASC"
    statement = f"SELECT id FROM made_ordered ORDER BY {value} {order}, id {order}"
    return [id_ for (id_,) in database.execute(statement.encode())]


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("name", VALUES)
def test_following_next_meets_each_row_once_in_order(
    worker: Worker, database: psycopg.Connection[Any], name: str, descending: bool
) -> None:
    in_order = expected(database, name, descending=descending)
    query = PagedQuery(select(ordered), ordered.c.id, counted=True, order=ordered.c[name])
    for limit in (1, 2, ROWS):
        result = page(worker, query, PagePosition(), limit, descending=descending)
        found = [row.id for row in result.rows]
        while result.next_key is not None:
            result = page(worker, query, continued(result), limit, descending=descending)
            found += [row.id for row in result.rows]
        assert found == in_order
        assert result.total == ROWS
    skipped = page(worker, query, PagePosition(offset=3), 2, descending=descending)
    assert [row.id for row in skipped.rows] == in_order[3:5]


@pytest.mark.parametrize(
    "change",
    [delete(ordered), update(ordered).values(title="zzz")],
    ids=["deleted", "moved"],
)
def test_the_next_page_begins_where_the_last_one_ended_whatever_became_of_its_row(
    worker: Worker, database: psycopg.Connection[Any], engine: Engine, change: Any
) -> None:
    in_order = expected(database, "title", descending=False)
    query = PagedQuery(select(ordered.c.id), ordered.c.id, order=ordered.c.title)
    first = page(worker, query, PagePosition(), 3, descending=False)
    with engine.begin() as connection:
        connection.execute(change.where(ordered.c.id == in_order[2]))
    rest = page(worker, query, continued(first), ROWS, descending=False)
    assert [row.id for row in rest.rows if row.id != in_order[2]] == in_order[3:]


@pytest.mark.parametrize("text", ["", "x", "2026-02-30", "1 OR 1=1", "\0", "9" * 90])
def test_a_cursor_with_a_value_that_the_column_cannot_have_is_rejected(
    worker: Worker, text: str
) -> None:
    for name in ("day", "whole", "code", "state", "is_done"):
        query = PagedQuery(select(ordered.c.id), ordered.c.id, order=ordered.c[name])
        with pytest.raises(InvalidRequest):
            page(worker, query, PagePosition(after=OrderedKey(text, 1)), 1, descending=False)


def test_a_cursor_of_a_list_with_another_kind_of_order_is_rejected(worker: Worker) -> None:
    by_key = PagedQuery(select(ordered.c.id), ordered.c.id)
    by_day = PagedQuery(select(ordered.c.id), ordered.c.id, order=ordered.c.day)
    with pytest.raises(InvalidRequest):
        page(worker, by_day, PagePosition(after=1), 1, descending=False)
    start = PagePosition(after=OrderedKey("2026-11-30", 1))
    with pytest.raises(InvalidRequest):
        page(worker, by_key, start, 1, descending=False)
    start = PagePosition(after=OrderedKey("2026-11-30", "one"))
    with pytest.raises(InvalidRequest):
        page(worker, by_day, start, 1, descending=False)
