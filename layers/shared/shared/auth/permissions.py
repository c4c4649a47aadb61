"""The permissions of each role: actions, on every resource or only on the caller's own.

A permission is `{resource}:{action}`, such as `articles:write`; each route names the one it needs.
Every token has the role `reader`; the roles in its claim, after `ROLE_PREFIX`, add to that.
Ownership is checked in the statement that writes (`shared.database.ownership`). Actions that no
role names are denied to all. docs/api.md has the table of operations and roles.
"""

from collections.abc import Mapping
from enum import IntEnum

from shared.auth.identity import caller_of
from shared.errors import Forbidden
from shared.request import Access, ApiRequest, Caller
from shared.settings import settings


class Grant(IntEnum):
    """The resources for which a permission is granted; of several grants the greatest counts."""

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
"""The grants of each role, by action or by permission, which takes precedence."""


def grant_of(permission: str, *roles: str) -> Grant:
    """Return the grant of the permission to a token with these roles."""
    action = permission.partition(":")[2]
    granted = (ROLES[role] for role in {READER, *roles})
    return max(one.get(permission, one.get(action, NONE)) for one in granted)


def _check_roles() -> None:
    """Raise `ValueError` for a grant below the reader's, which every token has."""
    for role, grants in ROLES.items():
        for name, grant in grants.items():
            if grant < grant_of(name if ":" in name else f":{name}"):
                raise ValueError(f"{name} of {role} has no effect: {READER} grants more")


_check_roles()


def authorize(request: ApiRequest, operation: str, permission: str, resource: str = "") -> Access:
    """Return the request's access to the operation. Raises `Unauthorized` and `Forbidden`.

    `resource` is the operation's, if it is another than the permission's.
    """
    access = Access(operation, permission)
    if settings().auth == "open" or (access.is_read and settings().public_reads):
        return access
    caller = caller_of(request.claims)
    grant = _grant_to(caller, permission)
    if grant is NONE:
        raise Forbidden(permission)
    hides_others = _grant_to(caller, f"{resource or access.resource}:read") is not ALL
    return access._replace(caller=caller, own_only=grant is OWN, others_hidden=hides_others)


def is_granted(access: Access, permission: str) -> bool:
    """Whether another permission is granted to the caller, too, and on all resources."""
    if access.caller is None:
        return settings().auth == "open"
    return _grant_to(access.caller, permission) is ALL


def _grant_to(caller: Caller, permission: str) -> Grant:
    prefix = settings().role_prefix
    roles = [role for role in ROLES if f"{prefix}{role}" in caller.roles]
    return grant_of(permission, *roles)
