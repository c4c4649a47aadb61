"""Ownership: a caller owns the one user that it has created, and the rows of that user.

Callers are identified by the token's issuer and subject, never by e-mail address, which may be
another person's. Ownership is a condition of the statement that writes, so nothing can change in
between, and it costs no round trip. A statement without the condition is rejected for callers who
may write only their own rows.
"""

from functools import lru_cache
from typing import Any

from sqlalchemy import Boolean, ColumnElement, Executable, Text, bindparam, or_, select
from sqlalchemy.sql import visitors
from sqlalchemy.sql.elements import ClauseElement

from shared.database.dependencies import KNOWN_STATEMENTS
from shared.database.models import identities
from shared.request import Access

EVERYTHING = bindparam("caller_owns_everything", type_=Boolean)
ISSUER = bindparam("caller_issuer", type_=Text)
SUBJECT = bindparam("caller_subject", type_=Text)
OWN_USER_ID = (
    select(identities.c.user_id)
    .where(identities.c.issuer == ISSUER, identities.c.subject == SUBJECT)
    .scalar_subquery()
)


def is_own(user_id: ColumnElement[Any]) -> ColumnElement[bool]:
    """Return the condition that the caller may write the rows of that user."""
    return or_(EVERYTHING, user_id == OWN_USER_ID)


@lru_cache(KNOWN_STATEMENTS)
def names_caller(statement: Executable) -> bool:
    """Whether the statement depends on the caller."""
    return has_parameter(statement, SUBJECT.key)  # type: ignore[arg-type]


def has_parameter(clause: ClauseElement, name: str) -> bool:
    return any(getattr(part, "key", None) == name for part in visitors.iterate(clause))


def owner_values(access: Access) -> dict[str, object]:
    caller = access.caller
    return {
        EVERYTHING.key: not access.own_only,
        ISSUER.key: caller.issuer if caller else "",
        SUBJECT.key: caller.subject if caller else "",
    }
