"""What is left of a statement without its guards, which tells why it matched no row."""

from sqlalchemy import BigInteger, Column, MetaData, Table, Text, and_, or_, update

from shared.database.guards import target_of
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
