"""How queries are run, and writes committed.

`read` runs a query in AUTOCOMMIT, one round trip a statement. `transaction` is a block that is
committed at its end: BEGIN travels with its first statement, what is invalidated is announced while
that statement runs, the audit log's rows travel with COMMIT, and what was announced is ended before
the response.

If the connection broke before COMMIT, the `DatabaseUnavailable` that they raise says so, and the
request is retried once (`blog.http.retry`).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence, Set
from contextlib import asynccontextmanager, suppress
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, TypeVarTuple

import psycopg
from sqlalchemy import CursorResult, Executable, Row
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio.engine import AsyncConnection
from sqlalchemy.sql.selectable import TypedReturnsRows

from blog.access import Access, begin_counting, granted_access, within_limit
from blog.concurrency import run_both
from blog.conditions import current_conditions
from blog.database.connection import worker_connection
from blog.database.dependencies import Changes, Values, changes_of, dependencies_of, merge
from blog.database.driver import ROLLBACK_SECONDS, BoundedConnection
from blog.database.failures import log_failure, sqlstate_of
from blog.database.versions import checks_conditions
from blog.errors import Forbidden, InvalidRequest, OutcomeUnknown
from blog.observability import current_request, database_time, logger

# What poolers respond to a COMMIT whose server they lost: classes of SQLSTATE, connection exception
# and operator intervention (shutdown, crash), and statement_completion_unknown.
UNKNOWN_OUTCOMES = ("08", "57P", "40003")

AUDIT = """
INSERT INTO audit_log (issuer, subject, action, resource, resource_id, request_id)
VALUES (%s, %s, %s, %s, %s, %s)
"""

P = ParamSpec("P")
R = TypeVar("R")
Ts = TypeVarTuple("Ts")


Scopes = Mapping[str, Set[str] | None]
"""The scopes of each table that changed; None for the whole table."""


class Invalidation(Protocol):
    """What a transaction invalidates (`blog.cache.fences`). None of these raises an error.

    If the outcome is unknown, neither `committed` nor `rolled_back` is called.
    """

    def start(self, tables: Mapping[str, str | None]) -> None:
        """Begin to announce it; called with each statement that changes these tables.

        The value is the scope of the table that it is likely to change, None if any.
        """

    async def ready(self, scopes: Scopes) -> None:
        """Return when exactly these are announced; awaited before COMMIT is sent."""

    async def committed(self, scopes: Scopes) -> None:
        """Invalidate; awaited after COMMIT and before the response. The deadline may cancel it."""

    async def rolled_back(self) -> None:
        """Withdraw the announcement; called at most once, also if it was never started."""


class Reader:
    """The statements of a read, each one round trip; it knows what they depend on."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self.depends_on: dict[str, str | None] = {}

    async def execute(
        self, statement: TypedReturnsRows[*Ts], values: Values | None = None
    ) -> CursorResult[*Ts]:
        """Run a statement that changes nothing. Raises `UnknownTables`."""
        merge(self.depends_on, dependencies_of(statement, values))
        return await self._connection.execute(statement, values)


class Transaction:
    """The statements of one transaction, each one round trip, and the `access` that it has."""

    def __init__(
        self,
        connection: AsyncConnection,
        driver: BoundedConnection,
        invalidates: Invalidation,
        access: Access,
    ) -> None:
        self._connection = connection
        self.driver = driver
        self._invalidates = invalidates
        self.access = access
        self._written: list[int] = []
        self._last: Executable | None = None
        self.has_changes = False
        self._checks_conditions = False
        self.changed: dict[str, set[str] | None] = {}

    async def write(
        self,
        statement: TypedReturnsRows[*Ts],
        values: Values | None = None,
        *,
        checks_owner: bool = False,
    ) -> Row[*Ts] | None:
        """Run a statement that changes one row of a resource; return the row, which has its `id`.

        None if nothing was changed. The change is recorded in the audit log. Raises `Forbidden` if
        the caller may only write what is its own, and the statement does not check that.
        """
        if self.access.own_only and not checks_owner:
            raise Forbidden(self.access.permission, own_only=True)
        changes = changes_of(statement)
        row: Row[*Ts] | None = (await self._change(changes, values)).one_or_none()
        if row is not None:
            self._written.append(row.id)
        for table, scopes in changes.scopes(row).items():
            self._changed(table, scopes)
        return row

    async def execute(
        self, statement: TypedReturnsRows[*Ts], values: Values | None = None
    ) -> CursorResult[*Ts]:
        """Run a statement that changes rows, and returns them."""
        changes = changes_of(statement)
        for table in changes.tables({}):
            self._changed(table, None)
        return await self._change(changes, values)

    async def look_up(
        self, statement: TypedReturnsRows[*Ts], values: Values | None = None
    ) -> CursorResult[*Ts]:
        """Run a statement that changes nothing."""
        begin_counting()
        with database_time():
            return await self._connection.execute(statement, values)

    def check_conditions(self) -> None:
        """Raise `InvalidRequest` if the request has conditions, and no statement checked them."""
        conditions = current_conditions.get()
        if self.has_changes and conditions.are_sent and not self._checks_conditions:
            name = "If-Match" if conditions.if_match else "If-None-Match"
            message = "is not supported by this operation, which compares no version"
            raise InvalidRequest([{"in": "header", "field": name, "message": message}])

    async def _change(self, changes: Changes, values: Values | None) -> CursorResult[Any]:
        self.has_changes = True
        self._checks_conditions |= checks_conditions(changes.statement)
        self._invalidates.start(changes.tables(values or {}))
        with database_time():
            return await self._connection.execute(changes.executable(values or {}), values)

    def _changed(self, table: str, scopes: set[str] | None) -> None:
        known = self.changed.get(table, set())
        self.changed[table] = None if scopes is None or known is None else known | scopes

    def execute_with_commit(self, statement: Executable) -> None:
        """Run the transaction's last statement in one round trip with COMMIT."""
        self._last = statement

    async def commit(self) -> None:
        """Send what is to go with COMMIT, and COMMIT, in one round trip.

        Raises the driver's and SQLAlchemy's errors.
        """
        with database_time():
            async with self.driver.pipeline():
                for row_id in self._written:
                    await self.driver.execute(AUDIT, self._audit_values(row_id))
                if self._last is not None:
                    await self._connection.execute(self._last)
                # The driver's own `commit` waits for a round trip within the pipeline.
                await self.driver.execute("COMMIT")

    def _audit_values(self, row_id: int) -> Sequence[object]:
        access, request = self.access, current_request.get()
        caller = (access.caller.issuer, access.caller.subject) if access.caller else (None, None)
        request_id = request.gateway_request_id if request else ""
        return (*caller, access.operation, access.resource, row_id, request_id)


async def read(
    query: Callable[Concatenate[Reader, P], Awaitable[R]], *arguments: P.args, **named: P.kwargs
) -> R:
    """Return the query's result, each of its statements on its own (AUTOCOMMIT).

    Raises `DatabaseUnavailable`, and what the query raises.
    """
    begin_counting()
    async with worker_connection().acquire() as (connection, driver):
        with database_time():
            async with driver.reading_from_primary():
                return await query(Reader(connection), *arguments, **named)


async def read_as_writer(
    query: Callable[Concatenate[Reader, Access, P], Awaitable[R]],
    *arguments: P.args,
    **named: P.kwargs,
) -> R:
    """Return the result of a query for a write that changes nothing; it is given the access.

    The result is the caller's alone: it must not be cached. Raises as `read`.
    """
    return await read(query, granted_access(), *arguments, **named)


@asynccontextmanager
async def transaction(*, invalidates: Invalidation) -> AsyncIterator[Transaction]:
    """Commit what the block changed, unless it raises.

    Nothing after COMMIT raises an error, so a block makes its response before it ends.

    Raises `OutcomeUnknown` (perhaps it was changed); `DatabaseUnavailable`, `TooManyRequests`, and
    what the block raises (nothing was changed).
    """
    access = granted_access()
    async with worker_connection().acquire() as (connection, driver):
        with database_time():
            await driver.begin()
        block = Transaction(connection, driver, invalidates, access)
        try:
            yield block
            block.check_conditions()
            await invalidates.ready(block.changed)
            await within_limit()
        except BaseException:
            await _roll_back(driver, invalidates)
            raise
        if block.has_changes:
            await _commit(block, driver, invalidates)


async def _commit(block: Transaction, driver: BoundedConnection, invalidates: Invalidation) -> None:
    try:
        await block.commit()
    except asyncio.CancelledError:  # the deadline
        raise _outcome_unknown() from None
    except (DBAPIError, psycopg.Error) as error:
        if driver.closed or (sqlstate_of(error) or "").startswith(UNKNOWN_OUTCOMES):
            log_failure(error)
            raise _outcome_unknown() from None
        await _roll_back(driver, invalidates)
        raise
    try:
        await invalidates.committed(block.changed)
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - nothing makes it undone
        # A deadline, or a bug: the change is made and says so. Its fences expire by themselves.
        logger().error("not invalidated after COMMIT", error=type(error).__name__)


async def _roll_back(driver: BoundedConnection, invalidates: Invalidation) -> None:
    """Both at the same time, each within `ROLLBACK_SECONDS`, as the deadline may have expired.

    Returns when both have ended, also if one fails: a rollback that is left to itself would still
    use the connection when that is closed, and the driver's memory with it.
    """

    async def withdraw() -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(ROLLBACK_SECONDS):
                await invalidates.rolled_back()

    await run_both(driver.end_transaction(), withdraw())


def _outcome_unknown() -> OutcomeUnknown:
    return OutcomeUnknown(
        "The connection was lost during the commit; check whether the change was made."
    )
