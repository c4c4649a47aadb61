"""`Idempotency-Key`: a POST that is retried with its key is idempotent.

The key's row is written in the transaction that creates the resource, so either both exist or
neither. It holds the first response, which a retry receives even if the resource has changed since.
When the resource is deleted, by any statement, a trigger of the migrations removes the response
from the row in the same transaction; the key stays, and a retry gets 409 `resource-deleted`. A
request that creates nothing stores no key.

A key belongs to its caller, so that no caller gets another's response. Expired keys have no effect;
a schedule deletes them (`functions/migrations`). Powertools' idempotency utility cannot guarantee
this: its records are in DynamoDB or Redis, and after a crash between COMMIT and the record's write
a retry creates the resource again.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from pydantic import BaseModel
from sqlalchemy import Row

from shared.database.audit import resource_columns
from shared.database.transactions import Transaction
from shared.errors import InvalidRequest, RequestInProgress, ResourceDeleted
from shared.observability import database_time
from shared.page import ItemKey
from shared.request import KEY_HEADER
from shared.settings import settings

# A statement of its own, so that the look-up sees what the lock's last holder committed.
LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended(%s::text, 0))"
# In SQL: SQLAlchemy takes 0.4 ms to make these two statements, as long as PostgreSQL to run them.
EARLIER = """
SELECT fingerprint, resource_id, resource_key, body FROM idempotency_keys
WHERE path = %s AND key = %s AND issuer = %s AND subject = %s AND expires_at > now()
"""
REMEMBER = """
INSERT INTO idempotency_keys
    (path, key, issuer, subject, fingerprint, resource_id, resource_key, body, expires_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, now() + make_interval(secs => %s))
ON CONFLICT (path, key, issuer, subject) DO UPDATE SET
    fingerprint = excluded.fingerprint, resource_id = excluded.resource_id,
    resource_key = excluded.resource_key, body = excluded.body, expires_at = excluded.expires_at
"""


ResourceRow = Row[*tuple[Any, ...]]


@dataclass(frozen=True)
class StoredResponse:
    """The response to a create request: the resource's key below `path`, and its JSON.

    `version` is that of the created row, None for a retry, as the row may have changed since.
    """

    path: str
    key: ItemKey
    body: str
    version: str | None = None


@dataclass(frozen=True)
class IdempotentRequest:
    """A request to create a resource below `path`; `key` is None if the client sent none.

    `content` identifies the request's content: a key must not be reused with another. It is not
    used without a key.
    `key_column` is the name of the resource's primary key.
    """

    path: str
    content: str
    key: str | None
    key_column: str = "id"

    @property
    def fingerprint(self) -> bytes:
        return sha256(self.content.encode()).digest()


async def execute_idempotently(
    transaction: Transaction,
    request: IdempotentRequest,
    insert_resource: Callable[[Transaction], Awaitable[ResourceRow]],
    schema: type[BaseModel],
) -> StoredResponse:
    """Return the resource that `insert_resource` creates, or an earlier request's response.

    Raises `RequestInProgress` while another request with the key is in progress, `ResourceDeleted`
    if the resource of the earlier request was deleted, `InvalidRequest` if the key was used with
    another body, and the errors of `insert_resource`.
    """
    earlier = await _find_earlier(transaction, request)
    if earlier is None:
        row = await insert_resource(transaction)
        body = schema.model_validate(row).model_dump_json(by_alias=True)
        created = StoredResponse(request.path, getattr(row, request.key_column), body, row._version)
        _remember(transaction, request, created)
        return created
    fingerprint, resource_id, resource_key, first_body = earlier
    if first_body is None:
        raise ResourceDeleted("The resource that this Idempotency-Key created was deleted.")
    if fingerprint != request.fingerprint:
        message = "was used before with another body; send a new key with a new request"
        raise InvalidRequest([{"in": "header", "field": KEY_HEADER, "message": message}])
    return StoredResponse(request.path, resource_key or resource_id, first_body)


async def _find_earlier(
    transaction: Transaction, request: IdempotentRequest
) -> tuple[bytes | None, int, str | None, str | None] | None:
    """Return fingerprint, resource and body of the key's row, None if there is none.

    Takes the key's advisory lock without waiting. Raises `RequestInProgress` if another request
    holds it.
    """
    if request.key is None:
        return None
    key = _primary_key(transaction, request)
    lock = transaction.driver.send_ahead(LOCK, [" ".join(filter(None, key))])
    with database_time(transaction.request.record):
        found = await transaction.driver.execute(EARLIER, key)
    if await lock.fetchone() != (True,):
        raise RequestInProgress("Another request with this Idempotency-Key is in progress.")
    return await found.fetchone()


def _remember(
    transaction: Transaction, request: IdempotentRequest, created: StoredResponse
) -> None:
    if request.key is None:
        return
    response = (request.fingerprint, *resource_columns(created.key), created.body)
    key = _primary_key(transaction, request)
    transaction.execute_with_commit(
        REMEMBER, (*key, *response, settings().idempotency_key_ttl_seconds)
    )


def _primary_key(transaction: Transaction, request: IdempotentRequest) -> tuple[str, ...]:
    """Return the row's primary key; only the subject, its last part, can contain spaces."""
    caller = transaction.access.caller
    issuer, subject = (caller.issuer, caller.subject) if caller else ("", "")
    return request.path, request.key or "", issuer, subject
