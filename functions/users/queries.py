"""The users' statements, built once, and plain functions that run them in one round trip each.

Only a search for a name that few users have takes two.
"""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    DateTime,
    Row,
    Select,
    SQLColumnExpression,
    Text,
    and_,
    bindparam,
    cast,
    collate,
    delete,
    func,
    insert,
    null,
    select,
    true,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from blog.database.connection import translate_violation
from blog.database.models import BLOCK_IDS, CASE_COLLATION, RowCount, User
from blog.database.pagination import (
    AFTER,
    ROWS,
    PagedQuery,
    PageResult,
    fetch_page,
    row_count,
    to_page,
)
from blog.errors import Conflict, NotFound
from blog.pagination import PagePosition

COLUMNS = (User.id, User.name, User.email, User.created_at)
TOTAL = row_count(User.__tablename__)
RECENT = timedelta(days=7)
WALKED_USERS = 2000
"""So many users are looked at one by one before a search for a name turns to its indexes."""
THREE_LETTERS = re.compile(r"[^\W_]{3}")
"""What has a trigram in the index, whatever surrounds it in the name."""

USER_ID = bindparam("user_id", type_=User.id.type)
PATTERN = bindparam("pattern", type_=Text)
SHORT_PARTS = bindparam("short_parts", type_=Text)
CREATED_AFTER = bindparam("created_after", type_=DateTime(timezone=True))

INSERT = insert(User).returning(*COLUMNS)
FIND = select(*COLUMNS).where(User.id == USER_ID)
UPDATE = update(User).where(User.id == USER_ID).returning(*COLUMNS)
DELETE = delete(User).where(User.id == USER_ID).returning(User.id)
ALL = PagedQuery(select(*COLUMNS), User.id, total=TOTAL, whole_table=True)

R = TypeVar("R")
UserRow = Row[int, str, str, datetime]


async def insert_user(connection: AsyncConnection, name: str, email: str) -> UserRow:
    """The new user. Raises `Conflict` when another has the address, whatever its case."""
    with translate_violation("users_email_key", _email_taken()):
        return (await connection.execute(INSERT, {"name": name, "email": email})).one()


async def find_user(connection: AsyncConnection, user_id: int) -> UserRow:
    """The user. Raises `NotFound` when there is none."""
    found = await connection.execute(FIND, {"user_id": user_id})
    return _found(found.one_or_none(), user_id)


async def update_user(
    connection: AsyncConnection, user_id: int, values: Mapping[str, object]
) -> UserRow:
    """The changed user. Raises `NotFound`, or `Conflict` as `insert_user` does."""
    with translate_violation("users_email_key", _email_taken()):
        updated = await connection.execute(UPDATE, {"user_id": user_id, **values})
    return _found(updated.one_or_none(), user_id)


async def delete_user(connection: AsyncConnection, user_id: int) -> None:
    """Delete the user and its posts. Raises `NotFound` when there is none."""
    deleted = await connection.execute(DELETE, {"user_id": user_id})
    _found(deleted.one_or_none(), user_id)


async def list_users(connection: AsyncConnection, start: PagePosition, limit: int) -> PageResult:
    return await fetch_page(connection, ALL, start, limit)


async def search_users(
    connection: AsyncConnection,
    name: str,
    created_after: datetime | None,
    start: PagePosition,
    limit: int,
) -> PageResult:
    """Users with `name` in their name, in any case, created at `created_after` or later.

    A name that many have is soon met on a walk through the users, one that few have is found
    through an index. Estimates of how many have it are often wrong, so some are looked at first.
    """
    by_date = created_after is not None
    searched = {
        "page_after": start.after,
        "page_rows": limit + 1,
        "created_after": created_after,
        "pattern": _pattern(name),
        "short_parts": _short_parts(name),
    }
    statement = _near(by_date=by_date) if name else _walk(by_date=by_date, rows=ROWS)
    rows = (await connection.execute(statement, searched)).all()
    if name and rows and rows[-1].name is None:
        far = _far(by_date=by_date, by_trigrams=THREE_LETTERS.search(name) is not None)
        searched |= {"page_after": rows[-1].id, "page_rows": limit + 2 - len(rows)}
        rows = [*rows[:-1], *(await connection.execute(far, searched))]
    return to_page(rows, User.id, limit)


async def count_users(connection: AsyncConnection) -> Row[int, int]:
    """`total_users` and `users_last_7_days`."""
    return (await connection.execute(_counts())).one()


def _found(row: R | None, user_id: int) -> R:
    if row is None:
        raise NotFound(f"There is no user {user_id}.")
    return row


def _email_taken() -> Conflict:
    return Conflict("email: another user has this address.")


@cache
def _walk(*, by_date: bool, rows: int | None = None) -> Select[*tuple[Any, ...]]:
    """The first users after AFTER, as many as `rows` or else ROWS.

    By date, blocks that are too old are passed over.
    """
    limit = ROWS if rows is None else rows
    users = select(*COLUMNS).where(User.id > AFTER).order_by(User.id).limit(limit)
    if not by_date:
        return users
    blocks = (
        select(RowCount.block)
        .where(RowCount.table_name == User.__tablename__, RowCount.block >= AFTER // BLOCK_IDS)
        .group_by(RowCount.block)
        .having(func.max(RowCount.newest) >= CREATED_AFTER)
        .subquery()
    )
    found = users.where(_in_block(blocks.c.block), User.created_at >= CREATED_AFTER).lateral()
    walk = select(*found.c, blocks.c.block).join_from(blocks, found, true())
    return walk.order_by(blocks.c.block, found.c.id).limit(limit)


@cache
def _near(*, by_date: bool) -> Select[*tuple[Any, ...]]:
    """Up to ROWS users with the name, of the first WALKED_USERS.

    Where they are less, and there is more to look at, a last row follows without a name: its id
    is that of the last user looked at.
    """
    walked = _walk(by_date=by_date, rows=WALKED_USERS).cte("walked")
    order = (walked.c.block, walked.c.id) if by_date else (walked.c.id,)
    columns = [walked.c[column.key] for column in COLUMNS]
    near = select(*columns).where(_has_name(walked.c.name)).order_by(*order).limit(ROWS).cte("near")
    found = select(func.count()).select_from(near).scalar_subquery()
    nothing = [cast(null(), column.type) for column in COLUMNS[1:]]
    last = select(func.max(walked.c.id), *nothing).where(found < ROWS)
    last = last.having(func.count() == WALKED_USERS)
    rows = union_all(select(near), last).subquery()
    return select(rows).order_by(rows.c.id, rows.c.name)  # NULL comes last


@cache
def _far(*, by_date: bool, by_trigrams: bool) -> Select[*tuple[Any, ...]]:
    """The first ROWS users after AFTER that have the name, by an index of names."""
    users = select(*COLUMNS).where(User.id > AFTER, _has_name(User.name))
    if not by_trigrams:
        # In the index's collation, without which PostgreSQL would not use it.
        letters = collate(_in_lower_case(SHORT_PARTS), "default")
        parts = func.string_to_array(letters, "\n", type_=ARRAY(Text))
        users = users.where(func.short_parts(User.name, type_=ARRAY(Text)).contains(parts))
    if by_date:
        users = users.where(User.created_at >= CREATED_AFTER)
    # Else PostgreSQL may walk through all users in their order, in the hope of an early end.
    named = users.cte("named").prefix_with("MATERIALIZED")
    return select(named).order_by(named.c.id).limit(ROWS)


@cache
def _counts() -> Select[int, int]:
    """Of blocks that are recent as a whole the counts, of those that are so in part the users."""
    since = func.now() - RECENT
    blocks = (
        select(
            RowCount.block,
            func.sum(RowCount.row_count).label("rows"),
            func.min(RowCount.oldest).label("oldest"),
            func.max(RowCount.newest).label("newest"),
        )
        .where(RowCount.table_name == User.__tablename__)
        .group_by(RowCount.block)
        .cte("blocks")
    )
    rows = cast(func.coalesce(func.sum(blocks.c.rows), 0), BigInteger)
    recent_blocks = select(rows).where(blocks.c.oldest >= since).scalar_subquery()
    users = (
        select(func.count().label("recent"))
        .where(_in_block(blocks.c.block), User.created_at >= since)
        .lateral()
    )
    recent_users = (
        select(cast(func.coalesce(func.sum(users.c.recent), 0), BigInteger))
        .join_from(blocks, users, true())
        .where(blocks.c.oldest < since, blocks.c.newest >= since)
        .scalar_subquery()
    )
    return select(
        select(rows).scalar_subquery().label("total_users"),
        (recent_blocks + recent_users).label("users_last_7_days"),
    )


def _in_block(block: ColumnElement[int]) -> ColumnElement[bool]:
    return and_(User.id >= block * BLOCK_IDS, User.id < (block + 1) * BLOCK_IDS)


def _has_name(name: SQLColumnExpression[str]) -> ColumnElement[bool]:
    return _in_lower_case(name).like(_in_lower_case(PATTERN))


def _short_parts(part: str) -> str:
    """Its pairs of neighbouring letters, or its one letter, a line each."""
    pairs = [part[first : first + 2] for first in range(len(part) - 1)]
    return "\n".join(pairs or [part])


def _pattern(part: str) -> str:
    letters = re.sub(r"([\\%_])", r"\\\1", part)
    return f"%{letters}%"


def _in_lower_case(text: SQLColumnExpression[str]) -> ColumnElement[str]:
    return func.lower(collate(text, CASE_COLLATION))
