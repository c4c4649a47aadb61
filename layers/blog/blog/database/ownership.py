"""What belongs to a caller: one user, whom it has created itself, and that user's posts.

Ownership is by the token's issuer and subject, never by e-mail address, which may be another's. It
is checked in the statement that writes, so that nothing can change in between, and which costs no
round trip.
"""

from typing import TypeVarTuple

from sqlalchemy import Boolean, ColumnElement, Row, Text, bindparam, or_, select
from sqlalchemy.sql.selectable import TypedReturnsRows

from blog.access import Access
from blog.conditions import current_conditions
from blog.database.dependencies import Values
from blog.database.models import identities
from blog.database.transactions import Reader, Transaction
from blog.database.versions import condition_values
from blog.errors import Forbidden, PreconditionFailed

Ts = TypeVarTuple("Ts")

EVERYTHING = bindparam("caller_owns_everything", type_=Boolean)
ISSUER = bindparam("caller_issuer", type_=Text)
SUBJECT = bindparam("caller_subject", type_=Text)
OWN_USER_ID = (
    select(identities.c.user_id)
    .where(identities.c.issuer == ISSUER, identities.c.subject == SUBJECT)
    .scalar_subquery()
)


def is_own(user_id: ColumnElement[int]) -> ColumnElement[bool]:
    """Whether the caller may change what belongs to that user."""
    return or_(EVERYTHING, user_id == OWN_USER_ID)


async def write_own(
    transaction: Transaction,
    statement: TypedReturnsRows[*Ts],
    values: Values,
    target: TypedReturnsRows[bool] | None = None,
) -> Row[*Ts] | None:
    """Run a `Transaction.write` whose statement has the condition `is_own`.

    A statement that changes a row also has the condition `meets_conditions`, and a `target`, which
    tells of that row whether it is the caller's own. Where nothing is written though there is
    something to write, raises `Forbidden`, or else `PreconditionFailed`.
    """
    access, conditions = transaction.access, current_conditions.get()
    values = {**values, **_values(access), **condition_values(conditions)}
    row = await transaction.write(statement, values, checks_owner=True)
    if row is not None or not (access.own_only or conditions.are_sent):
        return row
    if target is None:
        raise Forbidden(access.permission, own_only=True)
    found = (await transaction.look_up(target, values)).one_or_none()
    if found is None:
        return None
    if not found[0]:  # None for a caller who has no user
        raise Forbidden(access.permission, own_only=True)
    raise PreconditionFailed("The resource is not as If-Match or If-None-Match demands.")


async def find_own(
    reader: Reader, access: Access, statement: TypedReturnsRows[*Ts], values: Values
) -> Row[*Ts] | None:
    """Return the row that a write which changes nothing leaves as it is; None if there is none.

    The statement selects whether it is the caller's own as `is_own`. Raises `Forbidden`.
    """
    row = (await reader.execute(statement, {**values, **_values(access)})).one_or_none()
    if row is not None and not row.is_own:  # None for a caller who has no user
        raise Forbidden(access.permission, own_only=True)
    return row


def _values(access: Access) -> Values:
    caller = access.caller
    return {
        EVERYTHING.key: not access.own_only,
        ISSUER.key: caller.issuer if caller else "",
        SUBJECT.key: caller.subject if caller else "",
    }
