"""PostgreSQL: models, the worker's connection, transactions, pagination, idempotency."""

from blog.database.dependencies import sql
from blog.database.failures import translate_violation
from blog.database.idempotency import IdempotentRequest, StoredResponse, execute_idempotently
from blog.database.transactions import (
    Reader,
    Transaction,
    read,
    transaction,
)

__all__ = [
    "IdempotentRequest",
    "Reader",
    "StoredResponse",
    "Transaction",
    "execute_idempotently",
    "read",
    "sql",
    "transaction",
    "translate_violation",
]
