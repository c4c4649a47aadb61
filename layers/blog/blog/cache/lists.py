"""Every cached list, and what a write to its table invalidates.

A list shows rows of the table of its name, or of a part of it. An insert or an update there
invalidates it. So does a delete, also one that gets there by a cascade: `deleted_with` names every
table whose deleted rows take rows of this one along, directly or through other tables. A test
walks the models' foreign keys and fails where a declaration misses one.
"""

from blog.cache.fences import Fences
from blog.cache.pages import PageCache


class CachedList(PageCache):
    """A list whose pages are cached below its table's name."""

    def __init__(self, table: str, *, deleted_with: tuple[str, ...] = ()) -> None:
        super().__init__(table)
        self.deleted_with = deleted_with

    def on_write(self) -> Fences:
        """Return the fences of an insert into its table, or an update there."""
        return Fences(self)

    def on_delete(self) -> Fences:
        """Return the fences of a delete from its table, on the lists below it too."""
        below = [other for other in cached_lists() if self.name in other.deleted_with]
        return Fences(self, *below)


USERS = CachedList("users")
POSTS = CachedList("posts", deleted_with=("users",))


def cached_lists() -> list[CachedList]:
    """Return all that are declared here."""
    return [value for value in globals().values() if isinstance(value, CachedList)]
