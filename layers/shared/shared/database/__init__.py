"""PostgreSQL: the names that functions use; their modules document them."""

from shared.database.idempotency import IdempotentRequest, StoredResponse, execute_idempotently
from shared.database.items import Item
from shared.database.ownership import OWN_USER_ID, is_own
from shared.database.paged_query import AFTER, ROWS, PagedQuery, to_page
from shared.database.reads import Reader, read
from shared.database.statements import sql
from shared.database.transactions import Transaction, transaction

__all__ = [
    "AFTER",
    "OWN_USER_ID",
    "ROWS",
    "IdempotentRequest",
    "Item",
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
