"""What a write invalidates follows the models' foreign keys."""

from blog.cache.lists import cached_lists
from sqlalchemy import Table

from blog.database.models import METADATA

TABLES = METADATA.tables


def deleted_with(table: Table) -> set[str]:
    """Every table of which a deleted row takes rows of this one along."""
    above: set[str] = set()
    for key in table.foreign_keys:
        # SET NULL and SET DEFAULT change rows that a list may show.
        if key.ondelete in ("CASCADE", "SET NULL", "SET DEFAULT"):
            parent = key.column.table
            above |= {parent.name} | (deleted_with(parent) if parent is not table else set())
    return above


def test_every_cached_list_shows_a_table_of_its_own() -> None:
    names = [cached.name for cached in cached_lists()]
    assert names
    assert len(names) == len(set(names))
    assert set(names) <= set(TABLES)


def test_every_cascade_to_a_cached_list_is_declared() -> None:
    for cached in cached_lists():
        assert set(cached.deleted_with) == deleted_with(TABLES[cached.name]), cached.name
