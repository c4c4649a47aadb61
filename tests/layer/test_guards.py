"""Statements without their guards, which tell why no row matched; and owners."""

from collections.abc import Iterator

import pytest
from sqlalchemy import (
    BigInteger,
    Column,
    Executable,
    ForeignKey,
    MetaData,
    Table,
    Text,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    true,
    union,
    update,
)
from sqlalchemy.dialects import postgresql

from shared.database import ownership
from shared.database.guards import sets_own, target_of
from shared.database.items import Item
from shared.database.links import Link
from shared.database.models import METADATA
from shared.database.own_rows import is_limited
from shared.database.ownership import OWN_USER_ID, is_own
from shared.database.statements import sql

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


OTHERS = NOTES.alias("others")
OWN = is_own(NOTES.c.user_id)
WRITE = update(NOTES).where(NOTES.c.id == 1)
MINE, JOINED = (select(NOTES).where(OWN).subquery() for _ in range(2))
IS_MINE = (NOTES.c.user_id == OWN_USER_ID).label("is_mine")
UPSERT = postgresql.insert(NOTES).values(user_id=OWN_USER_ID)
LIMITED: dict[str, Executable] = {
    "a condition": select(NOTES).where(NOTES.c.id == 1, OWN),
    "alternatives that are all the caller's": select(NOTES).where(
        or_(NOTES.c.user_id == OWN_USER_ID, NOTES.c.id.in_(select(OWN_USER_ID)))
    ),
    "a condition of the owner and more": select(NOTES).where(and_(OWN, NOTES.c.title == "a")),
    "a condition of a subquery": select(select(NOTES).where(OWN).subquery()),
    "a condition of a CTE": select(select(NOTES).where(OWN).cte()),
    "a condition of an update in a CTE": select(
        WRITE.where(OWN).returning(NOTES.c.id).cte("written")
    ),
    "a condition of a join": select(NOTES).join(
        OTHERS, and_(OTHERS.c.id == NOTES.c.id, is_own(OTHERS.c.user_id))
    ),
    "conditions of both sides of a join": select(
        JOINED.join(MINE, JOINED.c.id == MINE.c.id, full=True)
    ),
    "a query of the caller's own": select(NOTES).where(
        exists().where(OTHERS.c.id == NOTES.c.id, is_own(OTHERS.c.user_id))
    ),
    "conditions of all parts of a union": union(select(NOTES).where(OWN), select(NOTES).where(OWN)),
    "a condition of an update": WRITE.where(OWN),
    "a condition of a deletion": delete(NOTES).where(OWN),
    "a new row of the caller's": insert(NOTES).values(user_id=OWN_USER_ID),
    "a new row on a condition": insert(NOTES).from_select(
        ["user_id"], select(bindparam("owner")).where(is_own(bindparam("owner")))
    ),
    "an upsert whose condition is the caller's": UPSERT.on_conflict_do_update(
        index_elements=[NOTES.c.id], set_={"title": "b"}, where=OWN
    ),
    "an upsert that leaves the owner": UPSERT.on_conflict_do_update(
        index_elements=[NOTES.c.id], set_={"user_id": UPSERT.excluded.user_id}, where=OWN
    ),
    "an upsert that conflicts by the owner": UPSERT.on_conflict_do_update(
        index_elements=[NOTES.c.user_id], set_={"title": "b"}
    ),
    "SQL text with the caller": sql(
        "SELECT * FROM notes WHERE author = :_caller_subject", reads=[NOTES]
    ),
}
UNLIMITED: dict[str, Executable] = {
    "no condition": select(NOTES),
    "a column": select(NOTES, IS_MINE),
    "an order": select(NOTES).order_by(IS_MINE),
    "a condition on no column": select(NOTES).where(is_own(bindparam("user_id"))),
    "a deletion by a condition on no column": delete(NOTES).where(
        NOTES.c.id == 1, is_own(bindparam("user_id"))
    ),
    "a new row beside a condition": insert(NOTES).from_select(
        ["user_id"], select(bindparam("owner")).where(is_own(literal(1)))
    ),
    "an alternative": select(NOTES).where(or_(NOTES.c.title == "public", OWN)),
    "an alternative that a parameter selects": select(NOTES).where(
        or_(bindparam("mine", type_=Text) == "no", NOTES.c.user_id == OWN_USER_ID)
    ),
    "a negation": select(NOTES).where(NOTES.c.user_id != OWN_USER_ID),
    "a row that is not among the caller's": select(NOTES).where(
        NOTES.c.id.not_in(select(OTHERS.c.id).where(is_own(OTHERS.c.user_id)))
    ),
    "a condition with another default": select(NOTES).where(
        func.coalesce(NOTES.c.user_id == OWN_USER_ID, true())
    ),
    "a condition on other rows alone": select(NOTES).where(
        exists().where(OTHERS.c.user_id == OWN_USER_ID)
    ),
    "a condition that any row is the caller's": select(NOTES).where(
        exists(select(NOTES.c.id).where(NOTES.c.user_id == OWN_USER_ID))
    ),
    "the caller among the owners of any row": select(NOTES).where(
        OWN_USER_ID.in_(select(NOTES.c.user_id))
    ),
    "a table beside the caller's own rows": select(
        NOTES.c.id, select(OTHERS).where(is_own(OTHERS.c.user_id)).subquery().c.title
    ),
    "a condition of a full join": select(NOTES).join(OTHERS, is_own(OTHERS.c.user_id), full=True),
    "a condition of an outer join": select(NOTES).outerjoin(OTHERS, is_own(OTHERS.c.user_id)),
    "a condition of one side of a join": select(MINE.outerjoin(OTHERS, OTHERS.c.id == MINE.c.id)),
    "a condition of one part of a union": union(select(NOTES).where(OWN), select(NOTES)),
    "a new value": WRITE.values(user_id=OWN_USER_ID),
    "a returned value": WRITE.values(title="b").returning(IS_MINE),
    "an unlimited update beside a limited one": WRITE.where(OWN).add_cte(WRITE.cte("other")),
    "an unlimited read beside a limited update": select(NOTES).add_cte(WRITE.where(OWN).cte()),
    "an unlimited update beside a new row": insert(NOTES)
    .values(user_id=OWN_USER_ID)
    .add_cte(WRITE.cte("other")),
    "a new row that only returns the caller": insert(NOTES).returning(IS_MINE),
    "a new row of an alternative": insert(NOTES).from_select(
        ["title"], select(literal("a")).where(or_(literal("a") == "a", OWN))
    ),
    "an upsert of any row": UPSERT.on_conflict_do_update(
        index_elements=[NOTES.c.id], set_={"title": "b"}
    ),
    "an upsert that conflicts by another value": UPSERT.values(
        title=func.upper("a")
    ).on_conflict_do_update(index_elements=[NOTES.c.title], set_={"title": "b"}),
    "SQL text without the caller": sql("TABLE notes", reads=[NOTES]),
    "an upsert that gives the caller's row away": UPSERT.on_conflict_do_update(
        index_elements=[NOTES.c.id], set_={"user_id": bindparam("receiver")}, where=OWN
    ),
    "an upsert that gives away the row in conflict": UPSERT.on_conflict_do_update(
        index_elements=[NOTES.c.user_id], set_={"user_id": 2}
    ),
    "an update in a CTE that gives rows away": select(
        WRITE.where(OWN).values(user_id=2).returning(NOTES.c.id).cte("written")
    ),
    "an upsert of named rows": UPSERT.on_conflict_do_update(constraint="one", set_={"title": "b"}),
}


@pytest.mark.parametrize("condition", LIMITED)
def test_a_condition_on_the_caller_limits_a_statement(condition: str) -> None:
    assert is_limited(LIMITED[condition])


@pytest.mark.parametrize("use", UNLIMITED)
def test_another_use_of_the_caller_limits_nothing(use: str) -> None:
    assert not is_limited(UNLIMITED[use])


def test_a_row_may_become_anothers_by_the_columns_of_its_own_table() -> None:
    assert sets_own(WRITE.where(OWN), {"user_id": 2})
    assert not sets_own(WRITE.where(OWN), {"title": "b", "subject": "c"})


@pytest.fixture
def shops() -> Iterator[Table]:
    """A table of the models, whose rows belong to none of the callers' own."""
    key = Column("id", BigInteger, primary_key=True)
    yield Table("guarded_shops", METADATA, key, Column("city_id", BigInteger, primary_key=True))
    METADATA.remove(METADATA.tables["guarded_shops"])


@pytest.fixture
def shoppers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Table]:
    """The table of the callers' own rows."""
    found = Table("guarded_shoppers", METADATA, Column("id", BigInteger, primary_key=True))
    refers = Column("user_id", BigInteger, ForeignKey(found.c.id))
    monkeypatch.setattr(ownership, "identities", Table("identities", MetaData(), refers))
    yield found
    METADATA.remove(found)


def test_an_owner_without_a_key_to_the_owners_is_rejected_at_import(
    shops: Table, shoppers: Table
) -> None:
    with pytest.raises(TypeError, match=r"shops.city_id cannot be .* key to \w*shoppers.id"):
        Link(shops, owner=shops.c.city_id)
    Item(shoppers, owner=shoppers.c.id)
    orders = Table(
        "guarded_orders",
        METADATA,
        Column("id", BigInteger, primary_key=True),
        Column("shopper_id", BigInteger, ForeignKey(shoppers.c.id)),
    )
    try:
        Item(orders, owner=orders.c.shopper_id)
        with pytest.raises(TypeError, match=r"guarded_orders\.id cannot be an owner"):
            Item(orders, owner=orders.c.id)
    finally:
        METADATA.remove(orders)


def test_an_owner_is_rejected_at_import_if_no_table_has_owners(
    shops: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_owners = Table("identities", MetaData(), Column("user_id", BigInteger))
    monkeypatch.setattr(ownership, "identities", no_owners)
    with pytest.raises(TypeError, match=r"no table has callers' own rows.*adding-a-resource\.md"):
        Link(shops, owner=shops.c.city_id)
