"""SQL of the posts: statements built once, each run in one round trip."""

from sqlalchemy import bindparam, func, select

from shared.database import Item, PagedQuery, Reader
from shared.database.models import posts
from shared.page import PagePosition, PageResult

ITEM = Item(posts, owner=posts.c.user_id)
ALL = PagedQuery(select(*posts.c), posts.c.id, counted=True)
OF_USER = PagedQuery(
    select(*posts.c).where(posts.c.user_id == bindparam("user_id")), posts.c.id, counted=True
)
COUNTS = PagedQuery(
    select(posts.c.user_id, func.count().label("post_count")).group_by(posts.c.user_id),
    posts.c.user_id,
)


async def list_posts(
    reader: Reader,
    user_id: int | None,
    start: PagePosition,
    limit: int,
    *,
    newest_first: bool,
) -> PageResult:
    """Return a page of all posts, or of one user's; an unknown user has no posts."""
    query = ALL if user_id is None else OF_USER
    return await query.fetch(reader, start, limit, {"user_id": user_id}, descending=newest_first)
