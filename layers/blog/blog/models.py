"""The database's tables, as SQLAlchemy models.

The database generates ids and timestamps. Migrations (`functions/migrations`) create what is
declared here; a test compares the two. Constraint names are part of the contract: `queries.py`
of a resource turns their violations into errors.
"""

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    MetaData,
    SmallInteger,
    Text,
    func,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

CASE_COLLATION = "pg_c_utf8"
"""Upper and lower case by Unicode, the same on every server whatever its locale (PostgreSQL 17)."""


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "pk": "%(table_name)s_pkey",
            "uq": "%(table_name)s_%(column_0_name)s_key",
            "fk": "%(table_name)s_%(column_0_name)s_fkey",
        }
    )


class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    email: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())

    __table_args__ = (
        Index("users_email_key", text(f"lower(email COLLATE {CASE_COLLATION})"), unique=True),
        Index("users_created_at_idx", "created_at"),
        Index(
            "users_name_trgm_idx",
            text(f"lower(name COLLATE {CASE_COLLATION}) gin_trgm_ops"),
            postgresql_using="gin",
        ),
    )


class Post(Base):
    __tablename__ = "posts"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    title: Mapped[str] = mapped_column(Text)
    content: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())

    # Serves the foreign key, the posts of one user in either order, and the count per user.
    __table_args__ = (Index("posts_user_id_id_idx", "user_id", "id"),)


class RowCount(Base):
    """Exact row counts, kept by triggers in the writer's own transaction.

    Counting a million rows takes 100 ms or more; this takes a sum over at most 64 rows. A table's
    count is spread over shards, one per server process modulo 64, so that concurrent writers
    do not queue on one row.
    """

    __tablename__ = "row_counts"

    table_name: Mapped[str] = mapped_column(Text, primary_key=True)
    shard: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    row_count: Mapped[int] = mapped_column(BigInteger)


class IdempotencyKey(Base):
    """The first answer to a POST that carried the key (see `blog.idempotency`)."""

    __tablename__ = "idempotency_keys"

    path: Mapped[str] = mapped_column(Text, primary_key=True)
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    location: Mapped[str] = mapped_column(Text)
    body: Mapped[str] = mapped_column(Text)
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))

    __table_args__ = (Index("idempotency_keys_expires_at_idx", "expires_at"),)
