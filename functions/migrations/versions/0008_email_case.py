"""Addresses are unique by the rule of the search for names: `fold_case` instead of `lower`.

By `lower`, `ΓΙΏΡΓΟΣ@example.gr` and `γιώργος@example.gr` were different. The migration fails, and
changes nothing, if existing addresses are equal by the new rule, as people must choose one.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

INDEX = "users_email_key"
NEW_INDEX = "users_email_key_new"
FOLDED = 'fold_case(email COLLATE "C")'
LOWER = "lower(email COLLATE pg_c_utf8)"

# Ids only: the message is logged.
COLLIDING = f"""
SELECT string_agg(id::text, ', ' ORDER BY id) FROM users
GROUP BY {FOLDED} HAVING count(*) > 1 ORDER BY min(id) LIMIT 101
"""  # noqa: S608 - of constants
SHOWN = 100


class CollidingAddresses(Exception):
    """Users have addresses that are equal by the new rule; the message has their ids."""


def upgrade() -> None:
    op.execute("LOCK TABLE users IN SHARE MODE")  # writers wait, readers do not
    _reject_collisions()
    _replace_index(FOLDED)


def downgrade() -> None:
    op.execute("LOCK TABLE users IN SHARE MODE")
    _replace_index(LOWER)  # addresses that differ by the new rule differ by this one


def _reject_collisions() -> None:
    groups = list(op.get_bind().scalars(sa.text(COLLIDING)))
    if not groups:
        return
    more = "; and more" if len(groups) > SHOWN else ""
    raise CollidingAddresses(
        "Users have the same e-mail address but for upper and lower case. Their ids, by address: "
        f"{'; '.join(groups[:SHOWN])}{more}. Nothing was changed: give all but one of each another "
        "address, or delete them, and migrate again (docs/operations.md)."
    )


def _replace_index(expression: str) -> None:
    op.create_index(NEW_INDEX, "users", [sa.text(expression)], unique=True)
    # Last, as readers wait from here to the end of the transaction.
    op.drop_index(INDEX, "users")
    op.execute(f"ALTER INDEX {NEW_INDEX} RENAME TO {INDEX}")
