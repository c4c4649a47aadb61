"""Lambda handler that migrates the database's schema, and maintains the database.

Event: `{"action": "upgrade" | "downgrade", "revision": "head" | "base" | "-1" | an id}`; the
default is an upgrade to the head. Response: `{"revision": the current id, null without a schema,
"repaired": []}`. At the head it also repairs a restored dump, lists the repairs in `repaired`, such
as `"setting lock_timeout"`, `"row_counts of users"` or `"sequence of users.id"`, and grants the
functions' role its rights. Concurrent runs wait for each other. An upgrade to the head leaves a
database of a later release unchanged, as a deployment that is rolled back runs the migrations of
the earlier release.

Event: `{"action": "status"}`. Response: `{"revision": the database's, null without a schema,
"head": the code's, "state": "current", "behind" or "later"}`; a later one is unknown to this code.

Event: `{"action": "delete-expired"}`, sent by a schedule, deletes expired idempotency keys and rows
of the audit log. Response: `{"deleted": {"idempotency_keys": a number, "audit_log": a number}}`,
empty if the database is behind the head, as the schedule of a new deployment starts before its
first migration.
"""

from pathlib import Path
from time import monotonic, sleep
from typing import Annotated, Any, Literal

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import OperationalError

from migrations.app_role import restore_app_roles
from migrations.declared_triggers import check_triggers
from migrations.upkeep import (
    delete_expired,
    restore_row_counts,
    restore_sequences,
    restore_settings,
)
from shared.database.server import database_url, provide_tokens
from shared.settings import settings

ADVISORY_LOCK = 7_262_101_845  # arbitrary, but unique in the database
SETTLING_SECONDS = 60.0
RETRY_SECONDS = 2.0


class MigrationEvent(BaseModel):
    model_config = ConfigDict(extra="forbid")

    action: Literal["upgrade", "downgrade", "status", "delete-expired"] = "upgrade"
    revision: Annotated[str, Field(min_length=1)] = "head"


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Execute the event's action; errors of the database and of Alembic are raised.

    A migration that fails changes nothing.
    """
    action = MigrationEvent.model_validate(event)
    engine = create_engine(database_url(), hide_parameters=True)
    provide_tokens(engine)
    try:
        with _connect(engine) as connection:
            _prepare_session(connection)
            config = alembic_config(connection)
            status = _status(connection, config)
            if action.action == "status":
                return status
            if action.action == "delete-expired":
                # Before the head, the tables may be others.
                is_behind = status["state"] == "behind"
                return {"deleted": {} if is_behind else delete_expired(connection)}
            if action == MigrationEvent() and status["state"] == "later":
                return {"revision": status["revision"], "repaired": []}
            run = command.upgrade if action.action == "upgrade" else command.downgrade
            run(config, action.revision)
            revision = MigrationContext.configure(connection).get_current_revision()
            is_head = revision == ScriptDirectory.from_config(config).get_current_head()
            if is_head:
                check_triggers(connection)
            return {
                "revision": revision,
                "repaired": _repair(engine, connection) if is_head else [],
            }
    finally:
        engine.dispose()


def _connect(engine: Engine) -> Connection:
    """Connect; with IAM authentication retry for a minute.

    A deployment creates the database, or the right to connect, seconds before the migrations run,
    when it may not have taken effect; and a database that paused for a day resumes slowly.
    """
    by_iam = settings().database_auth == "iam"
    deadline = monotonic() + (SETTLING_SECONDS if by_iam else 0)
    while True:
        try:
            return engine.connect()
        except OperationalError:
            if monotonic() >= deadline:
                raise
            sleep(RETRY_SECONDS)


def _prepare_session(connection: Connection) -> None:
    """Remove the functions' timeouts from this session, and wait for other migrations to end."""
    connection.execute(text("SET statement_timeout = 0"))
    connection.execute(text("SET transaction_timeout = 0"))
    connection.execute(text("SET idle_in_transaction_session_timeout = 0"))
    connection.execute(text("SET lock_timeout = '60s'"))
    connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": ADVISORY_LOCK})
    connection.commit()


def alembic_config(connection: Connection) -> Config:
    """Return a configuration with which Alembic's commands use this connection."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    return config


def _status(connection: Connection, config: Config) -> dict[str, str | None]:
    """Return the database's revision, this code's head, and how they compare."""
    revision = MigrationContext.configure(connection).get_current_revision()
    connection.commit()  # Alembic begins its own transaction
    script = ScriptDirectory.from_config(config)
    head = script.get_current_head()
    known = {None, *(one.revision for one in script.walk_revisions())}
    state = "current" if revision == head else "behind" if revision in known else "later"
    return {"revision": revision, "head": head, "state": state}


def _repair(engine: Engine, connection: Connection) -> list[str]:
    with engine.connect() as new_session:
        repaired = restore_settings(new_session)
    repaired += restore_row_counts(connection)
    repaired += restore_sequences(connection)
    if (app_user := settings().database_app_user) is not None:
        repaired += restore_app_roles(connection, app_user)
    delete_expired(connection)
    return repaired
