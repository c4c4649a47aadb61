"""Lambda handler that brings the database's schema to a revision.

Event: `{"action": "upgrade" | "downgrade", "revision": "head" | "base" | "-1" | an id}`; without
an action it upgrades to the head. Answer: `{"revision": the id now, or null without a schema}`.
Runs that overlap wait for each other.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection, create_engine, text

from blog.database import database_url

ADVISORY_LOCK = 7_262_101_845  # any number that nothing else in the database locks


class MigrationEvent(BaseModel):
    model_config = ConfigDict(extra="forbid")

    action: Literal["upgrade", "downgrade"] = "upgrade"
    revision: Annotated[str, Field(min_length=1)] = "head"


def handler(event: dict[str, Any], _context: object) -> dict[str, str | None]:
    """Migrate. Raises what the database or Alembic raises; a failed run changes nothing."""
    wanted = MigrationEvent.model_validate(event)
    engine = create_engine(database_url(), hide_parameters=True)
    try:
        with engine.connect() as connection:
            _take_time(connection)
            return {"revision": _migrate(connection, wanted)}
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


def _migrate(connection: Connection, wanted: MigrationEvent) -> str | None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    run = command.upgrade if wanted.action == "upgrade" else command.downgrade
    run(config, wanted.revision)
    return MigrationContext.configure(connection).get_current_revision()
