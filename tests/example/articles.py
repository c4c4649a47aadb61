"""The articles: a resource whose rows belong to a writer, by which its lists are cached."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field
from sqlalchemy import bindparam, func, select

from shared.database import Item, PagedQuery
from shared.errors import InvalidReference
from shared.http.application import create_app, lambda_handler
from shared.http.fields import Body, Changes, Content, Id, IdParameter, Shown, Title
from shared.http.pagination import CursorPage, CursorParameters, OffsetPage, PageParameters
from shared.http.resource import PageResult, Reader, Resource, Row, Transaction
from tests.example.models import articles

ITEM = Item(articles, owner=articles.c.writer_id)
ALL = PagedQuery(select(*articles.c), articles.c.id, counted=True)
OF_WRITER = PagedQuery(
    select(*articles.c).where(articles.c.writer_id == bindparam("writer_id")),
    articles.c.id,
    counted=True,
)
COUNTS = PagedQuery(
    select(articles.c.writer_id, func.count().label("article_count")).group_by(
        articles.c.writer_id
    ),
    articles.c.writer_id,
)


class ArticleCreate(Body):
    writer_id: Id
    title: Title
    content: Content


class ArticleUpdate(Changes, total=False):
    writer_id: Id
    title: Title
    content: Content


class ArticlePublic(Shown):
    id: Id
    writer_id: Id
    title: str
    content: str
    created_at: datetime


class ArticlePage(OffsetPage[ArticlePublic]):
    """A page of articles."""


class ArticleCount(Shown):
    writer_id: Id
    article_count: int


class ArticleCountPage(CursorPage[ArticleCount]):
    """A page of writers that have articles, with their numbers of articles."""


class ArticleListParameters(PageParameters):
    writer_id: Annotated[IdParameter | None, Field(description="Only this writer's.")] = None
    order: Literal["oldest", "newest"] = "oldest"


resource = Resource("articles", "article", ArticlePublic)


@resource.create(permission="articles:write", raises=[InvalidReference])
async def create_article(transaction: Transaction, body: ArticleCreate) -> Row:
    """Create an article of a writer."""
    return await ITEM.insert(transaction, body.model_dump())


@resource.list(ArticlePage, cached=True, scope="writer_id")
async def list_articles(reader: Reader, query: ArticleListParameters) -> PageResult:
    """List articles, all or one writer's."""
    listing = ALL if query.writer_id is None else OF_WRITER
    values = {"writer_id": query.writer_id}
    newest_first = query.order == "newest"
    return await listing.fetch(reader, query.position, query.limit, values, descending=newest_first)


@resource.list(ArticleCountPage, "/stats")
async def get_article_stats(reader: Reader, query: CursorParameters) -> PageResult:
    """Count the articles of each writer that has any."""
    return await COUNTS.fetch(reader, query.position, query.limit)


@resource.read()
async def get_article(reader: Reader, article_id: Id) -> Row:
    """Return one article."""
    return await ITEM.find(reader, article_id)


@resource.replace(raises=[InvalidReference])
async def replace_article(transaction: Transaction, article_id: Id, body: ArticleCreate) -> Row:
    """Replace an article's writer, title and content."""
    return await ITEM.update(transaction, article_id, body.model_dump())


@resource.update(raises=[InvalidReference])
async def update_article(transaction: Transaction, article_id: Id, body: ArticleUpdate) -> Row:
    """Change the given fields of an article."""
    return await ITEM.update(transaction, article_id, body)


@resource.delete()
async def delete_article(transaction: Transaction, article_id: Id) -> None:
    """Delete an article."""
    await ITEM.delete(transaction, article_id)


app = create_app(resource.router)
handler = lambda_handler(app)
