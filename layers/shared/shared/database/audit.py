"""The audit log: a row for each row that a request writes, in the same transaction."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Executable, Row, Table

from shared.database.changes import KEY
from shared.page import ItemKey
from shared.request import ApiRequest

INSERT = """
INSERT INTO audit_log (issuer, subject, action, resource, resource_id, resource_key, request_id)
VALUES (%s, %s, %s, %s, %s, %s, %s)
"""


def audit_values(
    request: ApiRequest, statement: Executable, row: Row[*tuple[Any, ...]]
) -> Sequence[object]:
    """Return the values of `INSERT` for the row that a statement wrote."""
    access = request.granted()
    caller = (access.caller.issuer, access.caller.subject) if access.caller else (None, None)
    written = _resource_of(statement, row, access.resource)
    return (*caller, access.operation, *written, request.gateway_id)


def _resource_of(
    statement: Executable, row: Row[*tuple[Any, ...]], linked: str
) -> tuple[str, int | None, str | None]:
    """Return the row's resource, and its key as the columns `resource_id` and `resource_key`.

    The rows of a link table have no key of their own: they have the resource `linked`, the first
    of the ids that they link, and both, such as `1/2`. A statement that writes in a CTE, or by SQL
    text, has the `id` that it returns, or its first column.
    """
    table = getattr(statement, "table", None)
    if not isinstance(table, Table):
        return linked, *resource_columns(row.id if "id" in row._fields else next(iter(row)))
    first, *others = (getattr(row, KEY + one.name) for one in table.primary_key.columns)
    key, text = resource_columns(first)
    if not others:
        return table.name, key, text
    return linked, key, "/".join(map(str, (first, *others)))


def resource_columns(key: ItemKey) -> tuple[int | None, str | None]:
    """Return a key as the columns `resource_id` and `resource_key` of the layer's own tables."""
    return (key, None) if isinstance(key, int) else (None, str(key))
