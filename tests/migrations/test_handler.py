"""The migrations function: up, down, and up again."""

import re
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import psycopg
import pytest
from alembic.util import CommandError
from pydantic import ValidationError
from sqlalchemy.exc import OperationalError

from migrations import handler
from migrations.handler import ADVISORY_LOCK, MigrationEvent
from shared.database.models import METADATA
from tests.conftest import Worker
from tests.migrations.conftest import Migrate
from tests.resources import insert_rows


def definitions(url: str) -> set[Any]:
    """Of indexes, columns and functions, which a revision may change under the same names."""
    with psycopg.connect(url) as connection:
        return set(
            connection.execute(
                "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'"
                " UNION ALL SELECT concat_ws(' ', table_name, column_name, udt_name)"
                " FROM information_schema.columns WHERE table_schema = 'public'"
                " UNION ALL SELECT pg_get_functiondef(p.oid) FROM pg_proc p"
                " WHERE pronamespace = 'public'::regnamespace AND prokind = 'f'"
            )
        )


def names(url: str) -> set[str]:
    """Of our tables and functions in the database; those of extensions are not ours.

    Functions that keep two columns equal come with one and end with the other.
    """
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT relname FROM pg_class"
            " WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
            " UNION SELECT proname FROM pg_proc p WHERE pronamespace = 'public'::regnamespace"
            " AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = p.oid AND deptype = 'e')"
            " AND proname NOT LIKE '%are_equal'"
        )
        return {row[0] for row in rows}


def settings(url: str) -> dict[str, str]:
    """The settings of the database's sessions."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT setconfig FROM pg_db_role_setting s JOIN pg_database d ON d.oid = setdatabase"
            " WHERE datname = current_database() AND setrole = 0"
        ).fetchone()
    return dict(setting.split("=", 1) for setting in row[0]) if row else {}


ROOT = Path(__file__).parents[2]
VERSIONS = sorted((Path(handler.__file__).parent / "versions").glob("0*"))
FUNCTIONS = {
    name
    for path in VERSIONS
    for name in re.findall(r"^CREATE FUNCTION (\w+)", path.read_text(), re.MULTILINE)
} - {"short_parts"}  # until revision 0006
SCHEMA = {"alembic_version", *FUNCTIONS, *METADATA.tables}
HEAD = VERSIONS[-1].name.partition("_")[0]
KEY = "INSERT INTO idempotency_keys (path, key, resource_id, expires_at)"
AT_HEAD = {"revision": HEAD, "repaired": []}


def test_an_empty_event_upgrades_to_the_head(migrate: Migrate, empty_url: str) -> None:
    assert migrate(action="status") == {"revision": None, "head": HEAD, "state": "behind"}
    assert migrate() == AT_HEAD
    assert names(empty_url) == SCHEMA


def test_upgrading_again_changes_nothing(migrate: Migrate, empty_url: str) -> None:
    migrate()
    with psycopg.connect(empty_url, autocommit=True) as connection:
        connection.execute(f"{KEY} SELECT '/things', 'key', 1, now() + interval '1 hour'")
        assert migrate() == AT_HEAD
        assert connection.execute("SELECT count(*) FROM idempotency_keys").fetchone() == (1,)


def test_a_step_down_leads_to_the_revision_before(migrate: Migrate, empty_url: str) -> None:
    migrate()
    assert migrate(action="status") == {"revision": HEAD, "head": HEAD, "state": "current"}
    at_head = definitions(empty_url)
    before = f"{int(HEAD) - 1:04}"
    assert migrate(action="downgrade", revision="-1")["revision"] == before
    assert migrate(action="status") == {"revision": before, "head": HEAD, "state": "behind"}
    assert definitions(empty_url) != at_head
    assert migrate() == AT_HEAD
    assert definitions(empty_url) == at_head
    assert names(empty_url) == SCHEMA


def test_a_database_of_a_later_release_is_left_as_it_is(migrate: Migrate, empty_url: str) -> None:
    migrate()
    with psycopg.connect(empty_url, autocommit=True) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    assert migrate() == {"revision": "9999", "repaired": []}
    assert migrate(action="status") == {"revision": "9999", "head": HEAD, "state": "later"}
    with pytest.raises(CommandError):
        migrate(revision=HEAD)


def test_down_removes_everything_and_up_restores_it(migrate: Migrate, empty_url: str) -> None:
    migrate()
    wanted = settings(empty_url)
    assert migrate(action="downgrade", revision="base")["revision"] is None
    assert names(empty_url) == {"alembic_version"}
    assert settings(empty_url) == {}

    assert migrate(action="upgrade", revision="head") == AT_HEAD
    assert names(empty_url) == SCHEMA
    assert settings(empty_url) == wanted


def test_a_schema_with_rows_is_downgraded(
    schema: psycopg.Connection[Any], migrate: Migrate
) -> None:
    insert_rows(schema, 1, 3)
    assert migrate(action="downgrade", revision="base")["revision"] is None


@pytest.mark.parametrize(
    "event",
    [
        {"action": "drop"},
        {"action": None},
        {"revision": 1},
        {"revision": None},
        {"revision": ""},
        {"Action": "upgrade"},
        {"action": "upgrade", "sql": True},
    ],
)
def test_an_invalid_event_is_rejected_and_nothing_done(
    migrate: Migrate, empty_url: str, event: dict[str, Any]
) -> None:
    with pytest.raises(ValidationError):
        migrate(**event)
    assert names(empty_url) == set()


@pytest.mark.parametrize("revision", ["9999", "nonsense"])
def test_an_unknown_revision_is_rejected(migrate: Migrate, empty_url: str, revision: str) -> None:
    with pytest.raises(CommandError):
        migrate(revision=revision)
    assert not names(empty_url) & METADATA.tables.keys()


def test_a_failed_run_changes_nothing(migrate: Migrate, empty_url: str) -> None:
    with psycopg.connect(empty_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE row_counts (in_the_way int)")
        with pytest.raises(Exception, match="row_counts"):
            migrate()
        assert names(empty_url) == {"row_counts"}
        connection.execute("DROP TABLE row_counts")
    assert migrate() == AT_HEAD


def test_a_run_waits_for_another_to_end(migrate: Migrate, empty_url: str) -> None:
    responses: list[dict[str, Any]] = []
    runs = [threading.Thread(target=lambda: responses.append(migrate())) for _ in range(2)]
    with psycopg.connect(empty_url, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [ADVISORY_LOCK])
        for run in runs:
            run.start()
        wait_for_waiting(connection, 2)
        assert names(empty_url) == set()
        connection.execute("SELECT pg_advisory_unlock(%s)", [ADVISORY_LOCK])
        for run in runs:
            run.join()

    assert responses == [AT_HEAD] * 2
    assert names(empty_url) == SCHEMA


def wait_for_waiting(connection: psycopg.Connection[Any], number: int) -> None:
    """Until that many sessions wait for the migrations' lock."""
    waiting = (
        "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
        " WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted"
    )
    deadline = monotonic() + 10
    while connection.execute(waiting).fetchone() != (number,):
        assert monotonic() < deadline


def test_a_runs_session_ends_with_it(migrate: Migrate, empty_url: str) -> None:
    migrate()
    with psycopg.connect(empty_url) as connection:
        others = connection.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert others.fetchone() == (0,)


@pytest.mark.parametrize(
    ("event", "response"),
    [
        (
            {"action": "delete-expired"},
            {"deleted": {"idempotency_keys": 2500, "audit_log": 1500}},
        ),
        ({}, AT_HEAD),
    ],
    ids=["schedule", "upgrade"],
)
def test_expired_rows_are_deleted_and_no_others(
    schema: psycopg.Connection[Any],
    migrate: Migrate,
    event: dict[str, str],
    response: dict[str, Any],
) -> None:
    insert = f"{KEY} SELECT '/things', %s || n, n, now() + %s FROM generate_series(1, %s) n"
    schema.execute(insert, ["old-", timedelta(seconds=-1), 2500])
    schema.execute(insert, ["new-", timedelta(hours=1), 3])
    audit = (
        "INSERT INTO audit_log (at, action, resource, resource_id, request_id)"
        " SELECT now() - %s, 'create_thing', 'things', n, '' FROM generate_series(1, %s) n"
    )
    schema.execute(audit, [timedelta(days=365, seconds=1), 1500])
    schema.execute(audit, [timedelta(days=364), 2])
    assert migrate(**event) == response
    keys = schema.execute("SELECT key FROM idempotency_keys ORDER BY key").fetchall()
    assert keys == [("new-1",), ("new-2",), ("new-3",)]
    assert schema.execute("SELECT count(*) FROM audit_log").fetchone() == (2,)


def test_the_schedule_begins_before_the_first_migration(migrate: Migrate, empty_url: str) -> None:
    assert migrate(action="delete-expired") == {"deleted": {}}
    assert names(empty_url) == set()


@pytest.mark.parametrize("revision", [path.name.partition("_")[0] for path in VERSIONS])
def test_the_schedule_deletes_nothing_before_the_head(migrate: Migrate, revision: str) -> None:
    migrate(revision=revision)
    deleted = {} if revision != HEAD else {"idempotency_keys": 0, "audit_log": 0}
    assert migrate(action="delete-expired") == {"deleted": deleted}


def test_the_schedule_deletes_while_a_later_release_is_rolled_back(
    schema: psycopg.Connection[Any], migrate: Migrate
) -> None:
    schema.execute("UPDATE alembic_version SET version_num = 'later'")
    assert set(migrate(action="delete-expired")["deleted"]) == {"idempotency_keys", "audit_log"}


def test_the_schedules_event_is_one_that_the_function_takes() -> None:
    from samcli.yamlhelper import yaml_parse  # two seconds of imports

    template = yaml_parse((ROOT / "template.yaml").read_text())
    function = template["Resources"]["MigrationsFunction"]["Properties"]
    inputs = [event["Properties"]["Input"] for event in function["Events"].values()]
    assert [MigrationEvent.model_validate_json(text).action for text in inputs] == [
        "delete-expired"
    ]


@pytest.fixture
def by_iam(
    worker: Worker, empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], object]]:
    """The function connects by IAM as a user; the fixture executes statements about it."""
    user = f"user_{uuid.uuid4().hex}"
    monkeypatch.setattr(handler, "RETRY_SECONDS", 0.05)
    worker.restart(
        DATABASE_URL=f"{empty_url}&user={user}",
        DATABASE_AUTH="iam",
        AWS_REGION="eu-west-1",
        AWS_ACCESS_KEY_ID="ASIAEXAMPLE",
        AWS_SECRET_ACCESS_KEY="secret",
    )
    with psycopg.connect(empty_url, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {user} SUPERUSER NOLOGIN")
        yield lambda statement: admin.execute(statement.format(user=user))
        admin.execute(f"REASSIGN OWNED BY {user} TO CURRENT_USER")
        admin.execute(f"DROP ROLE {user}")


def test_a_right_to_connect_that_is_not_in_force_yet_is_waited_for(
    by_iam: Callable[[str], object],
) -> None:
    with ThreadPoolExecutor() as pool:
        run = pool.submit(handler.handler, {}, None)
        with pytest.raises(TimeoutError):
            run.result(timeout=0.5)
        by_iam("ALTER ROLE {user} LOGIN")
        assert run.result(timeout=30)["revision"] == HEAD


def test_a_right_to_connect_that_never_takes_effect_is_an_error(
    by_iam: Callable[[str], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler, "SETTLING_SECONDS", 0.2)
    with pytest.raises(OperationalError, match="not permitted to log in"):
        handler.handler({}, None)


def test_without_iam_a_rejected_connection_is_an_error_at_once(
    by_iam: Callable[[str], object], worker: Worker
) -> None:
    worker.restart(DATABASE_AUTH="password")
    begun = monotonic()
    with pytest.raises(OperationalError, match="not permitted to log in"):
        handler.handler({}, None)
    assert monotonic() - begun < handler.SETTLING_SECONDS / 2
