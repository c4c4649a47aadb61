"""The database's tables, as SQLAlchemy models.

The database generates ids and timestamps. Migrations (`functions/migrations`) create what is
declared here; a test compares the two. Constraint names are part of the contract: `queries.py`
of a resource turns their violations into errors.
"""

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
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
BLOCK_IDS = 4096
"""Ids of a block, which is their quotient by it (the triggers of the migrations know it too)."""
ID_RANGE = f"id BETWEEN 1 AND {2**63 - BLOCK_IDS - 1}"
"""Ids that clients can name, in blocks whose bounds bigint can hold."""


NAME_PARTS = 'name_parts(id >> 12, fold_case(name) COLLATE "C")'
"""What of a name can be searched for, under its block of ids (see `users.search`)."""


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
        CheckConstraint(ID_RANGE, name="users_id_range"),
        Index("users_email_key", text(f"lower(email COLLATE {CASE_COLLATION})"), unique=True),
        Index(
            "users_name_parts_idx",
            text(NAME_PARTS),
            postgresql_using="gin",
            postgresql_with={"fastupdate": False},
        ),
    )


class Post(Base):
    __tablename__ = "posts"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    title: Mapped[str] = mapped_column(Text)
    content: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())

    __table_args__ = (
        CheckConstraint(ID_RANGE, name="posts_id_range"),
        # Serves the foreign key, the posts of one user in either order, and the count per user.
        Index("posts_user_id_id_idx", "user_id", "id"),
    )


class RowCount(Base):
    """Exact row counts, kept by triggers in the writer's own transaction, and by them alone.

    An INSERT or COPY from outside a trigger, as a dump's, adds nothing. Sessions in which triggers
    do not fire leave the counts as they are; the next run of the migrations counts again.

    A row counts one block of `BLOCK_IDS` neighbouring ids, and spans the created_at of its rows;
    the span is never too narrow, and too wide where rows were deleted. A table's total is a sum
    over few rows, a row far down the list is found by adding up blocks, and blocks that are too
    old are passed over.

    The count of a block that is being filled is spread over shards, one per server process modulo
    64, so that concurrent writers do not queue on one row; shard -1 holds what they left.
    """

    __tablename__ = "row_counts"

    table_name: Mapped[str] = mapped_column(Text, primary_key=True)
    block: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    shard: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    row_count: Mapped[int] = mapped_column(BigInteger)
    oldest: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    newest: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class IdempotencyKey(Base):
    """The first answer to a POST that carried the key (see `blog.database.idempotency`).

    A trigger empties `fingerprint` and `body` when the resource is deleted.
    """

    __tablename__ = "idempotency_keys"

    path: Mapped[str] = mapped_column(Text, primary_key=True)
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    resource_id: Mapped[int] = mapped_column(BigInteger)
    fingerprint: Mapped[bytes | None] = mapped_column(LargeBinary)
    body: Mapped[str | None] = mapped_column(Text)
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))

    __table_args__ = (
        Index("idempotency_keys_expires_at_idx", "expires_at"),
        Index("idempotency_keys_resource_idx", "path", "resource_id"),
    )
