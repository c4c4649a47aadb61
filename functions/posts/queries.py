"""The posts' statements: plain functions on a connection, each one round trip."""

from collections.abc import Mapping
from datetime import datetime
from typing import TypeVar

from sqlalchemy import Row, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from blog.database import violation_of
from blog.errors import NotFound, UnknownReference
from blog.keyset import Slice, Start, fetch_slice, row_count
from blog.models import Post

COLUMNS = (Post.id, Post.user_id, Post.title, Post.content, Post.created_at)
TOTAL = row_count(Post.__tablename__)

R = TypeVar("R")
PostRow = Row[int, int, str, str, datetime]


async def insert_post(
    connection: AsyncConnection, user_id: int, title: str, content: str
) -> PostRow:
    """The new post. Raises `UnknownReference` when there is no such user."""
    values = {"user_id": user_id, "title": title, "content": content}
    statement = insert(Post).values(values).returning(*COLUMNS)
    with violation_of("posts_user_id_fkey", _unknown_user()):
        return (await connection.execute(statement)).one()


async def find_post(connection: AsyncConnection, post_id: int) -> PostRow:
    """The post. Raises `NotFound` when there is none."""
    statement = select(*COLUMNS).where(Post.id == post_id)
    return _found((await connection.execute(statement)).one_or_none(), post_id)


async def update_post(
    connection: AsyncConnection, post_id: int, values: Mapping[str, object]
) -> PostRow:
    """The changed post. Raises `NotFound`, or `UnknownReference` as `insert_post` does."""
    statement = update(Post).where(Post.id == post_id).values(values).returning(*COLUMNS)
    with violation_of("posts_user_id_fkey", _unknown_user()):
        return _found((await connection.execute(statement)).one_or_none(), post_id)


async def delete_post(connection: AsyncConnection, post_id: int) -> None:
    """Raises `NotFound` when there is none."""
    statement = delete(Post).where(Post.id == post_id).returning(Post.id)
    _found((await connection.execute(statement)).one_or_none(), post_id)


async def list_posts(
    connection: AsyncConnection,
    user_id: int | None,
    start: Start,
    limit: int,
    *,
    newest_first: bool,
) -> Slice:
    """All posts, or those of one user; none where there is no such user."""
    statement, total = select(*COLUMNS), TOTAL
    if user_id is not None:
        statement = statement.where(Post.user_id == user_id)
        total = select(func.count()).where(Post.user_id == user_id)
    return await fetch_slice(
        connection, statement, Post.id, start, limit, descending=newest_first, total=total
    )


async def count_posts(connection: AsyncConnection, start: Start, limit: int) -> Slice:
    """`user_id` and `post_count` of the users that have posts."""
    counts = select(Post.user_id, func.count().label("post_count")).group_by(Post.user_id)
    return await fetch_slice(connection, counts, Post.user_id, start, limit)


def _found(row: R | None, post_id: int) -> R:
    if row is None:
        raise NotFound(f"There is no post {post_id}.")
    return row


def _unknown_user() -> UnknownReference:
    return UnknownReference("user_id: there is no such user.")
