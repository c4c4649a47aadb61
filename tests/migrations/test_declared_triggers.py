"""A trigger that writes what no model says it does fails the migration that adds it."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, create_engine

from migrations.declared_triggers import UndeclaredTrigger, check_triggers
from shared.database.models import identities

WRITES = {
    "update": "UPDATE identities SET subject = subject WHERE false;",
    "insert": "INSERT INTO identities (issuer, subject) SELECT 'a', 'b' WHERE false;",
    "delete": "DELETE FROM ONLY public.identities WHERE false;",
    "merge": "MERGE INTO identities USING audit_log ON false WHEN MATCHED THEN DO NOTHING;",
    "with comments": "UPDATE /* the */ -- '\n identities SET subject = subject;",
    "with quotes": 'UPDATE ONLY "public" . "identities" SET subject = subject;',
    "beside a text like a comment": "RAISE '--'; UPDATE identities SET subject = subject;",
    "by another function": "PERFORM touch_identities();",
    "by a function in other letters": 'PERFORM public."touch_identities" (); PERFORM NOW();',
    "by a function in upper case": "PERFORM TOUCH_IDENTITIES();",
    "by a function of parsed SQL": "PERFORM touch_identities_atomically();",
    "by one of two functions with a name": "PERFORM touch_overloaded(1);",
    "by a view": "UPDATE identities_view SET subject = subject;",
    "by a view of a view": "DELETE FROM identities_view_view;",
    "by a text": "EXECUTE 'UPDATE identities SET subject = subject';",
}
"""Into a table that every product has, by a trigger of another one."""
BY_NAME = {
    "format": "EXECUTE format('UPDATE %I SET name = name', TG_ARGV[0]);",
    "format with a schema": "EXECUTE format('UPDATE %I.%I SET name = name', 'public', TG_ARGV[0]);",
    "concatenation": "EXECUTE 'UPDATE ' || TG_ARGV[0] || ' SET name = name';",
    "a variable": "IF true THEN EXECUTE TG_ARGV[0]; END IF;",
}
HARMLESS = "IF TG_OP IN ('UPDATE', 'DELETE') THEN RAISE 'Do not execute this'; END IF;"
FUNCTIONS = f"""
CREATE FUNCTION touch_identities() RETURNS void LANGUAGE sql AS '{WRITES["update"]}';
CREATE FUNCTION touch_identities_atomically() RETURNS void LANGUAGE sql
BEGIN ATOMIC {WRITES["update"]} END;
CREATE FUNCTION touch_overloaded(int) RETURNS void LANGUAGE sql AS '{WRITES["update"]}';
CREATE FUNCTION touch_overloaded(text) RETURNS void LANGUAGE sql AS 'SELECT';
CREATE VIEW identities_view AS SELECT * FROM identities;
CREATE VIEW identities_view_view AS SELECT * FROM identities_view;
"""


@pytest.fixture
def connection(migrated_url: str) -> Iterator[Connection]:
    """A transaction in the newest schema, which is rolled back."""
    engine = create_engine(migrated_url.replace("postgresql://", "postgresql+psycopg://", 1))
    with engine.connect() as made:
        made.exec_driver_sql(FUNCTIONS)
        yield made
        made.rollback()
    engine.dispose()


def add_trigger(connection: Connection, body: str) -> None:
    connection.exec_driver_sql(
        "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN {body} RETURN NULL; END $$".replace("%", "%%")
    )
    connection.exec_driver_sql(
        "CREATE TRIGGER touch AFTER INSERT ON audit_log FOR EACH STATEMENT EXECUTE FUNCTION touch()"
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


def test_a_rule_is_a_trigger(connection: Connection) -> None:
    connection.exec_driver_sql(
        f"CREATE RULE touch AS ON INSERT TO audit_log DO ALSO {WRITES['update']}"
    )
    with pytest.raises(UndeclaredTrigger, match=r"audit_log \(touch\) writes identities"):
        check_triggers(connection)


@pytest.mark.parametrize("body", BY_NAME.values(), ids=BY_NAME)
def test_a_trigger_that_does_not_name_what_it_writes_is_rejected(
    connection: Connection, body: str
) -> None:
    add_trigger(connection, body)
    with pytest.raises(UndeclaredTrigger, match="its text does not name"):
        check_triggers(connection)


def test_a_trigger_that_writes_nothing_needs_no_declaration(connection: Connection) -> None:
    add_trigger(connection, HARMLESS)
    check_triggers(connection)
