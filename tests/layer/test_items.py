"""The rows that the statements of an `Item` find and may write, by its condition."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import psycopg
import pytest
from sqlalchemy import BigInteger, Column, Engine, MetaData, Select, Table, and_, event, or_, select

from local.generate.resource import IDENTIFIER
from shared.database import Item, PagedQuery, read
from shared.database.links import Link
from shared.database.links import _insert as link_statement
from shared.database.ownership import is_own
from shared.errors import Forbidden, NotFound
from shared.page import PagePosition
from shared.request import Access, ApiRequest, Caller
from tests.conftest import Worker
from tests.example.models import articles, writers
from tests.transactions import REQUEST, write

OF_OWN_WRITERS = Item(
    articles,
    where=and_(
        articles.c.title != "",
        is_own(select(writers.c.id).where(writers.c.id == articles.c.writer_id).scalar_subquery()),
    ),
)
"""The caller's membership is found in another table."""
BY_TITLE = Item(articles, where=or_(articles.c.title == "mine", is_own(articles.c.writer_id)))
NAMED = Item(writers, where=writers.c.name != "")


def test_a_row_that_does_not_meet_the_condition_is_not_found(
    worker: Worker, database: psycopg.Connection[Any]
) -> None:
    database.execute("INSERT INTO writers (name, email) VALUES ('', 'a'), ('Ada', 'b')")
    for one in (
        lambda: read(REQUEST, lambda reader: NAMED.find(reader, 1)),
        lambda: write(lambda block: NAMED.update(block, 1, {"email": "c"})),
        lambda: write(lambda block: NAMED.update(block, 1, {})),
        lambda: write(lambda block: NAMED.delete(block, 1)),
    ):
        with pytest.raises(NotFound):
            worker.run(one())
    assert worker.run(read(REQUEST, lambda reader: NAMED.find(reader, 2))).name == "Ada"
    unnamed = worker.run(write(lambda block: NAMED.update(block, 2, {"name": ""})))
    assert (unnamed.id, unnamed.name) == (2, "")
    rows = database.execute("SELECT id, email FROM writers ORDER BY id").fetchall()
    assert rows == [(1, "a"), (2, "b")]


LINKS = Link(
    Table(
        "links",
        MetaData(),
        Column("writer_id", BigInteger, primary_key=True),
        Column("article_id", BigInteger, primary_key=True),
        Column("position", BigInteger),
    )
)


def test_a_field_can_have_no_name_of_a_parameter_or_a_label(
    worker: Worker, database: psycopg.Connection[Any]
) -> None:
    """Whichever fields a table has, its statements can be compiled, and set what they should."""
    database.execute("INSERT INTO writers (name, email) VALUES ('Ada', 'a')")
    item, new = Item(articles, owner=articles.c.writer_id), {"title": "new", "content": ""}
    listed = PagedQuery(select(*articles.c), articles.c.id, counted=True)
    link = link_statement(LINKS._table, None, ("position",))
    found = {*link.compile().binds, *LINKS._delete.compile().binds}

    def collect(_connection: object, _cursor: object, *run: Any) -> None:
        compiled = run[2].compiled
        is_read = isinstance(compiled.statement, Select)
        # In a read, SQLAlchemy numbers the parameters that it names itself.
        found.update(name for name, one in compiled.binds.items() if not (is_read and one.unique))
        labels = {column.keyname for column in compiled._result_columns}
        found.update(labels if "title" in labels else ())

    event.listen(Engine, "before_cursor_execute", collect)
    try:
        for operation in (
            lambda block: item.insert(block, {"writer_id": 1, **new}),
            lambda block: item.update(block, 1, {"writer_id": 1, **new}),
            lambda block: item.update(block, 1, {}),
            lambda block: item.delete(block, 1),
        ):
            for access in (REQUEST.access, OWN):
                with suppress(Forbidden, NotFound):
                    worker.run(write(operation, request=ApiRequest(access=access)))
        for start in (PagePosition(offset=1), PagePosition(after=0)):
            for order in (False, True):
                page = partial(listed.fetch, start=start, limit=1, descending=order)
                worker.run(read(REQUEST, page))
    finally:
        event.remove(Engine, "before_cursor_execute", collect)
    assert {name for name in found - {*articles.c.keys()} if IDENTIFIER.fullmatch(name)} == set()


ROWS = """
INSERT INTO writers (name, email) VALUES ('Ada', 'a'), ('Bob', 'b');
INSERT INTO identities (issuer, subject, user_id) VALUES ('issuer', 'ada', 1);
INSERT INTO articles (writer_id, title, content) VALUES (1, 'of Ada', ''), (2, 'of Bob', '');
"""
ADA = Caller("issuer", "ada", frozenset())
OWN = Access("test", "articles:write", ADA, own_only=True)
HIDDEN = OWN._replace(others_hidden=True)


@pytest.mark.parametrize(("access", "error"), [(OWN, Forbidden), (HIDDEN, NotFound)])
def test_a_condition_on_the_caller_holds_before_and_after_each_write(
    worker: Worker,
    database: psycopg.Connection[Any],
    owners: None,
    access: Access,
    error: type[Exception],
) -> None:
    database.execute(ROWS.encode())
    item = OF_OWN_WRITERS

    def attempt(operation: Callable[[Any], Any]) -> Any:
        return worker.run(write(operation, request=ApiRequest(access=access)))

    new = {"title": "new", "content": ""}
    for expected, operation in (
        (Forbidden, lambda block: item.insert(block, {"writer_id": 2, **new})),
        (Forbidden, lambda block: item.insert(block, {"writer_id": 4711, **new})),
        (error, lambda block: item.update(block, 1, {"writer_id": 2})),
        (error, lambda block: item.update(block, 1, {"writer_id": 4711})),
        (error, lambda block: item.update(block, 2, {"title": "mine"})),
        (error, lambda block: item.update(block, 2, {})),
        (error, lambda block: item.delete(block, 2)),
        (NotFound, lambda block: item.update(block, 4711, {"title": "mine"})),
    ):
        with pytest.raises(expected):
            attempt(operation)
    assert attempt(lambda block: item.insert(block, {"writer_id": 1, **new})).title == "new"
    assert attempt(lambda block: item.update(block, 1, {"title": "mine"})).title == "mine"
    assert attempt(lambda block: item.update(block, 1, {"writer_id": 1})).writer_id == 1
    attempt(lambda block: item.delete(block, 1))
    rows = database.execute("SELECT writer_id, title FROM articles ORDER BY id").fetchall()
    assert rows == [(2, "of Bob"), (1, "new")]


def test_a_row_that_a_condition_on_the_caller_hides_is_not_found(
    worker: Worker, database: psycopg.Connection[Any], owners: None
) -> None:
    database.execute(ROWS.encode())
    request = ApiRequest(access=OWN)
    assert worker.run(read(request, OF_OWN_WRITERS.find, 1)).title == "of Ada"
    with pytest.raises(NotFound):
        worker.run(read(request, OF_OWN_WRITERS.find, 2))


def test_an_alternative_to_the_callers_own_is_no_rule_for_new_rows(
    worker: Worker, database: psycopg.Connection[Any], owners: None
) -> None:
    database.execute(ROWS.encode())
    values = {"writer_id": 1, "title": "mine", "content": ""}
    request = ApiRequest(access=OWN)
    with pytest.raises(Forbidden):
        worker.run(write(lambda block: BY_TITLE.insert(block, values), request=request))
