"""The users' statements, built once, and plain functions that run them in one round trip each."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cache
from typing import TypeVar

from sqlalchemy import (
    ColumnElement,
    DateTime,
    Row,
    SQLColumnExpression,
    Text,
    bindparam,
    collate,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from blog.database import violation_of
from blog.errors import AlreadyTaken, NotFound
from blog.keyset import Listing, Slice, fetch_slice, row_count
from blog.models import CASE_COLLATION, User
from blog.start import Start

COLUMNS = (User.id, User.name, User.email, User.created_at)
TOTAL = row_count(User.__tablename__)
RECENT = timedelta(days=7)

USER_ID = bindparam("user_id", type_=User.id.type)
PATTERN = bindparam("pattern", type_=Text)
CREATED_AFTER = bindparam("created_after", type_=DateTime(timezone=True))

INSERT = insert(User).returning(*COLUMNS)
FIND = select(*COLUMNS).where(User.id == USER_ID)
UPDATE = update(User).where(User.id == USER_ID).returning(*COLUMNS)
DELETE = delete(User).where(User.id == USER_ID).returning(User.id)
ALL = Listing(select(*COLUMNS), User.id, total=TOTAL)
RECENT_USERS = select(func.count()).where(User.created_at >= func.now() - RECENT)
COUNT = select(
    TOTAL.scalar_subquery().label("total_users"),
    RECENT_USERS.scalar_subquery().label("users_last_7_days"),
)

R = TypeVar("R")
UserRow = Row[int, str, str, datetime]


async def insert_user(connection: AsyncConnection, name: str, email: str) -> UserRow:
    """The new user. Raises `AlreadyTaken` when another has the address, whatever its case."""
    with violation_of("users_email_key", _email_taken()):
        return (await connection.execute(INSERT, {"name": name, "email": email})).one()


async def find_user(connection: AsyncConnection, user_id: int) -> UserRow:
    """The user. Raises `NotFound` when there is none."""
    found = await connection.execute(FIND, {"user_id": user_id})
    return _found(found.one_or_none(), user_id)


async def update_user(
    connection: AsyncConnection, user_id: int, values: Mapping[str, object]
) -> UserRow:
    """The changed user. Raises `NotFound`, or `AlreadyTaken` as `insert_user` does."""
    with violation_of("users_email_key", _email_taken()):
        updated = await connection.execute(UPDATE, {"user_id": user_id, **values})
    return _found(updated.one_or_none(), user_id)


async def delete_user(connection: AsyncConnection, user_id: int) -> None:
    """Delete the user and its posts. Raises `NotFound` when there is none."""
    deleted = await connection.execute(DELETE, {"user_id": user_id})
    _found(deleted.one_or_none(), user_id)


async def list_users(connection: AsyncConnection, start: Start, limit: int) -> Slice:
    return await fetch_slice(connection, ALL, start, limit)


async def search_users(
    connection: AsyncConnection,
    name: str,
    created_after: datetime | None,
    start: Start,
    limit: int,
) -> Slice:
    """Users with `name` in their name, in any case, created at `created_after` or later."""
    listing = _searched(by_name=bool(name), by_date=created_after is not None)
    searched = {"pattern": _pattern(name), "created_after": created_after}
    return await fetch_slice(connection, listing, start, limit, searched)


async def count_users(connection: AsyncConnection) -> Row[int, int]:
    """`total_users` and `users_last_7_days`."""
    return (await connection.execute(COUNT)).one()


def _found(row: R | None, user_id: int) -> R:
    if row is None:
        raise NotFound(f"There is no user {user_id}.")
    return row


def _email_taken() -> AlreadyTaken:
    return AlreadyTaken("email: another user has this address.")


@cache
def _searched(*, by_name: bool, by_date: bool) -> Listing:
    statement = select(*COLUMNS)
    if by_name:
        statement = statement.where(_in_lower_case(User.name).like(_in_lower_case(PATTERN)))
    if by_date:
        statement = statement.where(User.created_at >= CREATED_AFTER)
    return Listing(statement, User.id)


def _pattern(part: str) -> str:
    letters = re.sub(r"([\\%_])", r"\\\1", part)
    return f"%{letters}%"


def _in_lower_case(text: SQLColumnExpression[str]) -> ColumnElement[str]:
    return func.lower(collate(text, CASE_COLLATION))
