"""The database's tables, as typed tables of SQLAlchemy's Core.

The database generates ids and timestamps. Migrations (`functions/migrations`) create the tables; a
test compares them with these models. The client's error for a violated constraint follows from the
models (`shared.database.violations`). No statement needs the ORM.
"""

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    MetaData,
    Named,
    SmallInteger,
    Table,
    Text,
    TypedColumns,
    UniqueConstraint,
    func,
    text,
)

from shared.database.dependencies import ROWS_OF, SCOPE, UNTRACKED

BLOCK_IDS = 4096
"""Size of an id's block, `id / BLOCK_IDS`; also in the triggers of the migrations."""
ID_RANGE = f"id BETWEEN 1 AND {2**63 - BLOCK_IDS - 1}"
"""Ids above 0, in blocks whose bounds fit into a bigint."""


CONFLICT = "conflict"
"""In the `info` of a constraint or unique index: the message to a client that violates it."""
RETIRED = "retired"
"""In the `info` of a table: columns of the database that the model no longer has, and that the next
release drops; the previous release still reads them."""
ROW_VALUE = "row_value"
"""In the `info` of a column: its value in row `n` of demo data and of tests, in SQL, where the one
of its type does not do, such as by a CHECK."""
NAME_PARTS = 'name_parts(id >> 12, fold_case(name) COLLATE "C")'
"""The n-grams of a name, each prefixed with its block (see `users.search`)."""


METADATA = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "uq": "%(table_name)s_%(column_0_name)s_key",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
    }
)


class UserColumns(TypedColumns):
    id: Named[int] = Column(BigInteger, Identity(always=True), primary_key=True)
    name: Named[str] = Column(Text)
    email: Named[str] = Column(Text)
    created_at: Named[datetime] = Column(DateTime(timezone=True), server_default=func.now())


users = Table(
    "users",
    METADATA,
    UserColumns,
    CheckConstraint(ID_RANGE, name="users_id_range"),
    Index(
        "users_email_key",
        text('fold_case(email COLLATE "C")'),
        unique=True,
        info={CONFLICT: "email: another user has this address."},
    ),
    Index(
        "users_name_parts_idx",
        text(NAME_PARTS),
        postgresql_using="gin",
        postgresql_with={"fastupdate": False},
    ),
)


class PostColumns(TypedColumns):
    id: Named[int] = Column(BigInteger, Identity(always=True), primary_key=True)
    user_id: Named[int] = Column(BigInteger, ForeignKey("users.id", ondelete="CASCADE"))
    title: Named[str] = Column(Text)
    content: Named[str] = Column(Text)
    created_at: Named[datetime] = Column(DateTime(timezone=True), server_default=func.now())


posts = Table(
    "posts",
    METADATA,
    PostColumns,
    CheckConstraint(ID_RANGE, name="posts_id_range"),
    # Serves the foreign key, the posts of one user in either order, and the count per user.
    Index("posts_user_id_id_idx", "user_id", "id"),
    info={SCOPE: "user_id"},
)


class IdentityColumns(TypedColumns):
    """The user that a caller has created, its own; the row is deleted with the user.

    The foreign key of `user_id` is the only place that names the table of owners. Without it no row
    has an owner, and callers who may write only their own rows can write none.
    """

    issuer: Named[str] = Column(Text, primary_key=True)
    subject: Named[str] = Column(Text, primary_key=True)
    user_id: Named[int] = Column(BigInteger, ForeignKey("users.id", ondelete="CASCADE"))


identities = Table("identities", METADATA, IdentityColumns, UniqueConstraint("user_id"))
identities.primary_key.info[CONFLICT] = "You have one of your own already."


class RowCountColumns(TypedColumns):
    """Exact row counts, maintained by triggers in the writer's transaction.

    INSERT or COPY into this table, as from a dump, is ignored outside of a trigger. Sessions in
    which triggers do not fire leave the counts unchanged; the next run of the migrations recounts.

    A row has the count of a block of `BLOCK_IDS` consecutive ids, and the range of the block's
    created_at, which is too wide if rows were deleted. A table's total is a sum over few rows, a
    deep offset is found by adding up blocks, and searches skip blocks that are too old.

    The count of a block that is being filled is spread over shards, one per server process modulo
    64, so that concurrent writers do not queue on one row; they are merged into shard -1 later.
    """

    table_name: Named[str] = Column(Text, primary_key=True)
    block: Named[int] = Column(BigInteger, primary_key=True)
    shard: Named[int] = Column(SmallInteger, primary_key=True)
    row_count: Named[int] = Column(BigInteger)
    oldest: Named[datetime] = Column(DateTime(timezone=True))
    newest: Named[datetime] = Column(DateTime(timezone=True))


row_counts = Table(
    "row_counts",
    METADATA,
    RowCountColumns,
    info={ROWS_OF: "table_name"},
    postgresql_with={"fillfactor": 50},
)


class IdempotencyKeyColumns(TypedColumns):
    """The first response to a caller's POST with the key (see `shared.database.idempotency`).

    The resource's key is in `resource_id` if it is an integer, otherwise in `resource_key`. A
    trigger empties `fingerprint` and `body` when the resource is deleted. `issuer` and `subject`
    are empty for anonymous callers.
    """

    path: Named[str] = Column(Text, primary_key=True)
    key: Named[str] = Column(Text, primary_key=True)
    issuer: Named[str] = Column(Text, primary_key=True, server_default="")
    subject: Named[str] = Column(Text, primary_key=True, server_default="")
    resource_id: Named[int | None] = Column(BigInteger)
    resource_key: Named[str | None] = Column(Text)
    fingerprint: Named[bytes | None] = Column(LargeBinary)
    body: Named[str | None] = Column(Text)
    expires_at: Named[datetime] = Column(DateTime(timezone=True))


idempotency_keys = Table(
    "idempotency_keys",
    METADATA,
    IdempotencyKeyColumns,
    Index("idempotency_keys_expires_at_idx", "expires_at"),
    Index("idempotency_keys_resource_idx", "path", "resource_id"),
    Index(
        "idempotency_keys_resource_key_idx",
        "path",
        "resource_key",
        postgresql_where=text("resource_key IS NOT NULL"),
    ),
    info={UNTRACKED: True},
)


class AuditColumns(TypedColumns):
    """A write of one row, in the same transaction: caller, action, resource and request.

    The row's key is in `resource_id` if it is an integer, otherwise in `resource_key`. A link has
    its first id and, in `resource_key`, both. The only personal data is the token's subject, null
    for anonymous callers. Rows that are deleted by cascade are not logged.
    """

    id: Named[int] = Column(BigInteger, Identity(always=True), primary_key=True)
    at: Named[datetime] = Column(DateTime(timezone=True), server_default=func.now())
    issuer: Named[str | None] = Column(Text)
    subject: Named[str | None] = Column(Text)
    action: Named[str] = Column(Text)
    resource: Named[str] = Column(Text)
    resource_id: Named[int | None] = Column(BigInteger)
    resource_key: Named[str | None] = Column(Text)
    request_id: Named[str] = Column(Text)


audit_log = Table(
    "audit_log",
    METADATA,
    AuditColumns,
    Index("audit_log_at_idx", "at"),
    Index("audit_log_resource_idx", "resource", "resource_id"),
    info={UNTRACKED: True},
)
