"""Statements without their guards, which tell why no row matched; and owners."""

from collections.abc import Iterator

import pytest
from sqlalchemy import BigInteger, Column, ForeignKey, MetaData, Table, Text, and_, or_, update

from shared.database import ownership
from shared.database.guards import target_of
from shared.database.items import Item
from shared.database.links import Link
from shared.database.models import METADATA
from shared.database.ownership import is_own

NOTES = Table(
    "notes",
    MetaData(),
    Column("id", BigInteger, primary_key=True),
    Column("user_id", BigInteger),
    Column("title", Text),
)


def test_conditions_beside_the_guard_still_find_the_row() -> None:
    named = and_(NOTES.c.id == 1, and_(NOTES.c.title == "a", is_own(NOTES.c.user_id)))
    assert "notes.id = :id_1 AND notes.title = :title_1" in str(
        target_of(update(NOTES).where(named))
    )


def test_alternatives_stay_alternatives() -> None:
    either = or_(NOTES.c.id == 1, NOTES.c.title == "a")
    for guards in ((), (is_own(NOTES.c.user_id),)):
        found = str(target_of(update(NOTES).where(either, *guards)))
        assert "notes.id = :id_1 OR notes.title = :title_1" in found


@pytest.fixture
def shops() -> Iterator[Table]:
    """A table of the models, whose rows belong to none of the callers' own."""
    key = Column("id", BigInteger, primary_key=True)
    yield Table("shops", METADATA, key, Column("city_id", BigInteger, primary_key=True))
    METADATA.remove(METADATA.tables["shops"])


@pytest.fixture
def shoppers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Table]:
    """The table of the callers' own rows."""
    found = Table("shoppers", METADATA, Column("id", BigInteger, primary_key=True))
    refers = Column("user_id", BigInteger, ForeignKey(found.c.id))
    monkeypatch.setattr(ownership, "identities", Table("identities", MetaData(), refers))
    yield found
    METADATA.remove(found)


def test_an_owner_that_refers_to_none_is_refused_at_import(shops: Table, shoppers: Table) -> None:
    with pytest.raises(TypeError, match=r"shops.city_id cannot be .* key to shoppers.id"):
        Link(shops, owner=shops.c.city_id)
    Item(shoppers, owner=shoppers.c.id)
    orders = Table(
        "orders",
        METADATA,
        Column("id", BigInteger, primary_key=True),
        Column("shopper_id", BigInteger, ForeignKey(shoppers.c.id)),
    )
    try:
        Item(orders, owner=orders.c.shopper_id)
        with pytest.raises(TypeError, match=r"orders\.id cannot be an owner"):
            Item(orders, owner=orders.c.id)
    finally:
        METADATA.remove(orders)


def test_an_owner_is_refused_at_import_where_no_rows_are_callers_own(
    shops: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_owners = Table("identities", MetaData(), Column("user_id", BigInteger))
    monkeypatch.setattr(ownership, "identities", no_owners)
    with pytest.raises(TypeError, match=r"no table has callers' own rows.*adding-a-resource\.md"):
        Link(shops, owner=shops.c.city_id)
