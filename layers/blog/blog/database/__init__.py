"""PostgreSQL: models, the worker's connection, transactions, pagination, idempotency."""

from blog.database.dependencies import sql
from blog.database.failures import translate_violation
from blog.database.idempotency import execute_idempotently
from blog.database.transactions import (
    Reader,
    Transaction,
    read,
    read_as_writer,
    transaction,
)

__all__ = [
    "Reader",
    "Transaction",
    "execute_idempotently",
    "read",
    "read_as_writer",
    "sql",
    "transaction",
    "translate_violation",
]
