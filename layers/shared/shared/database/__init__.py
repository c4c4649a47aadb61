"""PostgreSQL, as functions use it; each name is documented in its module."""

from shared.database.dependencies import sql
from shared.database.idempotency import IdempotentRequest, StoredResponse, execute_idempotently
from shared.database.items import Item, ItemRow
from shared.database.ownership import ISSUER, OWN_USER_ID, SUBJECT, is_own
from shared.database.paged_query import AFTER, ROWS, PagedQuery, to_page
from shared.database.transactions import (
    Reader,
    Transaction,
    read,
    transaction,
)

__all__ = [
    "AFTER",
    "ISSUER",
    "OWN_USER_ID",
    "ROWS",
    "SUBJECT",
    "IdempotentRequest",
    "Item",
    "ItemRow",
    "PagedQuery",
    "Reader",
    "StoredResponse",
    "Transaction",
    "execute_idempotently",
    "is_own",
    "read",
    "sql",
    "to_page",
    "transaction",
]
