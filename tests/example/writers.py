"""The writers: their addresses are unique. A caller owns one with the fixture `owners`."""

from datetime import datetime
from typing import Annotated

from pydantic import Field
from sqlalchemy import BigInteger, Text, bindparam, cast, func, select

from shared.coldstart import prepare
from shared.database import Item, PagedQuery
from shared.database.models import row_counts
from shared.errors import AlreadyTaken
from shared.http.application import create_app, lambda_handler
from shared.http.fields import Body, Changes, EmailAddress, Id, Name, NameQuery, Shown
from shared.http.pagination import CursorPage, CursorParameters, OffsetPage, PageParameters
from shared.http.resource import PageResult, Reader, Resource, Row, Transaction
from tests.example.models import writers

ITEM = Item(writers, owner=writers.c.id)
ALL = PagedQuery(select(*writers.c), writers.c.id, counted=True)
NAMED = PagedQuery(
    select(*writers.c).where(
        func.strpos(func.lower(writers.c.name), func.lower(bindparam("name", type_=Text))) > 0
    ),
    writers.c.id,
)
TOTAL = select(
    cast(func.coalesce(func.sum(row_counts.c.row_count), 0), BigInteger).label("total_writers")
).where(row_counts.c.table_name == writers.name)


class WriterCreate(Body):
    name: Name
    email: EmailAddress


class WriterUpdate(Changes, total=False):
    name: Name
    email: EmailAddress


class WriterPublic(Shown):
    id: Id
    name: str
    email: str
    created_at: datetime


class WriterPage(OffsetPage[WriterPublic]):
    """A page of writers."""


class WriterSearchPage(CursorPage[WriterPublic]):
    """A page of writers with a name."""


class WriterSearchParameters(CursorParameters):
    name: Annotated[NameQuery, Field(description="Substring of the name.")] = ""


class WriterStats(Shown):
    total_writers: int


resource = Resource("writers", "writer", WriterPublic)


@resource.create(raises=[AlreadyTaken])
async def create_writer(transaction: Transaction, body: WriterCreate) -> Row:
    """Create a writer."""
    return await ITEM.insert(transaction, body.model_dump())


@resource.list(WriterPage, cached=True)
async def list_writers(reader: Reader, query: PageParameters) -> PageResult:
    """List writers."""
    return await ALL.fetch(reader, query.position, query.limit)


@resource.list(WriterSearchPage, "/search")
async def search_writers(reader: Reader, query: WriterSearchParameters) -> PageResult:
    """Search writers by a substring of the name."""
    return await NAMED.fetch(reader, query.position, query.limit, {"name": query.name})


@resource.read("/stats", WriterStats)
async def get_writer_stats(reader: Reader) -> object:
    """Count all writers."""
    return (await reader.execute(TOTAL)).one()


@resource.read()
async def get_writer(reader: Reader, writer_id: Id) -> Row:
    """Return one writer."""
    return await ITEM.find(reader, writer_id)


@resource.replace(raises=[AlreadyTaken])
async def replace_writer(transaction: Transaction, writer_id: Id, body: WriterCreate) -> Row:
    """Replace a writer's name and e-mail address."""
    return await ITEM.update(transaction, writer_id, body.model_dump())


@resource.update(raises=[AlreadyTaken])
async def update_writer(transaction: Transaction, writer_id: Id, body: WriterUpdate) -> Row:
    """Change the given fields of a writer."""
    return await ITEM.update(transaction, writer_id, body)


@resource.delete()
async def delete_writer(transaction: Transaction, writer_id: Id) -> None:
    """Delete a writer and the writer's articles."""
    await ITEM.delete(transaction, writer_id)


app = create_app(resource.router)
handler = lambda_handler(app)
prepare(handler, "/writers", "/writers/1")
