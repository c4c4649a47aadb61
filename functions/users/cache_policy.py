"""What of the users is cached, and which writes end it.

Cached: pages of the list that begin on a page's edge, at `users:{page}:{limit}`. Pages that are
entered by a cursor or in between are read by key and not cached. Every write to a user ends all
pages; deleting one takes its posts along, and so ends theirs too.
"""

from contextlib import AbstractAsyncContextManager

from blog.cache import PageCache, invalidation
from blog.pagination import page_number

USER_PAGES = PageCache("users")
POST_PAGES = PageCache("posts")


def page_key(offset: int | None, limit: int) -> str | None:
    """The key of the page within `users:`; None for one that is not cached."""
    page = page_number(offset, limit)
    return None if page is None else f"{page}:{limit}"


def user_changes() -> AbstractAsyncContextManager[None]:
    return invalidation(USER_PAGES)


def user_vanishes() -> AbstractAsyncContextManager[None]:
    return invalidation(USER_PAGES, POST_PAGES)
