"""Ownership: a caller owns the one user that it has created, and the rows of that user.

Callers are identified by the token's issuer and subject, never by e-mail address, which may be
another person's. Ownership is a condition of the statement, so nothing can change in between, and
it costs no round trip. A statement without such a condition (`shared.database.own_rows`) is
rejected for callers who may read or write only their own rows.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Executable,
    FromClause,
    Text,
    bindparam,
    or_,
    select,
)
from sqlalchemy.sql import visitors
from sqlalchemy.sql.elements import ClauseElement

from shared.database.models import METADATA, identities
from shared.database.statements import KNOWN_STATEMENTS, conjuncts
from shared.request import Access

EVERYTHING = bindparam("_caller_owns_everything", type_=Boolean)
ISSUER = bindparam("_caller_issuer", type_=Text)
SUBJECT = bindparam("_caller_subject", type_=Text)
OWN_USER_ID = (
    select(identities.c.user_id)
    .where(identities.c.issuer == ISSUER, identities.c.subject == SUBJECT)
    .scalar_subquery()
)


def is_own(user_id: ColumnElement[Any]) -> ColumnElement[bool]:
    """Return the condition that the caller may write the rows of that user."""
    return or_(EVERYTHING, user_id == OWN_USER_ID)


def check_owner(column: Column[Any]) -> None:
    """Raise `TypeError` unless the column has the id of the user who owns a row.

    Only tables of the models are checked: those of tests have no foreign key to users.
    """
    users = {key.column for key in identities.c.user_id.foreign_keys}
    if column.table.metadata is not METADATA or users & {
        column,
        *(key.column for key in column.foreign_keys),
    }:
        return
    name = f"{column.table.name}.{column.name}"
    if not users:
        raise TypeError(
            f"{name} cannot be an owner: no table has callers' own rows. Name it by a foreign key"
            " of identities.user_id (docs/adding-a-resource.md, Owners), or leave owner out"
        )
    (user,) = users
    raise TypeError(f"{name} cannot be an owner: it has no foreign key to {user}")


@lru_cache(KNOWN_STATEMENTS)
def names_caller(statement: Executable) -> bool:
    """Whether the statement depends on the caller."""
    return has_parameter(statement, SUBJECT.key)  # type: ignore[arg-type]


def conditions_on_caller(whole: ColumnElement[Any] | None) -> list[ColumnElement[Any]]:
    """Return the conditions that all must be met and depend on the caller."""
    return [one for one in conjuncts(whole) if has_parameter(one, SUBJECT.key)]


def columns_in(conditions: Iterable[ClauseElement], table: FromClause) -> frozenset[str]:
    """Return the names of the table's columns in the conditions."""
    parts = (part for one in conditions for part in visitors.iterate(one))
    return frozenset(one.name for one in parts if isinstance(one, Column) and one.table is table)


def has_parameter(clause: ClauseElement, name: str) -> bool:
    return any(getattr(part, "key", None) == name for part in visitors.iterate(clause))


def owner_values(access: Access) -> dict[str, object]:
    caller = access.caller
    return {
        EVERYTHING.key: not access.own_only,
        ISSUER.key: caller.issuer if caller else "",
        SUBJECT.key: caller.subject if caller else "",
    }
