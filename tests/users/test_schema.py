"""What the migrations make of the users: indexes, names, unique addresses."""

import psycopg
import pytest

from tests.migrations.conftest import Migrate, Schema
from tests.migrations.plans import assert_index
from tests.migrations.test_handler import AT_HEAD

PLANS = [
    ("fold_case(email COLLATE \"C\") = 'a'", "users_email_key"),
    (
        "name_parts(id >> 12, fold_case(name) COLLATE \"C\") @> search_parts(7, fold_case('Ada'))",
        "users_name_parts_idx",
    ),
    ("id > 7 ORDER BY id LIMIT 10", "users_pkey"),
]


@pytest.mark.parametrize(("condition", "index"), PLANS)
def test_a_query_uses_its_index(migrated: Schema, condition: str, index: str) -> None:
    assert_index(index, migrated, f"SELECT * FROM users WHERE {condition}")


def test_names_become_nfc_where_they_are_not(schema: Schema, migrate: Migrate) -> None:
    migrate(action="downgrade", revision="0005")
    schema.execute(
        "INSERT INTO users (name, email) VALUES"
        " (E'Jose\\u0301', 'a'), (E'Jos\\u00e9', 'b'), ('Jo', 'c')"
    )
    before = schema.execute("SELECT ctid FROM users WHERE id > 1").fetchall()
    migrate()
    assert schema.execute("SELECT name FROM users ORDER BY id").fetchall() == [
        ("Jos\u00e9",),
        ("Jos\u00e9",),
        ("Jo",),
    ]
    assert schema.execute("SELECT ctid FROM users WHERE id > 1").fetchall() == before  # untouched


FOLDED_ALIKE = [
    ("ada@example.org", "ADA@example.org"),
    ("ü@example.org", "Ü@example.org"),
    ("ÅSE@example.org", "åse@example.org"),
    ("жук@example.org", "ЖУК@example.org"),
    ("γιώργος@example.gr", "ΓΙΏΡΓΟΣ@example.gr"),
    ("straße@example.org", "STRASSE@example.org"),
    ("straße@example.org", "STRAẞE@example.org"),
    ("\u0131lg\u0131n@example.org", "ILGIN@example.org"),
    ("ada@example.org", "ADA@EXAMPLE.ORG"),
    ("\uff41da@example.org", "\uff21da@example.org"),
    ("ǆ@example.org", "ǅ@example.org"),
    ("5\u212a@example.org", "5k@example.org"),
]
FOLDED_APART = [
    ("jurgen@example.org", "jürgen@example.org"),
    ("\uff41da@example.org", "ada@example.org"),
    ("o\ufb03ce@example.org", "office@example.org"),
]
INSERT_USER = "INSERT INTO users (name, email) VALUES ('A', %s)"


@pytest.mark.parametrize(("first", "second"), FOLDED_ALIKE)
def test_addresses_are_unique_by_the_rule_of_names(
    migrated: Schema, first: str, second: str
) -> None:
    with migrated.transaction(force_rollback=True):
        migrated.execute(INSERT_USER, [first])
        with pytest.raises(psycopg.errors.UniqueViolation, match="users_email_key"):
            migrated.execute(INSERT_USER, [second])
    folded = migrated.execute("SELECT fold_case(%s) = fold_case(%s)", [first, second]).fetchone()
    assert folded == (True,)


@pytest.mark.parametrize(("first", "second"), FOLDED_APART)
def test_addresses_are_two_where_names_are(migrated: Schema, first: str, second: str) -> None:
    with migrated.transaction(force_rollback=True):
        for address in (first, second):
            migrated.execute(INSERT_USER, [address])


def test_colliding_addresses_stop_the_migration_which_lists_their_ids(
    schema: Schema, migrate: Migrate
) -> None:
    migrate(action="downgrade", revision="0007")
    addresses = [
        "\u03c3@example.gr",
        "x@example.org",
        "\u03c2@example.gr",
        "ß@example.de",
        "ss@example.de",
    ]
    for address in addresses:
        schema.execute(INSERT_USER, [address])
    with pytest.raises(Exception, match="same e-mail address") as raised:
        migrate()
    assert "by address: 1, 3; 4, 5. Nothing was changed" in str(raised.value)
    assert "example" not in str(raised.value)
    assert schema.execute("SELECT version_num FROM alembic_version").fetchone() == ("0007",)
    assert schema.execute("SELECT array_agg(email ORDER BY id) FROM users").fetchone() == (
        addresses,
    )
    schema.execute("DELETE FROM users WHERE id IN (3, 4)")
    assert migrate() == AT_HEAD
    migrate(action="downgrade", revision="0007")
    schema.execute(INSERT_USER, ["ς@example.gr"])
