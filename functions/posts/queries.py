"""SQL of the posts: statements built once, each run in one round trip."""

from collections.abc import Mapping

from sqlalchemy import Text, and_, bindparam, func, insert, select

from shared.database import Item, ItemRow, PagedQuery, Reader, Transaction, is_own
from shared.database.models import posts
from shared.page import PagePosition, PageResult

AUTHOR = bindparam("author", type_=posts.c.user_id.type)
"""The post's new author; None keeps the present one."""
IS_OWN = and_(is_own(posts.c.user_id), is_own(func.coalesce(AUTHOR, posts.c.user_id)))

ITEM = Item(posts, IS_OWN)
INSERT = (
    insert(posts)
    .from_select(
        ["user_id", "title", "content"],
        select(
            AUTHOR, bindparam("new_title", type_=Text), bindparam("new_content", type_=Text)
        ).where(is_own(AUTHOR)),
    )
    .returning(*ITEM.columns)
)
ALL = PagedQuery(select(*posts.c), posts.c.id, counted=True)
OF_USER = PagedQuery(
    select(*posts.c).where(posts.c.user_id == bindparam("user_id")), posts.c.id, counted=True
)
COUNTS = PagedQuery(
    select(posts.c.user_id, func.count().label("post_count")).group_by(posts.c.user_id),
    posts.c.user_id,
)


async def insert_post(transaction: Transaction, user_id: int, title: str, content: str) -> ItemRow:
    """Return the new post. Raises `InvalidReference` if there is no such user, and `Forbidden`."""
    values = {"author": user_id, "new_title": title, "new_content": content}
    return await transaction.insert(INSERT, values)


async def update_post(
    transaction: Transaction, post_id: int, values: Mapping[str, object]
) -> ItemRow:
    """Return the updated post.

    Raises `NotFound`, `PreconditionFailed`, and `InvalidReference` and `Forbidden` as `insert_post`
    does.
    """
    return await ITEM.update(transaction, post_id, {"author": values.get("user_id"), **values})


async def list_posts(
    reader: Reader,
    user_id: int | None,
    start: PagePosition,
    limit: int,
    *,
    newest_first: bool,
) -> PageResult:
    """Return a page of all posts, or of one user's; an unknown user has no posts."""
    listing = ALL if user_id is None else OF_USER
    return await listing.fetch(reader, start, limit, {"user_id": user_id}, descending=newest_first)
