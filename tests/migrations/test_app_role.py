"""The roles that the migrations create for the functions: they do what these do, and no more."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.errors import InsufficientPrivilege

from local.generate.sample_events import MIGRATIONS, sample_events
from shared.database.models import METADATA
from tests.conftest import Worker
from tests.in_process import LambdaContext, handler_of
from tests.migrations.conftest import Migrate
from tests.resources import RESOURCES, SEEDED, insert_rows_for, is_done

ROLE = "blog_app_of_tests"
HEALTH_ROLE = f"{ROLE}_health"
EVENTS = {name: event for name, event in sample_events().items() if name not in MIGRATIONS}
FIRST = [f"{table.name}-create_" for table in METADATA.sorted_tables if table.name in RESOURCES][:1]
"""The beginning of the name of a create that needs no other row."""


@pytest.fixture
def app_url(worker: Worker, migrate: Migrate, empty_url: str, cache: object) -> Iterator[str]:
    """The URL of a migrated database for the role."""
    worker.restart(DATABASE_APP_USER=ROLE)
    assert migrate()["repaired"] == [f"role {ROLE}", f"role {HEALTH_ROLE}"]
    yield f"{empty_url}&user={ROLE}"
    worker.close()
    with psycopg.connect(empty_url, autocommit=True) as owner:
        for role in (ROLE, HEALTH_ROLE):
            owner.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(role)))


def send(event: dict[str, Any]) -> int:
    handler = handler_of(event["rawPath"])
    status: int = handler(event, LambdaContext())["statusCode"]
    return status


def test_every_operation_works_as_the_role(app_url: str, worker: Worker, empty_url: str) -> None:
    worker.restart(DATABASE_URL=app_url)
    statuses = {}
    with psycopg.connect(empty_url, autocommit=True) as owner:
        for name, event in EVENTS.items():
            for table in SEEDED:
                owner.execute(f"TRUNCATE {table.name} RESTART IDENTITY CASCADE".encode())
            operation = name.partition("-")[2]
            insert_rows_for(owner, operation)
            statuses[operation] = send(event)
    assert statuses
    assert [one for one in statuses.items() if not is_done(*one)] == []


@pytest.mark.parametrize("name", [one for one in EVENTS if one.startswith(tuple(FIRST))])
def test_a_retried_create_works_as_the_role(app_url: str, worker: Worker, name: str) -> None:
    worker.restart(DATABASE_URL=app_url)
    event = deepcopy(EVENTS[name])
    event["headers"]["idempotency-key"] = "one"
    assert [send(event), send(event)] == [201, 201]


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE made_things (id int)",
        "CREATE SCHEMA mine",
        "DROP TABLE identities",
        "ALTER TABLE identities ADD COLUMN age int",
        "ALTER TABLE identities DISABLE TRIGGER ALL",
        "TRUNCATE identities",
        "CREATE ROLE mine",
        "SELECT FROM audit_log",
        "UPDATE audit_log SET subject = NULL",
        "DELETE FROM audit_log",
        "SELECT FROM alembic_version",
    ],
)
def test_the_role_can_do_nothing_else(app_url: str, statement: str) -> None:
    with (
        psycopg.connect(app_url, autocommit=True) as connection,
        pytest.raises(InsufficientPrivilege),
    ):
        connection.execute(statement.encode())


def test_the_health_check_works_without_a_right_on_any_table(
    app_url: str, worker: Worker, database: psycopg.Connection[Any]
) -> None:
    health_url = f"{app_url}_health"
    worker.restart(DATABASE_URL=health_url)
    assert send(EVENTS["meta-get_health"]) == 200
    with psycopg.connect(health_url, autocommit=True) as connection:
        tables = connection.execute(
            "SELECT oid::regclass::text FROM pg_class "
            "WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
        ).fetchall()
        assert len(tables) > 3
        for (table,) in tables:
            with pytest.raises(InsufficientPrivilege):
                connection.execute(f"SELECT FROM {table}".encode())


@pytest.mark.parametrize("name", [name for name in EVENTS if "-list_" in name][:1])
def test_its_rights_are_restored_by_each_upgrade(
    app_url: str, migrate: Migrate, worker: Worker, name: str
) -> None:
    owner_url = app_url.removesuffix(f"&user={ROLE}")
    with psycopg.connect(owner_url, autocommit=True) as owner:
        owner.execute(f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {ROLE}")
    worker.restart(DATABASE_URL=app_url)
    assert send(EVENTS[name]) == 500
    worker.restart(DATABASE_URL=owner_url)
    assert migrate()["repaired"] == []
    worker.restart(DATABASE_URL=app_url)
    assert send(EVENTS[name]) == 200


def test_it_logs_in_by_iam_where_there_is_iam(app_url: str, migrate: Migrate) -> None:
    owner_url = app_url.removesuffix(f"&user={ROLE}")
    member = "SELECT pg_has_role(%s, 'rds_iam', 'MEMBER')"
    with psycopg.connect(owner_url, autocommit=True) as owner:
        owner.execute("CREATE ROLE rds_iam")
        try:
            migrate()
            assert owner.execute(member, [ROLE]).fetchone() == (True,)
        finally:
            owner.execute("DROP ROLE rds_iam")


def test_without_the_setting_no_role_is_created(migrate: Migrate, empty_url: str) -> None:
    migrate()
    with psycopg.connect(empty_url) as connection:
        found = connection.execute("SELECT FROM pg_roles WHERE rolname LIKE 'blog_app%'")
        assert found.fetchone() is None
