"""SQL of the posts: statements built once, and functions that run each in one round trip."""

from collections.abc import Mapping
from datetime import datetime
from functools import cache

from sqlalchemy import Row, Text, and_, bindparam, delete, func, insert, select, update

from blog.database.failures import translate_violation
from blog.database.models import posts
from blog.database.ownership import is_own
from blog.database.paged_query import PagedQuery, fetch_page, row_count
from blog.database.transactions import Reader, Transaction
from blog.database.versions import meets_conditions, version
from blog.errors import InvalidReference
from blog.page import PagePosition, PageResult

COLUMNS = (posts.c.id, posts.c.user_id, posts.c.title, posts.c.content, posts.c.created_at)
VERSIONED = (*COLUMNS, version(posts))
TOTAL = row_count(posts.name)

POST_ID = bindparam("post_id", type_=posts.c.id.type)
USER_ID = bindparam("of_user", type_=posts.c.user_id.type)

AUTHOR = bindparam("author", type_=posts.c.user_id.type)
"""The post's new author; None keeps the present one."""

INSERT = (
    insert(posts)
    .from_select(
        ["user_id", "title", "content"],
        select(
            AUTHOR, bindparam("new_title", type_=Text), bindparam("new_content", type_=Text)
        ).where(is_own(AUTHOR)),
    )
    .returning(*VERSIONED)
)
FIND = select(*VERSIONED).where(posts.c.id == POST_ID)
IS_OWN = and_(is_own(posts.c.user_id), is_own(func.coalesce(AUTHOR, posts.c.user_id)))
WRITABLE = and_(posts.c.id == POST_ID, IS_OWN, meets_conditions(posts))
UPDATE = update(posts).where(WRITABLE).returning(*VERSIONED)
DELETE = delete(posts).where(WRITABLE).returning(posts.c.id)
COUNTS = PagedQuery(
    select(posts.c.user_id, func.count().label("post_count")).group_by(posts.c.user_id),
    posts.c.user_id,
)

PostRow = Row[int, int, str, str, datetime, str]


async def insert_post(transaction: Transaction, user_id: int, title: str, content: str) -> PostRow:
    """Return the new post.

    Raises `InvalidReference` when there is no such user, and `Forbidden`.
    """
    values = {"author": user_id, "new_title": title, "new_content": content}
    with translate_violation("posts_user_id_fkey", _unknown_user()):
        return await transaction.insert(INSERT, values)


async def find_post(reader: Reader, post_id: int) -> PostRow:
    """Return the post. Raises `NotFound`."""
    return await reader.find(FIND, {"post_id": post_id})


async def update_post(
    transaction: Transaction, post_id: int, values: Mapping[str, object]
) -> PostRow:
    """Return the updated post.

    Raises `NotFound`, `PreconditionFailed`, and `InvalidReference` and `Forbidden` as `insert_post`
    does.
    """
    values = {"post_id": post_id, "author": values.get("user_id"), **values}
    with translate_violation("posts_user_id_fkey", _unknown_user()):
        return await transaction.change(UPDATE, values)


async def delete_post(transaction: Transaction, post_id: int) -> None:
    """Delete the post. Raises `NotFound`, `Forbidden` and `PreconditionFailed`."""
    await transaction.change(DELETE, {"post_id": post_id, "author": None})


async def list_posts(
    reader: Reader,
    user_id: int | None,
    start: PagePosition,
    limit: int,
    *,
    newest_first: bool,
) -> PageResult:
    """Return a page of all posts, or of one user's; an unknown user has no posts."""
    listing = _posts(of_user=user_id is not None, newest_first=newest_first)
    return await fetch_page(reader, listing, start, limit, {"of_user": user_id})


async def get_post_stats(reader: Reader, start: PagePosition, limit: int) -> PageResult:
    """Return a page of `user_id` and `post_count`, of the users that have posts."""
    return await fetch_page(reader, COUNTS, start, limit)


@cache
def _posts(*, of_user: bool, newest_first: bool) -> PagedQuery:
    statement, total = select(*COLUMNS), TOTAL
    if of_user:
        statement = statement.where(posts.c.user_id == USER_ID)
        total = select(func.count()).where(posts.c.user_id == USER_ID)
    return PagedQuery(statement, posts.c.id, newest_first, total, whole_table=not of_user)


def _unknown_user() -> InvalidReference:
    return InvalidReference("user_id: there is no such user.")
