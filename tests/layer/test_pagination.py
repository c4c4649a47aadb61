"""Cursors, page numbers and totals."""

import json
from typing import Annotated, Any

import httpx
import pytest
from pydantic import ConfigDict, Field
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    Identity,
    Join,
    MetaData,
    Select,
    Table,
    func,
    select,
    true,
)

from shared.database import read
from shared.database.paged_query import ORDERING_CHARACTERS, PagedQuery
from shared.errors import InvalidRequest
from shared.http.fields import KEY, MAX_ID
from shared.http.pagination import (
    CursorPage,
    CursorParameters,
    OffsetPage,
    PageParameters,
    decode_cursor,
    encode_cursor,
    next_url,
    page_content,
    page_response,
)
from shared.page import ItemKey, OrderedKey, PagePosition, PageResult
from shared.request import ApiRequest
from tests.conftest import Worker
from tests.example.models import articles, writers
from tests.properties import example, given, st
from tests.resources import insert_rows_of
from tests.transactions import REQUEST


class NameParameters(PageParameters):
    name: str = ""


IDS = st.integers(min_value=0, max_value=MAX_ID)
KEYS = st.one_of(IDS, st.uuids(), st.from_regex(KEY, fullmatch=True))
LONGEST = "\U0001f980" * ORDERING_CHARACTERS


@given(KEYS)
def test_a_cursor_is_decoded_to_its_key(key: ItemKey) -> None:
    assert decode_cursor(encode_cursor(key)) == key


@given(st.text(), KEYS)
@example(LONGEST, "k" * 40)
def test_a_cursor_is_decoded_to_its_place_in_an_order(text: str, key: ItemKey) -> None:
    cursor = encode_cursor(OrderedKey(text, key))
    assert decode_cursor(cursor) == OrderedKey(text, key)
    if len(text) <= ORDERING_CHARACTERS:
        assert CursorParameters(cursor=cursor).position == PagePosition(after=OrderedKey(text, key))


@given(st.text(alphabet="ABab01-_", max_size=30).filter(lambda text: len(text) != 11))
def test_an_invented_cursor_is_rejected(cursor: str) -> None:
    with pytest.raises(InvalidRequest):
        decode_cursor(cursor)


@pytest.mark.parametrize("position", [-1, -(2**63)])
def test_a_cursor_of_a_negative_position_is_rejected(position: int) -> None:
    with pytest.raises(InvalidRequest):
        decode_cursor(encode_cursor(position))


def test_a_page_begins_where_its_parameters_say() -> None:
    next_page = NameParameters(name="Ada").page_fields("/writers", PageResult([], 7, 0))["next"]
    cursor = str(next_page).rpartition("cursor=")[2]

    assert PageParameters().position == PagePosition()
    assert PageParameters(skip=5).position == PagePosition(offset=5)
    assert PageParameters(page=3, limit=20).position == PagePosition(offset=40)
    assert NameParameters(name="Ada", cursor=cursor).position == PagePosition(after=7)


@given(st.integers(0, 10_000), st.integers(1, 100))
def test_pages_hold_all_items_and_no_page_is_empty(total: int, limit: int) -> None:
    fields = PageParameters(limit=limit).page_fields("/writers", PageResult([], None, total))
    pages = fields["total_pages"]
    assert isinstance(pages, int)
    assert pages * limit >= total
    assert (pages - 1) * limit < total or pages == total == 0


@pytest.mark.parametrize(
    ("parameters", "page"),
    [
        (PageParameters(), 1),
        (PageParameters(skip=10), 2),
        (PageParameters(skip=5), None),
        (PageParameters(page=7), 7),
        (PageParameters(cursor=encode_cursor(10)), None),
    ],
)
def test_a_page_has_a_number_if_it_is_page_aligned(
    parameters: PageParameters, page: int | None
) -> None:
    assert parameters.page_number == page


def test_the_largest_page_begins_within_the_databases_integers() -> None:
    assert PageParameters(page=MAX_ID // 100, limit=100).position.offset <= MAX_ID


def test_next_leaves_out_what_is_not_given_and_escapes_the_rest() -> None:
    path = next_url("/writers/search", 7, name="a&b=%ü", limit=10)
    cursor = encode_cursor(7)
    assert path == f"/writers/search?name=a%26b%3D%25%C3%BC&limit=10&cursor={cursor}"
    assert next_url("/writers", None, limit=10) is None
    fields = NameParameters().page_fields("/writers", PageResult([], 7, 0))
    assert "name" not in str(fields["next"])


class RepeatedParameters(CursorParameters):
    tag: Annotated[list[str], Field(default_factory=list)]
    done: bool | None = None


@pytest.mark.parametrize(
    ("path", "escaped"),
    [
        ('/notes/of/a "b"?#/ü%20\r\n', "/notes/of/a%20%22b%22%3F%23/%C3%BC%2520%0D%0A"),
        ("/notes/@a:b-c.d_e~f", "/notes/@a:b-c.d_e~f"),
    ],
)
def test_next_escapes_the_path(path: str, escaped: str) -> None:
    assert (next_url(path, 7) or "").partition("?")[0] == escaped


def test_next_repeats_a_parameter_that_is_a_list() -> None:
    given = RepeatedParameters(tag=["a", "b,c"], done=True)
    page = given.page_fields("/notes", PageResult([], 7, 0))
    query = httpx.URL(str(page["next"])).params
    again = RepeatedParameters(tag=query.get_list("tag"), done=query["done"])  # type: ignore[arg-type]
    assert (again.tag, again.done) == (given.tag, given.done)
    assert query["done"] == "true"


@pytest.mark.parametrize("next_key", [7, None])
def test_cached_content_becomes_body_and_link(next_key: int | None) -> None:
    result = PageResult(["line\nend", "ü"], next_key, 2)
    content = page_content(CursorPage[str], "/writers", CursorParameters(limit=2), result)
    response = page_response(ApiRequest(), content)

    body = json.loads(bytes(response.body))
    assert (body["data"], body["limit"]) == (["line\nend", "ü"], 2)
    assert response.headers.get("link") == (f'<{body["next"]}>; rel="next"' if next_key else None)
    assert response.headers["content-type"] == "application/json"


def test_only_the_link_of_a_page_gets_the_base_path() -> None:
    own = next_url("/writers", 7, limit=2)
    result = PageResult([{"next": own}], 7, 1)
    schema = OffsetPage[dict[str, str]]
    content = page_content(schema, "/writers", PageParameters(limit=2), result)
    body = json.loads(bytes(page_response(ApiRequest(base_path="/v1"), content).body))
    assert (body["data"], body["next"]) == ([{"next": own}], f"/v1{own}")


class LoudPage(OffsetPage[dict[str, str]]):
    model_config = ConfigDict(alias_generator=str.upper)


def test_the_link_of_a_page_may_have_an_alias() -> None:
    content = page_content(LoudPage, "/writers", PageParameters(limit=2), PageResult([], 7, 1))
    response = page_response(ApiRequest(base_path="/v1"), content)
    body = json.loads(bytes(response.body))
    assert response.headers["link"] == f'<{body["NEXT"]}>; rel="next"'
    assert body["NEXT"].startswith("/v1/writers?")


UNCOUNTED = Table("things", MetaData(), Column("id", BigInteger, Identity(), primary_key=True))


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(articles.c.title, id="a text"),
        pytest.param(articles.c.created_at, id="a time"),
        pytest.param(Column("maybe", BigInteger), id="null"),
    ],
)
def test_a_list_has_no_key_that_a_cursor_cannot_continue(key: Column[Any]) -> None:
    with pytest.raises(TypeError, match=f"the key {key}"):
        PagedQuery(select(articles), key)


@pytest.mark.parametrize(
    "statement",
    [
        select(articles).order_by(articles.c.title),
        select(articles).limit(5),
        select(articles).offset(5),
        select(articles.c.title),
        select(articles.c.writer_id.label("id")),
        select(writers.c.id, articles.c.id).join(articles),
        select(articles, (func.rank().over(order_by=articles.c.title) + 1).label("place")),
    ],
    ids=["an order", "a limit", "an offset", "no key", "another id", "a joined id", "a window"],
)
def test_a_list_whose_next_pages_would_be_wrong_is_rejected(
    statement: Select[*tuple[Any, ...]],
) -> None:
    with pytest.raises(TypeError, match="a list's statement"):
        PagedQuery(statement, articles.c.id)


@pytest.mark.parametrize(
    "order",
    [
        pytest.param(Column("maybe", BigInteger), id="null"),
        pytest.param(Column("many", ARRAY(BigInteger), nullable=False), id="an array"),
    ],
)
def test_a_list_is_in_no_order_of_values_without_one(order: Column[Any]) -> None:
    with pytest.raises(TypeError, match=f"in the order of {order}"):
        PagedQuery(select(articles), articles.c.id, order=order)


def test_a_list_is_in_the_order_of_a_joined_table(worker: Worker, database: Any) -> None:
    database.execute("INSERT INTO writers (name, email) VALUES ('Ada', 'ada@example.org')")
    database.execute(
        "INSERT INTO articles (writer_id, title, content)"
        " SELECT 1, 'a', 'b' FROM generate_series(1, 3)"
    )
    joined = select(articles.c.id, writers.c.name).select_from(writers).join(articles)
    listed = PagedQuery(joined, articles.c.id, counted=True)
    page = worker.run(read(REQUEST, listed.fetch, PagePosition(1), 1))
    assert [(row.id, row.name) for row in page.rows] == [(2, "Ada")]
    assert (page.next_key, page.total) == (2, 3)


WITH_WRITERS = articles.outerjoin(writers)
NESTED = UNCOUNTED.outerjoin(articles.join(writers), articles.c.id == UNCOUNTED.c.id)


def test_a_list_of_tables_that_a_condition_joins_has_other_pages(
    worker: Worker, database: Any
) -> None:
    insert_rows_of(database, writers, 1, 5)
    insert_rows_of(database, articles, 1, 5)
    joined = select(articles.c.id, writers.c.name).where(articles.c.writer_id == writers.c.id)
    listed = PagedQuery(joined, articles.c.id, counted=True)
    page = worker.run(read(REQUEST, listed.fetch, PagePosition(offset=2), 2))
    assert ([row.id for row in page.rows], page.total) == ([3, 4], 5)


@pytest.mark.parametrize(
    ("joined", "key", "order"),
    [
        pytest.param(WITH_WRITERS, articles.c.id, writers.c.name, id="order"),
        pytest.param(WITH_WRITERS, writers.c.id, None, id="key"),
        pytest.param(articles.join(writers, full=True), articles.c.id, None, id="full join"),
        pytest.param(NESTED, UNCOUNTED.c.id, writers.c.name, id="nested"),
    ],
)
def test_no_column_of_an_optional_row_orders_a_list(
    joined: Join, key: Column[Any], order: Column[Any] | None
) -> None:
    """Rows without it would be skipped."""
    with pytest.raises(TypeError, match="null"):
        PagedQuery(select(key, articles.c.title).select_from(joined), key, order=order)
    PagedQuery(
        select(articles).join(writers).outerjoin(UNCOUNTED, UNCOUNTED.c.id == articles.c.id),
        articles.c.id,
        order=writers.c.name,
    )


def test_a_list_shows_the_latest_row_that_refers_to_each(worker: Worker, database: Any) -> None:
    """By a subquery that refers to the list's own table, which the join does not make optional."""
    insert_rows_of(database, writers, 1, 3)
    insert_rows_of(database, articles, 1, 2)
    database.execute("UPDATE articles SET writer_id = 2")
    latest = (
        select(articles.c.title)
        .where(articles.c.writer_id == writers.c.id)
        .order_by(articles.c.id.desc())
        .limit(1)
        .lateral("latest")
    )
    joined = select(writers.c.id, latest.c.title).outerjoin(latest, true())
    listed = PagedQuery(joined, writers.c.id, counted=True)
    page = worker.run(read(REQUEST, listed.fetch, PagePosition(1), 2))
    assert [(row.id, row.title) for row in page.rows] == [(2, "title 2"), (3, None)]
    assert page.total == 3


def test_a_page_whose_rows_share_a_key_is_rejected(worker: Worker, database: Any) -> None:
    database.execute("INSERT INTO writers (name, email) VALUES ('Ada', 'ada@example.org')")
    database.execute(
        "INSERT INTO articles (writer_id, title, content) VALUES (1, 'a', 'b'), (1, 'c', 'd')"
    )
    by_writer = PagedQuery(select(articles), articles.c.writer_id)
    with pytest.raises(TypeError, match=r"several rows of a page have one articles.writer_id"):
        worker.run(read(REQUEST, by_writer.fetch, PagePosition(), 1))


@pytest.mark.parametrize(
    ("statement", "key", "has_counts"),
    [
        pytest.param(select(articles), articles.c.id, True, id="whole table"),
        pytest.param(select(articles.c.id, articles.c.title), articles.c.id, True, id="columns"),
        pytest.param(
            select(articles).where(articles.c.writer_id == 1), articles.c.id, False, id="a part"
        ),
        pytest.param(select(articles).join(writers), articles.c.id, False, id="joined"),
        pytest.param(select(articles), articles.c.writer_id, False, id="another key"),
        pytest.param(select(UNCOUNTED), UNCOUNTED.c.id, False, id="no row counts"),
    ],
)
def test_the_total_of_a_whole_table_is_the_sum_of_its_row_counts(
    statement: Select[Any], key: Column[Any], has_counts: bool
) -> None:
    total = str(PagedQuery(statement, key, counted=True).total)
    assert ("row_counts" in total) is has_counts
    assert ("count(*)" in total) is not has_counts
