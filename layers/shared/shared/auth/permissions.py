"""The permissions of each role: actions, on every resource or only on the caller's own.

A permission is `{resource}:{action}`, such as `articles:write`, and is on the route. Every token
is a reader's; roles add to that, by their names after `ROLE_PREFIX`. Ownership is checked in the
statement that writes (`shared.database.ownership`); a statement that does not check it is denied.
An action or a permission that no role names is denied to all. docs/api.md has the table
of operations and roles.
"""

from collections.abc import Mapping
from enum import IntEnum

from shared.auth.identity import caller_of
from shared.errors import Forbidden
from shared.request import Access, ApiRequest
from shared.settings import settings


class Grant(IntEnum):
    """A role's grants add up to the greatest."""

    NONE, OWN, ALL = range(3)


NONE, OWN, ALL = Grant

READER = "reader"
"""The role of every token."""
ROLES: Mapping[str, Mapping[str, Grant]] = {
    READER: {"read": ALL},
    "author": {
        "create": OWN,
        "write": OWN,
    },
    "admin": {"read": ALL, "create": ALL, "write": ALL},
}
"""What each role may do, by action or by whole permission, which counts more."""


def grant_of(permission: str, *roles: str) -> Grant:
    """Return on which resources a token with these roles has the permission."""
    action = permission.partition(":")[2]
    granted = (ROLES[role] for role in {READER, *roles})
    return max(one.get(permission, one.get(action, NONE)) for one in granted)


def authorize(request: ApiRequest, operation: str, permission: str) -> Access:
    """Return what the request may do. Raises `Unauthorized` and `Forbidden`."""
    access = Access(operation, permission)
    if settings().auth == "open" or (access.is_read and settings().public_reads):
        return access
    caller = caller_of(request.claims)
    prefix = settings().role_prefix
    roles = (role for role in ROLES if f"{prefix}{role}" in caller.roles)
    grant = grant_of(permission, *roles)
    if grant is NONE:
        raise Forbidden(permission)
    return Access(operation, permission, caller, own_only=grant is OWN)
