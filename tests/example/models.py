"""The tables of the example, with the triggers that a resource of the product has."""

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    MetaData,
    Named,
    Table,
    Text,
    TypedColumns,
    create_engine,
    func,
    inspect,
    text,
)

from shared.database.dependencies import SCOPE
from shared.database.models import CONFLICT, METADATA
from shared.database.server import database_url

EXAMPLE = MetaData(naming_convention=METADATA.naming_convention)


class WriterColumns(TypedColumns):
    id: Named[int] = Column(BigInteger, Identity(always=True), primary_key=True)
    name: Named[str] = Column(Text)
    email: Named[str] = Column(Text)
    created_at: Named[datetime] = Column(DateTime(timezone=True), server_default=func.now())


writers = Table(
    "writers",
    EXAMPLE,
    WriterColumns,
    Index(
        "writers_email_key",
        text("lower(email)"),
        unique=True,
        info={CONFLICT: "email: another writer has this address."},
    ),
)


class ArticleColumns(TypedColumns):
    id: Named[int] = Column(BigInteger, Identity(always=True), primary_key=True)
    writer_id: Named[int] = Column(BigInteger, ForeignKey("writers.id", ondelete="CASCADE"))
    title: Named[str] = Column(Text)
    content: Named[str] = Column(Text)
    created_at: Named[datetime] = Column(DateTime(timezone=True), server_default=func.now())


articles = Table(
    "articles",
    EXAMPLE,
    ArticleColumns,
    Index("articles_writer_id_id_idx", "writer_id", "id"),
    info={SCOPE: "writer_id"},
)


def create_tables() -> None:
    """Create them in the migrated database of the settings, unless they are there."""
    from alembic.migration import MigrationContext
    from alembic.operations import Operations

    from migrations.triggers import count_rows_of, forget_responses_of

    engine = create_engine(database_url())
    with engine.begin() as connection:
        missing = EXAMPLE.tables.keys() - inspect(connection).get_table_names()
        EXAMPLE.create_all(connection)
        with Operations.context(MigrationContext.configure(connection)):
            for table in missing:
                count_rows_of(table)
                forget_responses_of(table)
    engine.dispose()
