"""The rows of a link table, whose key is the ids of two rows of other tables.

It has no id: the audit log names the first of the two.
"""

from collections.abc import Callable

from sqlalchemy import BigInteger, ColumnElement, Table, bindparam, delete, select, true
from sqlalchemy.dialects.postgresql import insert

from shared.database.transactions import Transaction
from shared.errors import InvalidReference, NotFound

FIRST_ID = bindparam("first_id", type_=BigInteger)
SECOND_ID = bindparam("second_id", type_=BigInteger)

IdCondition = Callable[[ColumnElement[int], ColumnElement[int]], ColumnElement[bool]]
"""Returns a condition of the first and the second id of a link."""


class Link:
    """The statements of a link table. Its other columns, if any, have defaults.

    `may_write` is a further condition of the link to insert or delete, such as that one of the ids
    is the caller's user (`shared.database.ownership`). Without one, only callers who may write all
    rows may.
    """

    def __init__(self, table: Table, may_write: IdCondition | None = None) -> None:
        first, second = table.primary_key.columns
        condition = may_write or (lambda *_: true())
        ids = select(FIRST_ID, SECOND_ID).where(condition(FIRST_ID, SECOND_ID))
        link = insert(table).from_select([first.name, second.name], ids)
        # A link that exists is written again: it is locked, so that it exists at the COMMIT.
        self._insert = link.on_conflict_do_update(
            index_elements=[first, second], set_={second.name: link.excluded[second.name]}
        ).returning(first, second)
        is_link = (first == FIRST_ID, second == SECOND_ID)
        self._delete = delete(table).where(*is_link, condition(first, second)).returning(first)

    async def insert(self, transaction: Transaction, first_id: int, second_id: int) -> None:
        """Insert the link unless it exists.

        Raises `NotFound` if one of the rows does not exist, and `Forbidden`.
        """
        try:
            await transaction.insert(self._insert, _values(first_id, second_id))
        except InvalidReference as unknown:
            raise NotFound(unknown.detail) from None

    async def delete(self, transaction: Transaction, first_id: int, second_id: int) -> None:
        """Delete the link. Raises `NotFound` if it does not exist, and `Forbidden`."""
        await transaction.change(self._delete, _values(first_id, second_id))


def _values(first_id: int, second_id: int) -> dict[str, int]:
    return {FIRST_ID.key: first_id, SECOND_ID.key: second_id}
