"""The roles as which the functions connect; neither owns anything, or can change the schema.

One reads and writes rows, but only inserts into the audit log, so that a function under an
attacker's control leaves traces. The other is for the health check, and has no rights on tables, as
its function serves callers without a token. On RDS and Aurora they log in by IAM authentication.
"""

from sqlalchemy import Connection, text

from shared.database.models import METADATA, audit_log

ROWS = "SELECT, INSERT, UPDATE, DELETE"
RIGHTS = {table.name: ROWS for table in METADATA.sorted_tables} | {audit_log.name: "INSERT"}
EXISTS = "SELECT FROM pg_roles WHERE rolname = :name"
IAM_ROLE = "rds_iam"
"""Its members log in by IAM authentication only."""


def restore_app_roles(connection: Connection, name: str) -> list[str]:
    """Create the roles `name` and `name_health` if they are missing, and grant their rights.

    Return the created roles, such as `role blog_app`.
    The current role needs CREATEROLE.
    """
    created = _restore_role(connection, name, RIGHTS)
    return created + _restore_role(connection, f"{name}_health", {})


def _restore_role(connection: Connection, name: str, table_rights: dict[str, str]) -> list[str]:
    role = connection.dialect.identifier_preparer.quote(name)
    is_missing = not _exists(connection, name)
    if is_missing:
        connection.execute(text(f"CREATE ROLE {role} LOGIN"))
    if _exists(connection, IAM_ROLE):
        connection.execute(text(f"GRANT {IAM_ROLE} TO {role}"))
    connection.execute(text(f"GRANT USAGE ON SCHEMA public TO {role}"))
    for table, rights in table_rights.items():
        connection.execute(text(f"GRANT {rights} ON {table} TO {role}"))
    connection.commit()
    return [f"role {name}"] if is_missing else []


def _exists(connection: Connection, role: str) -> bool:
    return connection.execute(text(EXISTS), {"name": role}).first() is not None
