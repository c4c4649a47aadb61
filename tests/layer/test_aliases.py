"""Fields and parameters whose names in JSON and URLs are others than in Python: aliases.

The annotations of the endpoints are texts, as some write them in all modules.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import httpx
import psycopg
import pytest
from fastapi import Query
from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel
from sqlalchemy import bindparam, select

from shared.database import PagedQuery
from shared.http.application import create_app, lambda_handler
from shared.http.fields import Body, Changes, Id, IdParameter, Shown, Title
from shared.http.pagination import OffsetPage, PageParameters
from shared.http.resource import PageResult, Reader, Resource, Row, Transaction
from tests.example import articles, models
from tests.in_process import client_of

CAMEL = ConfigDict(alias_generator=to_camel)
TABLE = models.articles
FROM_ID = PagedQuery(
    select(*TABLE.c).where(TABLE.c.id >= bindparam("from_id"), TABLE.c.writer_id == 1),
    TABLE.c.id,
    counted=True,
)


class ArticleCreate(Body):
    model_config = CAMEL

    writer_id: Id
    title: Title


class ArticleUpdate(Changes, total=False):
    __pydantic_config__ = ConfigDict(extra="forbid", alias_generator=to_camel)  # type: ignore[misc]

    writer_id: Id
    title: Title


class ArticlePublic(Shown):
    model_config = CAMEL

    id: Id
    writer_id: Id
    title: str


class ArticlePage(OffsetPage[ArticlePublic]):
    model_config = CAMEL


class ArticleListParameters(PageParameters):
    model_config = CAMEL

    writer_id: IdParameter | None = None
    from_: Annotated[IdParameter | None, Field(alias="from")] = None


resource = Resource("articles", "article", ArticlePublic)


@resource.create()
async def create_article(transaction: Transaction, body: ArticleCreate) -> Row:
    values = {**body.model_dump(), "content": ""}
    return await articles.ITEM.insert(transaction, values)


@resource.list(ArticlePage, cached=True, scope="writer_id")
async def list_articles(
    reader: Reader, query: Annotated[ArticleListParameters, Query()]
) -> PageResult:
    values = {"from_id": query.from_ or 0}
    return await FROM_ID.fetch(reader, query.position, query.limit, values)


@resource.read()
async def get_article(reader: Reader, article_id: Id) -> Row:
    return await articles.ITEM.find(reader, article_id)


@resource.update()
async def update_article(transaction: Transaction, article_id: Id, body: ArticleUpdate) -> Row:
    return await articles.ITEM.update(transaction, article_id, body)


@pytest.fixture
def api(database: psycopg.Connection[object], cache: object) -> Iterator[httpx.Client]:
    database.execute("INSERT INTO writers (name, email) VALUES ('Ada', 'a'), ('Bob', 'b')")
    with client_of(handler=lambda_handler(create_app(resource.router))) as client:
        yield client


def test_a_resource_is_written_and_read_by_the_aliases_of_its_fields(api: httpx.Client) -> None:
    for _ in "a retry with the key", "gets the same":
        body, key = {"writerId": 1, "title": "First"}, {"Idempotency-Key": "1"}
        created = api.post("/articles", json=body, headers=key)
        assert created.json() == {"id": 1, **body}
    changed = api.patch("/articles/1", json={"writerId": 2})
    assert changed.json() == {"id": 1, "writerId": 2, "title": "First"}
    assert api.get("/articles/1").json() == changed.json()


def test_a_list_continues_with_the_aliases_of_its_parameters(api: httpx.Client) -> None:
    for title in "First", "Second", "Third":
        api.post("/articles", json={"writerId": 1, "title": title})
    page = api.get("/articles?from=2&writerId=1&limit=1").json()
    assert page["data"] == [{"id": 2, "writerId": 1, "title": "Second"}]
    assert page["totalPages"] == 2
    assert [one["id"] for one in api.get(page["next"]).json()["data"]] == [3]


def test_an_error_names_a_field_by_its_alias(api: httpx.Client) -> None:
    for method, path in ("POST", "/articles"), ("PATCH", "/articles/1"):
        wrong = api.request(method, path, json={"writerId": "1", "title": "First"})
        assert [error["field"] for error in wrong.json()["errors"]] == ["writerId"]
    [error] = api.get("/articles?from=x").json()["errors"]
    assert error["field"] == "from"
    detail = api.get("/articles?writer_id=1").json()["detail"]
    assert "known are cursor, from, limit, page, skip, writerId" in detail
