"""The migrations function: up, down, and up again."""

import threading
from pathlib import Path
from time import monotonic
from typing import Any

import psycopg
import pytest
from alembic.util import CommandError
from pydantic import ValidationError

from blog.models import Base
from migrations import handler
from migrations.handler import ADVISORY_LOCK
from tests.migrations.conftest import Migrate


def names(url: str) -> set[str]:
    """Of our tables and functions in the database; those of extensions are not ours."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT relname FROM pg_class"
            " WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
            " UNION SELECT proname FROM pg_proc p WHERE pronamespace = 'public'::regnamespace"
            " AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = p.oid AND deptype = 'e')"
        )
        return {row[0] for row in rows}


def settings(url: str) -> dict[str, str]:
    """What is set for every session of the database."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT setconfig FROM pg_db_role_setting s JOIN pg_database d ON d.oid = setdatabase"
            " WHERE datname = current_database() AND setrole = 0"
        ).fetchone()
    return dict(setting.split("=", 1) for setting in row[0]) if row else {}


FUNCTIONS = {"count_rows", "finish_blocks", "forget_rows", "short_parts", "widen_block"}
SCHEMA = {"alembic_version", *FUNCTIONS, *Base.metadata.tables}
HEAD = max(
    path.name.partition("_")[0] for path in (Path(handler.__file__).parent / "versions").glob("0*")
)


def test_an_empty_event_upgrades_to_the_head(migrate: Migrate, empty_url: str) -> None:
    assert migrate() == {"revision": HEAD}
    assert names(empty_url) == SCHEMA


def test_upgrading_again_changes_nothing(migrate: Migrate, empty_url: str) -> None:
    migrate()
    with psycopg.connect(empty_url, autocommit=True) as connection:
        connection.execute("INSERT INTO users (name, email) VALUES ('A', 'a@example.org')")
        assert migrate() == {"revision": HEAD}
        assert connection.execute("SELECT count(*) FROM users").fetchone() == (1,)


def test_a_step_down_leads_to_the_revision_before(migrate: Migrate, empty_url: str) -> None:
    migrate()
    assert migrate(action="downgrade", revision="-1") == {"revision": f"{int(HEAD) - 1:04}"}
    assert names(empty_url) < SCHEMA
    assert migrate() == {"revision": HEAD}
    assert names(empty_url) == SCHEMA


def test_down_takes_everything_away_and_up_brings_it_back(migrate: Migrate, empty_url: str) -> None:
    migrate()
    wanted = settings(empty_url)
    assert migrate(action="downgrade", revision="base") == {"revision": None}
    assert names(empty_url) == {"alembic_version"}
    assert settings(empty_url) == {}

    assert migrate(action="upgrade", revision="head") == {"revision": HEAD}
    assert names(empty_url) == SCHEMA
    assert settings(empty_url) == wanted


def test_a_schema_with_rows_goes_down(schema: psycopg.Connection[Any], migrate: Migrate) -> None:
    schema.execute("INSERT INTO users (name, email) VALUES ('A', 'a@example.org')")
    schema.execute("INSERT INTO posts (user_id, title, content) VALUES (1, 'T', 'C')")
    assert migrate(action="downgrade", revision="base") == {"revision": None}


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
def test_an_event_that_is_none_is_refused_and_nothing_done(
    migrate: Migrate, empty_url: str, event: dict[str, Any]
) -> None:
    with pytest.raises(ValidationError):
        migrate(**event)
    assert names(empty_url) == set()


@pytest.mark.parametrize("revision", ["9999", "nonsense"])
def test_an_unknown_revision_is_refused(migrate: Migrate, empty_url: str, revision: str) -> None:
    with pytest.raises(CommandError):
        migrate(revision=revision)
    assert "users" not in names(empty_url)


def test_a_failed_run_changes_nothing(migrate: Migrate, empty_url: str) -> None:
    with psycopg.connect(empty_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE row_counts (in_the_way int)")
        with pytest.raises(Exception, match="row_counts"):
            migrate()
        assert names(empty_url) == {"row_counts"}
        connection.execute("DROP TABLE row_counts")
    assert migrate() == {"revision": HEAD}


def test_a_run_waits_for_another_to_end(migrate: Migrate, empty_url: str) -> None:
    answers: list[dict[str, str | None]] = []
    runs = [threading.Thread(target=lambda: answers.append(migrate())) for _ in range(2)]
    with psycopg.connect(empty_url, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [ADVISORY_LOCK])
        for run in runs:
            run.start()
        wait_for_waiting(connection, 2)
        assert names(empty_url) == set()
        connection.execute("SELECT pg_advisory_unlock(%s)", [ADVISORY_LOCK])
        for run in runs:
            run.join()

    assert answers == [{"revision": HEAD}] * 2
    assert names(empty_url) == SCHEMA


def wait_for_waiting(connection: psycopg.Connection[Any], number: int) -> None:
    """Until that many sessions wait for the migrations' lock."""
    waiting = (
        "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
        " WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted"
    )
    give_up_at = monotonic() + 10
    while connection.execute(waiting).fetchone() != (number,):
        assert monotonic() < give_up_at


def test_a_runs_session_ends_with_it(migrate: Migrate, empty_url: str) -> None:
    migrate()
    with psycopg.connect(empty_url) as connection:
        others = connection.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert others.fetchone() == (0,)
