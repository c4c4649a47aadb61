"""A trigger that writes what no model says it does fails the migration that adds it."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, create_engine, text

from migrations.declared_triggers import UndeclaredTrigger, check_triggers
from shared.database.models import identities

WRITES = {
    "update": "UPDATE identities SET subject = subject WHERE false;",
    "insert": "INSERT INTO identities (issuer, subject) SELECT 'a', 'b' WHERE false;",
    "delete": "DELETE FROM ONLY public.identities WHERE false;",
    "merge": "MERGE INTO identities USING audit_log ON false WHEN MATCHED THEN DO NOTHING;",
    "by another function": "PERFORM touch_identities();",
}
"""Into a table that every product has, by a trigger of another one."""
BY_NAME = "EXECUTE format('UPDATE %I SET name = name', TG_ARGV[0]);"


@pytest.fixture
def connection(migrated_url: str) -> Iterator[Connection]:
    """A transaction in the newest schema, which is rolled back."""
    engine = create_engine(migrated_url.replace("postgresql://", "postgresql+psycopg://", 1))
    with engine.connect() as made:
        made.execute(
            text(
                "CREATE FUNCTION touch_identities() RETURNS void LANGUAGE sql "
                f"AS '{WRITES['update']}'"
            )
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
            "CREATE TRIGGER touch AFTER INSERT ON audit_log "
            "FOR EACH STATEMENT EXECUTE FUNCTION touch()"
        )
    )


def test_the_triggers_of_the_migrations_are_declared(connection: Connection) -> None:
    check_triggers(connection)


@pytest.mark.parametrize("body", WRITES.values(), ids=WRITES)
def test_a_trigger_that_writes_another_table_must_be_declared(
    connection: Connection, body: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_trigger(connection, body)
    wanted = r"of identities info=\{DERIVED_FROM: \('audit_log',\)\}"
    with pytest.raises(UndeclaredTrigger, match=wanted):
        check_triggers(connection)
    monkeypatch.setitem(identities.info, "derived_from", ("audit_log",))
    check_triggers(connection)


def test_a_trigger_that_does_not_name_what_it_writes_is_rejected(connection: Connection) -> None:
    add_trigger(connection, BY_NAME)
    with pytest.raises(UndeclaredTrigger, match="its text does not name"):
        check_triggers(connection)
