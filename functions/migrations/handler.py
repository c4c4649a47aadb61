"""Lambda handler that brings the database's schema to a revision, and looks after it.

Event: `{"action": "upgrade" | "downgrade", "revision": "head" | "base" | "-1" | an id}`; without
an action it upgrades to the head. Answer: `{"revision": the id now, or null without a schema,
"repaired": []}`. An upgrade to the head also puts right what a restored dump lacks, such as
`"setting lock_timeout"` or `"row_counts of users"`, and names it in `repaired`. Runs that overlap
wait for each other.

Event: `{"action": "delete-expired-keys"}`, sent by a schedule. Answer: `{"deleted": their number}`.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection, Engine, create_engine, text

from blog.database.connection import database_url
from migrations.upkeep import delete_expired_keys, restore_row_counts, restore_settings

ADVISORY_LOCK = 7_262_101_845  # any number that nothing else in the database locks


class MigrationEvent(BaseModel):
    model_config = ConfigDict(extra="forbid")

    action: Literal["upgrade", "downgrade", "delete-expired-keys"] = "upgrade"
    revision: Annotated[str, Field(min_length=1)] = "head"


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Do what the event asks for. Raises what the database or Alembic raises.

    A migration that fails changes nothing.
    """
    wanted = MigrationEvent.model_validate(event)
    engine = create_engine(database_url(), hide_parameters=True)
    try:
        with engine.connect() as connection:
            if wanted.action == "delete-expired-keys":
                return {"deleted": delete_expired_keys(connection)}
            _take_time(connection)
            config = _config(connection)
            run = command.upgrade if wanted.action == "upgrade" else command.downgrade
            run(config, wanted.revision)
            revision = MigrationContext.configure(connection).get_current_revision()
            is_head = revision == ScriptDirectory.from_config(config).get_current_head()
            return {
                "revision": revision,
                "repaired": _repair(engine, connection) if is_head else [],
            }
    finally:
        engine.dispose()


def _take_time(connection: Connection) -> None:
    """Lift the functions' timeouts for this session, and wait for other migrations to end."""
    connection.execute(text("SET statement_timeout = 0"))
    connection.execute(text("SET transaction_timeout = 0"))
    connection.execute(text("SET idle_in_transaction_session_timeout = 0"))
    connection.execute(text("SET lock_timeout = '60s'"))
    connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": ADVISORY_LOCK})
    connection.commit()


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    return config


def _repair(engine: Engine, connection: Connection) -> list[str]:
    with engine.connect() as new_session:
        repaired = restore_settings(new_session)
    repaired += restore_row_counts(connection)
    delete_expired_keys(connection)
    return repaired
