"""The role that the functions connect as: it reads and writes rows, and owns nothing.

It cannot change the schema, nor read, change or delete rows of the audit log, so that a function
under an attacker's control leaves traces. On RDS and Aurora it logs in by IAM authentication.
"""

from sqlalchemy import Connection, text

from blog.database.models import METADATA, audit_log

ROWS = "SELECT, INSERT, UPDATE, DELETE"
RIGHTS = {table.name: ROWS for table in METADATA.sorted_tables} | {audit_log.name: "INSERT"}
EXISTS = "SELECT FROM pg_roles WHERE rolname = :name"
IAM_ROLE = "rds_iam"
"""Its members log in by IAM authentication only."""


def restore_app_role(connection: Connection, name: str) -> list[str]:
    """Create the role where it is missing, and grant its rights. Return what was created.

    The migrations' own role needs CREATEROLE.
    """
    role = connection.dialect.identifier_preparer.quote(name)
    is_missing = not _exists(connection, name)
    if is_missing:
        connection.execute(text(f"CREATE ROLE {role} LOGIN"))
    if _exists(connection, IAM_ROLE):
        connection.execute(text(f"GRANT {IAM_ROLE} TO {role}"))
    connection.execute(text(f"GRANT USAGE ON SCHEMA public TO {role}"))
    for table, rights in RIGHTS.items():
        connection.execute(text(f"GRANT {rights} ON {table} TO {role}"))
    connection.commit()
    return [f"role {name}"] if is_missing else []


def _exists(connection: Connection, role: str) -> bool:
    return connection.execute(text(EXISTS), {"name": role}).first() is not None
