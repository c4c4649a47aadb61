"""`Idempotency-Key`: a POST that is repeated with its key creates nothing twice.

The key's row is written in the transaction that creates the resource, so there is one if and only
if there is the other, whatever dies in between. It holds the first answer, which a repetition gets
again, also when it was lost on the way. A request that created nothing leaves no key. Powertools'
idempotency utility cannot promise this: it keeps its records in DynamoDB or Redis, and a crash
between COMMIT and its own write lets a repetition create the resource again.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from pydantic import BaseModel
from sqlalchemy import Row, delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from blog.creation import HEADER, Created, Creation
from blog.errors import InvalidRequest, RequestInProgress
from blog.models import IdempotencyKey
from blog.settings import settings

EXPIRED_KEYS_PER_WRITE = 10
"""Expired keys that each new one sweeps away, so that they go without a job of their own."""


async def create_once(
    connection: AsyncConnection,
    creation: Creation,
    insert_resource: Callable[[AsyncConnection], Awaitable[Row[*tuple[Any, ...]]]],
    answer: type[BaseModel],
) -> Created:
    """The resource that `insert_resource` creates, or the first answer of an earlier request.

    For `blog.database.write`. Raises `RequestInProgress` while another request with the key is
    under way, `InvalidRequest` when the key was used with another body, and what
    `insert_resource` raises.
    """
    if creation.key is None:
        return await _create(connection, creation, insert_resource, answer)
    await _lock(connection, creation.path, creation.key)
    earlier = await _find(connection, creation.path, creation.key)
    if earlier is None:
        created = await _create(connection, creation, insert_resource, answer)
        await _remember(connection, creation, created)
        return created
    if earlier.fingerprint != creation.fingerprint:
        message = "was used before with another body; take a new key for a new request"
        raise InvalidRequest([{"in": "header", "field": HEADER, "message": message}])
    return Created(earlier.location, earlier.body)


async def _create(
    connection: AsyncConnection,
    creation: Creation,
    insert_resource: Callable[[AsyncConnection], Awaitable[Row[*tuple[Any, ...]]]],
    answer: type[BaseModel],
) -> Created:
    row = await insert_resource(connection)
    body = answer.model_validate(row).model_dump_json()
    return Created(f"{creation.path}/{row.id}", body)


async def _lock(connection: AsyncConnection, path: str, key: str) -> None:
    """Hold the key until the transaction ends, without waiting for another that holds it."""
    number = func.hashtextextended(f"{path} {key}", 0)
    if not await connection.scalar(select(func.pg_try_advisory_xact_lock(number))):
        raise RequestInProgress("Another request with this Idempotency-Key is under way.")


async def _find(connection: AsyncConnection, path: str, key: str) -> Row[*tuple[Any, ...]] | None:
    columns = (IdempotencyKey.fingerprint, IdempotencyKey.location, IdempotencyKey.body)
    statement = select(*columns).where(
        IdempotencyKey.path == path,
        IdempotencyKey.key == key,
        IdempotencyKey.expires_at > func.now(),
    )
    return (await connection.execute(statement)).one_or_none()


async def _remember(connection: AsyncConnection, creation: Creation, created: Created) -> None:
    # Imported with the first key: the dialect's package costs every cold start 30 ms.
    from sqlalchemy.dialects.postgresql import insert

    await connection.execute(_sweep())
    values = {
        "fingerprint": creation.fingerprint,
        "location": created.location,
        "body": created.body,
        "expires_at": func.now() + timedelta(seconds=settings().idempotency_key_ttl_seconds),
    }
    statement = insert(IdempotencyKey).values(path=creation.path, key=creation.key, **values)
    index = [IdempotencyKey.path, IdempotencyKey.key]
    await connection.execute(statement.on_conflict_do_update(index_elements=index, set_=values))


def _sweep() -> Any:
    expired = (
        select(IdempotencyKey.path, IdempotencyKey.key)
        .where(IdempotencyKey.expires_at <= func.now())
        .limit(EXPIRED_KEYS_PER_WRITE)
        .with_for_update(skip_locked=True)
        .cte("expired")
    )
    return delete(IdempotencyKey).where(
        IdempotencyKey.path == expired.c.path, IdempotencyKey.key == expired.c.key
    )
