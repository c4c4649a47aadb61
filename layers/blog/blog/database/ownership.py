"""What belongs to a caller: one user, whom it has created itself, and that user's posts.

Ownership is by the token's issuer and subject, never by e-mail address, which may be another's. It
is checked in the statement that writes, so that nothing can change in between, and which costs no
round trip.
"""

from typing import Any, TypeVarTuple

from sqlalchemy import Boolean, ColumnElement, Row, Text, bindparam, or_, select
from sqlalchemy.sql.selectable import TypedReturnsRows

from blog.access import Access
from blog.database.models import identities
from blog.database.transactions import Transaction, Values
from blog.errors import Forbidden

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
    target: TypedReturnsRows[*tuple[Any, ...]] | None = None,
) -> Row[*Ts] | None:
    """Run a `Transaction.write` whose statement has the condition `is_own`.

    Raises `Forbidden` where it writes nothing though there is something to write: `target` finds
    it; None means that there always is.
    """
    access = transaction.access
    row = await transaction.write(statement, {**values, **_values(access)}, checks_owner=True)
    if row is not None or not access.own_only:
        return row
    if target is None or (await transaction.look_up(target, values)).first():
        raise Forbidden(access.permission, own_only=True)
    return None


def _values(access: Access) -> Values:
    caller = access.caller
    return {
        EVERYTHING.key: not access.own_only,
        ISSUER.key: caller.issuer if caller else "",
        SUBJECT.key: caller.subject if caller else "",
    }
