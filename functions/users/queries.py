"""The users' statements: plain functions on a connection, each one round trip."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TypeVar

from sqlalchemy import (
    ColumnElement,
    Row,
    SQLColumnExpression,
    collate,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from blog.database import violation_of
from blog.errors import AlreadyTaken, NotFound
from blog.keyset import Slice, Start, fetch_slice, row_count
from blog.models import CASE_COLLATION, User

COLUMNS = (User.id, User.name, User.email, User.created_at)
TOTAL = row_count(User.__tablename__)
RECENT = timedelta(days=7)

R = TypeVar("R")
UserRow = Row[int, str, str, datetime]


async def insert_user(connection: AsyncConnection, name: str, email: str) -> UserRow:
    """The new user. Raises `AlreadyTaken` when another has the address, whatever its case."""
    statement = insert(User).values(name=name, email=email).returning(*COLUMNS)
    with violation_of("users_email_key", _email_taken()):
        return (await connection.execute(statement)).one()


async def find_user(connection: AsyncConnection, user_id: int) -> UserRow:
    """The user. Raises `NotFound` when there is none."""
    statement = select(*COLUMNS).where(User.id == user_id)
    return _found((await connection.execute(statement)).one_or_none(), user_id)


async def update_user(
    connection: AsyncConnection, user_id: int, values: Mapping[str, object]
) -> UserRow:
    """The changed user. Raises `NotFound`, or `AlreadyTaken` as `insert_user` does."""
    statement = update(User).where(User.id == user_id).values(values).returning(*COLUMNS)
    with violation_of("users_email_key", _email_taken()):
        return _found((await connection.execute(statement)).one_or_none(), user_id)


async def delete_user(connection: AsyncConnection, user_id: int) -> None:
    """Delete the user and its posts. Raises `NotFound` when there is none."""
    statement = delete(User).where(User.id == user_id).returning(User.id)
    _found((await connection.execute(statement)).one_or_none(), user_id)


async def list_users(connection: AsyncConnection, start: Start, limit: int) -> Slice:
    return await fetch_slice(connection, select(*COLUMNS), User.id, start, limit, total=TOTAL)


async def search_users(
    connection: AsyncConnection,
    name: str,
    created_after: datetime | None,
    start: Start,
    limit: int,
) -> Slice:
    """Users with `name` in their name, in any case, created at `created_after` or later."""
    statement = select(*COLUMNS)
    if name:
        statement = statement.where(_name_contains(name))
    if created_after:
        statement = statement.where(User.created_at >= created_after)
    return await fetch_slice(connection, statement, User.id, start, limit)


async def count_users(connection: AsyncConnection) -> Row[int, int]:
    """`total_users` and `users_last_7_days`."""
    recent = select(func.count()).where(User.created_at >= func.now() - RECENT)
    statement = select(
        TOTAL.scalar_subquery().label("total_users"),
        recent.scalar_subquery().label("users_last_7_days"),
    )
    return (await connection.execute(statement)).one()


def _found(row: R | None, user_id: int) -> R:
    if row is None:
        raise NotFound(f"There is no user {user_id}.")
    return row


def _email_taken() -> AlreadyTaken:
    return AlreadyTaken("email: another user has this address.")


def _name_contains(part: str) -> ColumnElement[bool]:
    letters = re.sub(r"([\\%_])", r"\\\1", part)
    return _in_lower_case(User.name).like(_in_lower_case(literal(f"%{letters}%")))


def _in_lower_case(text: SQLColumnExpression[str]) -> ColumnElement[str]:
    return func.lower(collate(text, CASE_COLLATION))
