"""`Idempotency-Key`: a POST that is repeated with its key creates nothing twice.

The key's row is written in the transaction that creates the resource, so there is one if and only
if there is the other, whatever dies in between. It holds the first answer, which a repetition gets
again, also when it was lost on the way, and when the resource was changed since. Deleting the
resource, by whatever statement, takes the answer's data out of the row in the same transaction (a
trigger of the migrations); the key stays, and a repetition is told that the resource is gone. A
request that created nothing leaves no key.

Expired keys mean nothing; a schedule deletes them (`functions/migrations`). Powertools' idempotency
utility cannot promise this: it keeps its records in DynamoDB or Redis, and a crash between COMMIT
and its own write lets a repetition create the resource again.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from pydantic import BaseModel
from sqlalchemy import Row, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from blog.database.models import idempotency_keys
from blog.errors import InvalidRequest, RequestInProgress, ResourceDeleted
from blog.idempotency import HEADER, IdempotentRequest, StoredResponse
from blog.settings import settings

ResourceRow = Row[*tuple[Any, ...]]


async def execute_idempotently(
    connection: AsyncConnection,
    request: IdempotentRequest,
    insert_resource: Callable[[AsyncConnection], Awaitable[ResourceRow]],
    answer: type[BaseModel],
) -> StoredResponse:
    """The resource that `insert_resource` creates, or the first answer of an earlier request.

    For `blog.database.write`. Raises `RequestInProgress` while another request with the key is
    under way, `ResourceDeleted` when what it created is gone, `InvalidRequest` when the key was
    used with another body, and what `insert_resource` raises.
    """
    key = request.key
    earlier = None if key is None else await _earlier(connection, request.path, key)
    if earlier is None:
        row = await insert_resource(connection)
        created = StoredResponse(request.path, row.id, answer.model_validate(row).model_dump_json())
        if key is not None:
            await _remember(connection, request, created)
        return created
    if earlier.body is None:
        raise ResourceDeleted("The resource that this Idempotency-Key created was deleted since.")
    if earlier.fingerprint != request.fingerprint:
        message = "was used before with another body; take a new key for a new request"
        raise InvalidRequest([{"in": "header", "field": HEADER, "message": message}])
    return StoredResponse(request.path, earlier.resource_id, earlier.body)


async def _earlier(connection: AsyncConnection, path: str, key: str) -> ResourceRow | None:
    """The key's row, which is held until the transaction ends; None where there is none.

    Does not wait for another transaction that holds it.
    """
    number = func.hashtextextended(f"{path} {key}", 0)
    if not await connection.scalar(select(func.pg_try_advisory_xact_lock(number))):
        raise RequestInProgress("Another request with this Idempotency-Key is under way.")
    columns = (
        idempotency_keys.c.fingerprint,
        idempotency_keys.c.resource_id,
        idempotency_keys.c.body,
    )
    statement = select(*columns).where(
        idempotency_keys.c.path == path,
        idempotency_keys.c.key == key,
        idempotency_keys.c.expires_at > func.now(),
    )
    return (await connection.execute(statement)).one_or_none()


async def _remember(
    connection: AsyncConnection, request: IdempotentRequest, created: StoredResponse
) -> None:
    # Imported with the first key: the dialect's package costs every cold start 30 ms.
    from sqlalchemy.dialects.postgresql import insert

    values = {
        "fingerprint": request.fingerprint,
        "resource_id": created.id,
        "body": created.body,
        "expires_at": func.now() + timedelta(seconds=settings().idempotency_key_ttl_seconds),
    }
    statement = insert(idempotency_keys).values(path=request.path, key=request.key, **values)
    index = [idempotency_keys.c.path, idempotency_keys.c.key]
    await connection.execute(statement.on_conflict_do_update(index_elements=index, set_=values))
