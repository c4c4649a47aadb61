"""PostgreSQL: models, the worker's connection, transactions, pagination, idempotency."""

from blog.database.connection import translate_violation
from blog.database.idempotency import execute_idempotently
from blog.database.transactions import read, write

__all__ = ["execute_idempotently", "read", "translate_violation", "write"]
