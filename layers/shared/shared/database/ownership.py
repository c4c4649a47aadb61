"""Ownership: a caller owns the one user that it has created, and the rows of that user.

Callers are identified by the token's issuer and subject, never by e-mail address, which may be
another person's. Ownership is a condition of the statement, so nothing can change in between, and
it costs no round trip. A statement without such a condition (`is_limited`) is rejected for callers
who may read or write only their own rows.
"""

from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BindParameter,
    Boolean,
    Column,
    ColumnElement,
    CompoundSelect,
    Delete,
    Executable,
    FromClause,
    Insert,
    Join,
    Select,
    Text,
    Update,
    bindparam,
    or_,
    select,
)
from sqlalchemy.sql import visitors
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.elements import ClauseElement

from shared.database.dependencies import KNOWN_STATEMENTS, conjuncts, upsert_of, value_of
from shared.database.models import METADATA, identities
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


@lru_cache(KNOWN_STATEMENTS)
def is_limited(statement: Executable) -> bool:
    """Whether a condition on the caller limits the rows that the statement reads or writes.

    It is part of a WHERE, or of an inner join, that every row must meet. A caller that is only
    shown, sorted by or set does not limit them; but the values of an INSERT do, as the new row is
    the caller's. Of SQL text, only the parameter is known.
    """
    changing = [one for one in visitors.iterate(statement) if isinstance(one, UpdateBase)]  # type: ignore[arg-type]
    if any(isinstance(one, Update | Delete) and not _is_limited(one) for one in changing):
        return False
    inserts = [one for one in changing if isinstance(one, Insert)]
    if changing:
        return names_caller(statement) and all(map(_keeps_others, inserts))
    return _is_limited(statement)


def _is_limited(part: object) -> bool:
    if isinstance(part, CompoundSelect):
        return all(map(_is_limited, part.selects))
    if isinstance(part, Join):
        names = not (part.isouter or part.full) and _names(part.onclause)
        return names or _is_limited(part.left) or (not part.isouter and _is_limited(part.right))
    if isinstance(part, Select):
        return _names(part.whereclause) or any(map(_is_limited, part.get_final_froms()))
    if isinstance(part, Update | Delete):
        return _names(part.whereclause)
    if isinstance(part, FromClause):  # a subquery, a CTE, or a join in parentheses
        return _is_limited(getattr(part, "element", None))
    return isinstance(part, ClauseElement) and has_parameter(part, SUBJECT.key)


def _names(condition: ColumnElement[Any] | None) -> bool:
    return any(has_parameter(one, SUBJECT.key) for one in conjuncts(condition))


def _keeps_others(statement: Insert) -> bool:
    """Whether ON CONFLICT changes no row of others: its condition, or a key in conflict, is own."""
    upsert = upsert_of(statement)
    if upsert is None or _names(upsert.where):
        return True
    return any(_is_own_value(statement, name) for name in upsert.target)


def _is_own_value(statement: Insert, column: str) -> bool:
    """Whether the value of a column is the caller's, or is in a condition on the caller."""
    value = value_of(statement, column)
    if not isinstance(value, BindParameter):
        return isinstance(value, ClauseElement) and has_parameter(value, SUBJECT.key)
    selected = statement.select
    conditions = conjuncts(selected.whereclause) if isinstance(selected, Select) else ()
    own = (one for one in conditions if has_parameter(one, SUBJECT.key))
    return any(has_parameter(one, value.key) for one in own)


def has_parameter(clause: ClauseElement, name: str) -> bool:
    return any(getattr(part, "key", None) == name for part in visitors.iterate(clause))


def owner_values(access: Access) -> dict[str, object]:
    caller = access.caller
    return {
        EVERYTHING.key: not access.own_only,
        ISSUER.key: caller.issuer if caller else "",
        SUBJECT.key: caller.subject if caller else "",
    }
