"""What of the posts is cached, and which writes end it.

Cached: pages of the list that begin on a page's edge, at
`posts:{user id or all}:{order}:{page}:{limit}`. Every write to a post ends all pages, as one post
stands on pages of several lists.
"""

from contextlib import AbstractAsyncContextManager

from blog.cache import PageCache, invalidation
from blog.pagination import page_number
from posts.schemas import Order

POST_PAGES = PageCache("posts")


def page_key(user_id: int | None, order: Order, offset: int | None, limit: int) -> str | None:
    """The key of the page within `posts:`; None for one that is not cached."""
    page = page_number(offset, limit)
    return None if page is None else f"{user_id or 'all'}:{order}:{page}:{limit}"


def post_changes() -> AbstractAsyncContextManager[None]:
    return invalidation(POST_PAGES)
