"""SQL of the users: statements built once, and functions that run each in one round trip.

The search is in `users.search`.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cache

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Row,
    Select,
    Text,
    and_,
    bindparam,
    cast,
    delete,
    func,
    insert,
    select,
    true,
    update,
)
from sqlalchemy.sql.selectable import TypedReturnsRows

from blog.database.failures import translate_violation
from blog.database.models import BLOCK_IDS, identities, row_counts, users
from blog.database.ownership import ISSUER, SUBJECT, is_own
from blog.database.paged_query import PagedQuery, fetch_page, row_count
from blog.database.transactions import Reader, Transaction
from blog.database.versions import meets_conditions, version
from blog.errors import Conflict
from blog.page import PagePosition, PageResult

COLUMNS = (users.c.id, users.c.name, users.c.email, users.c.created_at)
VERSIONED = (*COLUMNS, version(users))
TOTAL = row_count(users.name)
RECENT = timedelta(days=7)

USER_ID = bindparam("user_id", type_=users.c.id.type)

INSERT = insert(users).returning(*VERSIONED)
FIND = select(*VERSIONED).where(users.c.id == USER_ID)
WRITABLE = and_(users.c.id == USER_ID, is_own(users.c.id), meets_conditions(users))
UPDATE = update(users).where(WRITABLE).returning(*VERSIONED)
DELETE = delete(users).where(WRITABLE).returning(users.c.id)
ALL = PagedQuery(select(*COLUMNS), users.c.id, total=TOTAL, whole_table=True)

UserRow = Row[int, str, str, datetime, str]


async def insert_user(transaction: Transaction, name: str, email: str) -> UserRow:
    """Return the new user, which is the caller's own unless it may create any.

    Raises `Conflict` when the address, in any case, is in use, or the caller has a user.
    """
    statement = _insert_own() if transaction.access.own_only else INSERT
    own_exists = Conflict("You have created your own user already.")
    with (
        translate_violation("users_email_key", _email_taken()),
        translate_violation("identities_pkey", own_exists),
    ):
        return await transaction.insert(statement, {"name": name, "email": email})


async def find_user(reader: Reader, user_id: int) -> UserRow:
    """Return the user. Raises `NotFound`."""
    return await reader.find(FIND, {"user_id": user_id})


async def update_user(
    transaction: Transaction, user_id: int, values: Mapping[str, object]
) -> UserRow:
    """Return the updated user.

    Raises `NotFound`, `Forbidden`, `PreconditionFailed`, or `Conflict` when the address is in use.
    """
    with translate_violation("users_email_key", _email_taken()):
        return await transaction.change(UPDATE, {"user_id": user_id, **values})


async def delete_user(transaction: Transaction, user_id: int) -> None:
    """Delete the user and its posts. Raises `NotFound`, `Forbidden` and `PreconditionFailed`."""
    await transaction.change(DELETE, {"user_id": user_id})


async def list_users(reader: Reader, start: PagePosition, limit: int) -> PageResult:
    return await fetch_page(reader, ALL, start, limit)


async def get_user_stats(reader: Reader) -> Row[int, int]:
    """Return `total_users` and `users_last_7_days`."""
    return (await reader.execute(_counts())).one()


def in_block(block: ColumnElement[int]) -> ColumnElement[bool]:
    """Whether a user's id is in that block of ids."""
    return and_(users.c.id >= block * BLOCK_IDS, users.c.id < (block + 1) * BLOCK_IDS)


@cache
def _insert_own() -> TypedReturnsRows[int, str, str, datetime, str]:
    """`INSERT`, and the record that the new user is the caller's."""
    values = {name: bindparam(name, type_=Text) for name in ("name", "email")}
    created = insert(users).values(values).returning(*VERSIONED).cte("created")
    own = insert(identities).from_select(
        ["issuer", "subject", "user_id"], select(ISSUER, SUBJECT, created.c.id)
    )
    return select(*(created.c[column.name] for column in VERSIONED)).add_cte(own.cte("own"))


def _email_taken() -> Conflict:
    return Conflict("email: another user has this address.")


@cache
def _counts() -> Select[int, int]:
    """The statement of the statistics.

    It adds up the row counts of the blocks; only in blocks that are partly recent it counts users.
    """
    since = func.now() - RECENT
    blocks = (
        select(
            row_counts.c.block,
            func.sum(row_counts.c.row_count).label("rows"),
            func.min(row_counts.c.oldest).label("oldest"),
            func.max(row_counts.c.newest).label("newest"),
        )
        .where(row_counts.c.table_name == users.name)
        .group_by(row_counts.c.block)
        .cte("blocks")
    )
    rows = cast(func.coalesce(func.sum(blocks.c.rows), 0), BigInteger)
    recent_blocks = select(rows).where(blocks.c.oldest >= since).scalar_subquery()
    counted = (
        select(func.count().label("recent"))
        .where(in_block(blocks.c.block), users.c.created_at >= since)
        .lateral()
    )
    recent_users = (
        select(cast(func.coalesce(func.sum(counted.c.recent), 0), BigInteger))
        .join_from(blocks, counted, true())
        .where(blocks.c.oldest < since, blocks.c.newest >= since)
        .scalar_subquery()
    )
    return select(
        select(rows).scalar_subquery().label("total_users"),
        (recent_blocks + recent_users).label("users_last_7_days"),
    )
