"""The rows that the statements of an `Item` find and may write, by its condition."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from sqlalchemy import and_, or_, select

from shared.database import Item, read
from shared.database.ownership import is_own
from shared.errors import Forbidden, NotFound
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


def test_an_alternative_to_the_callers_own_is_an_alternative_for_new_rows_too(
    worker: Worker, database: psycopg.Connection[Any], owners: None
) -> None:
    database.execute(ROWS.encode())
    request = ApiRequest(access=OWN)

    def insert(title: str) -> Any:
        values = {"writer_id": 2, "title": title, "content": ""}
        return worker.run(write(lambda block: BY_TITLE.insert(block, values), request=request))

    assert insert("mine").writer_id == 2
    with pytest.raises(Forbidden):
        insert("another's")
