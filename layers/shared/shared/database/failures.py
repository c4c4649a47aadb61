"""Database errors as errors of `shared.errors`; no response contains their text."""

from typing import Any

import psycopg
from sqlalchemy.exc import DBAPIError

from shared.errors import ApiError, DatabaseUnavailable, InternalError
from shared.observability import logger
from shared.settings import LOCAL_STAGE, settings

# SQLSTATE classes of transient failures: connection, resources, operator intervention (timeouts,
# shutdown), lock not available, serialization and deadlock, read-only or timed-out transaction.
# Source: PostgreSQL's appendix "Error Codes".
TRANSIENT_ERRORS = ("08", "53", "57", "58", "55P03", "40", "25006", "25P03", "25P04", "28", "3D")
READ_ONLY = "25006"
CONCURRENT = ("40", "55P03")
"""Of these: another transaction was writing the same rows."""
# Connection exceptions, shutdown, crash or start, a read-only server, and errors of replicas only.
SERVER_ERRORS = ("08", "57P", "58", READ_ONLY, "0A000", "55000", "XX")
REJECTED_BY_LIBPQ = ("session is read-only", "server is in hot standby mode")


def needs_new_connection(error: DBAPIError | psycopg.Error) -> bool:
    """Whether the connection is broken, or its server fails or is not the primary."""
    return (sqlstate_of(error) or "").startswith(SERVER_ERRORS)


def is_read_only(error: DBAPIError | psycopg.Error) -> bool:
    """Whether the server is read-only, by its SQLSTATE or by libpq's text when connecting.

    The text of psycopg's libpq is always English.
    """
    text = str(_driver_error(error))
    return sqlstate_of(error) == READ_ONLY or any(reason in text for reason in REJECTED_BY_LIBPQ)


def api_error(error: DBAPIError | psycopg.Error, *, lost: bool) -> ApiError:
    """Return the error for the client; `lost`: the connection is closed."""
    state = sqlstate_of(error)
    if not lost and (state or "").startswith(CONCURRENT):
        return changed_concurrently()
    if lost or state is None or state.startswith(TRANSIENT_ERRORS):
        lost = lost or needs_new_connection(error)
        return database_unavailable(connection_lost=lost, read_only=is_read_only(error))
    return InternalError()


def database_unavailable(
    *, connection_lost: bool = False, read_only: bool = False
) -> DatabaseUnavailable:
    problem = "accepts no changes at the moment" if read_only else "does not respond"
    return DatabaseUnavailable(
        f"The database {problem}; nothing was changed.",
        connection_lost=connection_lost,
        read_only=read_only,
    )


def changed_concurrently() -> DatabaseUnavailable:
    """Return the error of a write that lost to another one of the same rows."""
    return DatabaseUnavailable("Another request is changing the same; nothing was changed.")


def log_failure(error: DBAPIError | psycopg.Error, reason: str | None = None) -> None:
    """Log the error; the driver's text, which may quote a client's values, only locally."""
    text: dict[str, Any] = (
        {"text": str(_driver_error(error))} if settings().stage == LOCAL_STAGE else {}
    )
    logger().error(
        "database error",
        error=type(_driver_error(error)).__name__,
        sqlstate=sqlstate_of(error),
        constraint=violated_constraint(error)[1],
        statement=error.statement if isinstance(error, DBAPIError) else None,
        reason=reason,
        **text,
    )


def sqlstate_of(error: DBAPIError | psycopg.Error) -> str | None:
    state = getattr(_driver_error(error), "sqlstate", None)
    return None if state is None else str(state)


def violated_constraint(error: DBAPIError | psycopg.Error) -> tuple[str | None, str | None]:
    """Return the names of the table and constraint that were violated, None if none was."""
    diagnostic = getattr(_driver_error(error), "diag", None)
    names = (getattr(diagnostic, name, None) for name in ("table_name", "constraint_name"))
    table, constraint = names
    return table, constraint


def _driver_error(error: DBAPIError | psycopg.Error) -> BaseException | None:
    return error.orig if isinstance(error, DBAPIError) else error


def is_rejected_password(error: DBAPIError) -> bool:
    """Return whether the server asked for the password and then rejected the connection.

    libpq has no SQLSTATE of a failed connection, and its text is in the server's language.
    """
    driver_error = _driver_error(error)
    connection = driver_error.pgconn if isinstance(driver_error, psycopg.Error) else None
    return connection is not None and connection.used_password
