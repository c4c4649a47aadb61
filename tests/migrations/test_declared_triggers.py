"""A trigger that writes what no model says it does fails the migration that adds it."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, create_engine, text

from migrations.declared_triggers import UndeclaredTrigger, check_triggers
from shared.database.models import METADATA

WRITES = {
    "update": "UPDATE users SET name = name WHERE false;",
    "insert": "INSERT INTO users (name, email) SELECT 'a', 'b' WHERE false;",
    "delete": "DELETE FROM ONLY public.users WHERE false;",
    "merge": "MERGE INTO users USING posts ON false WHEN MATCHED THEN DO NOTHING;",
    "by another function": "PERFORM touch_users();",
}
BY_NAME = "EXECUTE format('UPDATE %I SET name = name', TG_ARGV[0]);"


@pytest.fixture
def connection(migrated_url: str) -> Iterator[Connection]:
    """A transaction in the newest schema, which is rolled back."""
    engine = create_engine(migrated_url.replace("postgresql://", "postgresql+psycopg://", 1))
    with engine.connect() as made:
        made.execute(
            text(f"CREATE FUNCTION touch_users() RETURNS void LANGUAGE sql AS '{WRITES['update']}'")
        )
        yield made
        made.rollback()
    engine.dispose()


def add_trigger(connection: Connection, body: str) -> None:
    connection.execute(
        text(
            "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN {body} RETURN NULL; END $$"
        )
    )
    connection.execute(
        text(
            "CREATE TRIGGER touch AFTER INSERT ON posts FOR EACH STATEMENT EXECUTE FUNCTION touch()"
        )
    )


def test_the_triggers_of_the_migrations_are_declared(connection: Connection) -> None:
    check_triggers(connection)


@pytest.mark.parametrize("body", WRITES.values(), ids=WRITES)
def test_a_trigger_that_writes_another_table_must_be_declared(
    connection: Connection, body: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_trigger(connection, body)
    with pytest.raises(UndeclaredTrigger, match=r"of users info=\{DERIVED_FROM: \('posts',\)\}"):
        check_triggers(connection)
    monkeypatch.setitem(METADATA.tables["users"].info, "derived_from", ("posts",))
    check_triggers(connection)


def test_a_trigger_that_does_not_name_what_it_writes_is_rejected(connection: Connection) -> None:
    add_trigger(connection, BY_NAME)
    with pytest.raises(UndeclaredTrigger, match="its text does not name"):
        check_triggers(connection)
