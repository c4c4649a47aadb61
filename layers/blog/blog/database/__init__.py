"""PostgreSQL: models, the worker's connection, transactions, pagination, idempotency."""

from blog.database.failures import translate_violation
from blog.database.idempotency import execute_idempotently
from blog.database.transactions import Transaction, read, read_as_writer, transaction

__all__ = [
    "Transaction",
    "execute_idempotently",
    "read",
    "read_as_writer",
    "transaction",
    "translate_violation",
]
