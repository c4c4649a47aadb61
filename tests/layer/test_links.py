"""Links between two rows that have data of their own."""

from collections.abc import Iterator, Mapping

import psycopg
import pytest
from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    MetaData,
    Table,
    Text,
)

from shared.database.items import Item
from shared.database.links import Link
from shared.database.models import METADATA
from shared.errors import Forbidden, InvalidReference, NotFound
from shared.request import Access, ApiRequest, Caller
from tests.conftest import Worker
from tests.example.models import articles, writers
from tests.tables import made
from tests.transactions import REQUEST, write

TABLES = MetaData(naming_convention=METADATA.naming_convention)
WRITERS, ARTICLES = writers.to_metadata(TABLES), articles.to_metadata(TABLES)
reviews = Table(
    "made_reviews",
    TABLES,
    Column("article_id", BigInteger, ForeignKey("articles.id"), primary_key=True),
    Column("writer_id", BigInteger, ForeignKey("writers.id"), primary_key=True),
    Column("asked_by", BigInteger, nullable=False),
    Column("note", Text, server_default="none", nullable=False),
    ForeignKeyConstraint(["asked_by"], ["writers.id"]),
)
follows = Table(
    "made_follows",
    TABLES,
    Column("follower_id", BigInteger, ForeignKey("writers.id"), primary_key=True),
    Column("followed_id", BigInteger, ForeignKey("writers.id"), primary_key=True),
)
REVIEW = Link(reviews, owner=reviews.c.asked_by)
"""Owned by who has asked for it, whose id is no part of the key."""
ADA, BOB = (
    ApiRequest(access=Access("test", "articles:write", Caller("issuer", name, frozenset()), True))
    for name in ("ada", "bob")
)
ROWS = """
INSERT INTO writers (name, email) VALUES ('Ada', 'a'), ('Bob', 'b');
INSERT INTO identities (issuer, subject, user_id) VALUES ('issuer', 'ada', 1), ('issuer', 'bob', 2);
INSERT INTO articles (writer_id, title, content) VALUES (1, 'of Ada', '');
"""


@pytest.fixture(autouse=True)
def _tables(database: psycopg.Connection[object], owners: None) -> Iterator[None]:
    database.execute(ROWS.encode())
    with made(reviews):
        yield


def link(
    worker: Worker, values: Mapping[str, object], *, article: int = 1, request: ApiRequest = REQUEST
) -> None:
    worker.run(write(lambda block: REVIEW.insert(block, article, 2, values), request=request))


def stored(database: psycopg.Connection[object]) -> list[object]:
    return list(database.execute("SELECT * FROM made_reviews"))


def test_the_values_of_a_link_are_those_that_were_sent_last(
    worker: Worker, database: psycopg.Connection[object]
) -> None:
    link(worker, {"asked_by": 1})
    assert stored(database) == [(1, 2, 1, "none")]
    link(worker, {"asked_by": 1, "note": "soon"})
    assert stored(database) == [(1, 2, 1, "soon")]
    link(worker, {"asked_by": 2})
    assert stored(database) == [(1, 2, 2, "soon")]


def test_the_link_of_another_caller_is_not_taken_over(
    worker: Worker, database: psycopg.Connection[object]
) -> None:
    link(worker, {"asked_by": 1, "note": "of Ada"}, request=ADA)
    for owner in (1, 2):
        with pytest.raises(Forbidden):
            link(worker, {"asked_by": owner, "note": "of Bob"}, request=BOB)
    assert stored(database) == [(1, 2, 1, "of Ada")]


def test_an_unknown_row_is_not_found_if_the_key_names_it_and_invalid_otherwise(
    worker: Worker, database: psycopg.Connection[object]
) -> None:
    with pytest.raises(NotFound, match="article_id"):
        link(worker, {"asked_by": 1}, article=4711)
    with pytest.raises(InvalidReference, match="asked_by"):
        link(worker, {"asked_by": 4711})
    assert stored(database) == []


def test_a_table_that_does_not_suit_the_statements_is_rejected() -> None:
    with pytest.raises(TypeError, match="made_follows refers to its table 2 times"):
        Link(follows, owner=WRITERS.c.id)
    with pytest.raises(TypeError, match=r"key of articles has 1 columns: .* that of a Link two"):
        Link(articles)
    with pytest.raises(TypeError, match="key of made_reviews has 2 columns: that of an Item has"):
        Item(reviews)
