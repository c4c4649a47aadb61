"""Who may do what: operation, permission, and what each role may do it with.

Every token is a reader's; roles add to that, by their names after `ROLE_PREFIX`. `OWN` is the
caller's own user and that user's posts, checked in the statement that writes
(`blog.database.ownership`). An operation that is not in the table is denied to every role.
docs/api.md shows the same table.
"""

from collections.abc import Mapping
from enum import IntEnum
from typing import Any, NamedTuple

from blog.access import Access, is_read
from blog.auth.identity import caller_of
from blog.errors import Forbidden
from blog.settings import settings


class Grant(IntEnum):
    """A role's grants add up to the greatest."""

    NONE, OWN, ALL = range(3)


NONE, OWN, ALL = Grant


class Rule(NamedTuple):
    """A permission, and what it covers for each role; the names of roles are the fields'."""

    permission: str
    reader: Grant
    author: Grant
    admin: Grant


ROLES = Rule._fields[1:]
UNKNOWN = Rule("unknown", NONE, NONE, NONE)

POLICY = {
    "create_user": Rule("users:create", NONE, OWN, ALL),  # one each, which is theirs then
    "list_users": Rule("users:read", ALL, ALL, ALL),
    "search_users": Rule("users:read", ALL, ALL, ALL),
    "get_user_stats": Rule("users:read", ALL, ALL, ALL),
    "get_user": Rule("users:read", ALL, ALL, ALL),
    "replace_user": Rule("users:write", NONE, OWN, ALL),
    "update_user": Rule("users:write", NONE, OWN, ALL),
    "delete_user": Rule("users:write", NONE, OWN, ALL),
    "create_post": Rule("posts:write", NONE, OWN, ALL),
    "list_posts": Rule("posts:read", ALL, ALL, ALL),
    "get_post_stats": Rule("posts:read", ALL, ALL, ALL),
    "get_post": Rule("posts:read", ALL, ALL, ALL),
    "replace_post": Rule("posts:write", NONE, OWN, ALL),
    "update_post": Rule("posts:write", NONE, OWN, ALL),
    "delete_post": Rule("posts:write", NONE, OWN, ALL),
}


def authorize(operation: str, event: Mapping[str, Any]) -> Access:
    """Return what the event's request may do. Raises `Unauthorized` and `Forbidden`."""
    rule = POLICY.get(operation, UNKNOWN)
    if settings().auth == "open" or (is_read(rule.permission) and settings().public_reads):
        return Access(operation, rule.permission, caller=None, own_only=False)
    caller = caller_of(event)
    prefix = settings().role_prefix
    roles = {"reader", *(role for role in ROLES if f"{prefix}{role}" in caller.roles)}
    grant = max(getattr(rule, role) for role in roles)
    if grant is NONE:
        raise Forbidden(rule.permission)
    return Access(operation, rule.permission, caller, own_only=grant is OWN)
