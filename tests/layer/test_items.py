"""The rows that the statements of an `Item` find and may write, by its condition."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import psycopg
import pytest
from sqlalchemy import (
    BigInteger,
    Column,
    Engine,
    Integer,
    MetaData,
    Select,
    Table,
    and_,
    event,
    or_,
    select,
)

from local.generate.resource import IDENTIFIER
from shared.database import Item, PagedQuery, read
from shared.database.links import Link
from shared.database.links import _insert as link_statement
from shared.database.ownership import OWN_USER_ID, is_own
from shared.errors import Forbidden, NotFound
from shared.page import PagePosition
from shared.request import Access, ApiRequest, Caller
from tests.conftest import Worker
from tests.example.models import articles, writers
from tests.tables import made
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


@pytest.mark.parametrize("access", [OWN, HIDDEN])
def test_a_condition_on_the_caller_holds_before_and_after_each_write(
    worker: Worker, database: psycopg.Connection[Any], owners: None, access: Access
) -> None:
    database.execute(ROWS.encode())
    item = OF_OWN_WRITERS

    def attempt(operation: Callable[[Any], Any]) -> Any:
        return worker.run(write(operation, request=ApiRequest(access=access)))

    new = {"title": "new", "content": ""}
    for expected, operation in (
        (Forbidden, lambda block: item.insert(block, {"writer_id": 2, **new})),
        (Forbidden, lambda block: item.insert(block, {"writer_id": 4711, **new})),
        (Forbidden, lambda block: item.update(block, 1, {"writer_id": 2})),
        (Forbidden, lambda block: item.update(block, 1, {"writer_id": 4711})),
        (NotFound, lambda block: item.update(block, 2, {"title": "mine"})),
        (NotFound, lambda block: item.update(block, 2, {})),
        (NotFound, lambda block: item.delete(block, 2)),
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


PADS = Table(
    "made_pads",
    MetaData(),
    Column("id", BigInteger, primary_key=True),
    Column("owner_id", BigInteger),
    Column("reader_id", BigInteger),
)
PAD = Item(PADS, owner=PADS.c.owner_id, where=PADS.c.reader_id == OWN_USER_ID)


@pytest.mark.parametrize("access", [OWN, HIDDEN])
def test_a_row_that_the_caller_may_read_but_not_write_is_forbidden(
    worker: Worker, database: psycopg.Connection[Any], owners: None, access: Access
) -> None:
    database.execute(ROWS.encode())
    request = ApiRequest(access=access)
    with made(PADS):
        database.execute("INSERT INTO made_pads VALUES (1, 1, 1), (2, 2, 1), (3, 2, 2)")
        worker.run(write(lambda block: PAD.delete(block, 1), request=request))
        for pad, error in (1, NotFound), (2, Forbidden), (3, NotFound):
            with pytest.raises(error):
                worker.run(write(partial(PAD.delete, item=pad), request=request))


def test_an_administrator_that_does_not_meet_a_condition_on_the_caller_is_forbidden_to_insert(
    worker: Worker, database: psycopg.Connection[Any], owners: None
) -> None:
    database.execute(ROWS.encode())
    members_only = Item(articles, where=articles.c.writer_id == OWN_USER_ID)
    request = ApiRequest(access=OWN._replace(own_only=False))
    new = {"writer_id": 2, "title": "new", "content": ""}
    with pytest.raises(Forbidden):
        worker.run(write(lambda block: members_only.insert(block, new), request=request))


def test_a_row_that_a_condition_on_the_caller_hides_is_not_found(
    worker: Worker, database: psycopg.Connection[Any], owners: None
) -> None:
    database.execute(ROWS.encode())
    request = ApiRequest(access=OWN)
    assert worker.run(read(request, OF_OWN_WRITERS.find, 1)).title == "of Ada"
    with pytest.raises(NotFound):
        worker.run(read(request, OF_OWN_WRITERS.find, 2))


def test_an_alternative_to_the_callers_own_rows_does_not_allow_new_rows(
    worker: Worker, database: psycopg.Connection[Any], owners: None
) -> None:
    database.execute(ROWS.encode())
    values = {"writer_id": 1, "title": "mine", "content": ""}
    request = ApiRequest(access=OWN)
    with pytest.raises(Forbidden):
        worker.run(write(lambda block: BY_TITLE.insert(block, values), request=request))


def test_a_key_that_is_shorter_than_an_id_is_rejected_at_import() -> None:
    """An id of a request that it could not have would be a 500."""
    short = Table("short", MetaData(), Column("id", Integer, primary_key=True))
    for create in (Item, lambda table: PagedQuery(select(table), table.c.id)):
        with pytest.raises(TypeError, match=r"short\.id must be a BigInteger"):
            create(short)
