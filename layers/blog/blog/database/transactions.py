"""How a query is run, retried and committed.

`read` runs a query in AUTOCOMMIT, one round trip a statement, and once more on a fresh connection
when the first broke. `write` runs it in a transaction, and retries only what cannot have been
committed.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from time import monotonic
from typing import Concatenate, ParamSpec, TypeVar

import psycopg
from sqlalchemy.ext.asyncio import AsyncConnection

from blog.database.connection import (
    BoundedConnection,
    ConnectionLost,
    log_failure,
    worker_connection,
)
from blog.deadline import request_deadline
from blog.errors import OutcomeUnknown
from blog.observability import database_time

# transaction_resolution_unknown and statement_completion_unknown, as poolers respond to a COMMIT.
UNKNOWN_OUTCOMES = ("08007", "40003")

P = ParamSpec("P")
R = TypeVar("R")
Query = Callable[Concatenate[AsyncConnection, P], Awaitable[R]]


async def read(query: Query[P, R], *arguments: P.args, **named: P.kwargs) -> R:
    """The query's result, each of its statements on its own (AUTOCOMMIT).

    Raises `DatabaseUnavailable`, and what the query raises.
    """

    async def attempt() -> R:
        async with worker_connection().acquire() as (connection, _):
            with database_time():
                return await query(connection, *arguments, **named)

    return await _repeated_once(attempt)


async def write(
    around_commit: AbstractAsyncContextManager[None],
    query: Query[P, R],
    *arguments: P.args,
    **named: P.kwargs,
) -> R:
    """The query's result, committed. `around_commit` is entered just before COMMIT.

    Raises `DatabaseUnavailable` (nothing was changed), `OutcomeUnknown` (perhaps it was), and
    what the query raises (nothing was changed).
    """

    async def attempt() -> R:
        commits = False
        try:
            async with worker_connection().acquire() as (connection, driver):
                with database_time():
                    await driver.begin()
                    result = await query(connection, *arguments, **named)
                commits = True
                async with around_commit:
                    await _commit(driver)
                return result
        except asyncio.CancelledError:  # the deadline, which may fall before or after the change
            if commits:
                raise _outcome_unknown() from None
            raise

    return await _repeated_once(attempt)


async def _commit(driver: BoundedConnection) -> None:
    try:
        with database_time():
            await driver.commit()
    except asyncio.CancelledError:  # `around_commit` is to hear of the doubt
        raise _outcome_unknown() from None
    except psycopg.Error as error:
        if not driver.closed and error.sqlstate not in UNKNOWN_OUTCOMES:
            raise
        log_failure(error)
        raise _outcome_unknown() from None


def _outcome_unknown() -> OutcomeUnknown:
    return OutcomeUnknown(
        "The answer was lost while the change was made final; look whether it is there."
    )


async def _repeated_once(attempt: Callable[[], Awaitable[R]]) -> R:
    try:
        return await attempt()
    except ConnectionLost:
        if monotonic() > request_deadline.get():  # the deadline has struck, and strikes once only
            raise
        return await attempt()
