"""How queries are run, and writes committed.

`read` runs a query in AUTOCOMMIT, one round trip a statement. `transaction` is a block that is
committed at its end: BEGIN travels with its first statement, the cache is fenced while that
statement runs, the audit log's rows travel with COMMIT, and the fences are cleared after it.

If the connection broke before COMMIT, `DatabaseUnavailable` says so, and the request is retried
once (`shared.http.route`).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence, Set
from contextlib import asynccontextmanager, suppress
from typing import Any, Concatenate, LiteralString, ParamSpec, Protocol, TypeVar, TypeVarTuple

import psycopg
from sqlalchemy import CursorResult, Delete, Executable, Row, Update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio.engine import AsyncConnection
from sqlalchemy.sql.selectable import TypedReturnsRows

from shared.concurrency import run_both
from shared.database.connection import worker_connection
from shared.database.dependencies import Changes, Values, changes_of, dependencies_of, merge
from shared.database.driver import ROLLBACK_SECONDS, BoundedConnection
from shared.database.failures import log_failure, sqlstate_of
from shared.database.guards import (
    checks_conditions,
    guard_values,
    sets_nothing,
    target_of,
    unchanged_row_of,
)
from shared.database.ownership import names_caller, owner_values
from shared.database.violations import client_error
from shared.errors import (
    ApiError,
    Forbidden,
    InvalidRequest,
    NotFound,
    OutcomeUnknown,
    PreconditionFailed,
)
from shared.observability import database_time, logger
from shared.request import Access, ApiRequest
from shared.settings import settings

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
    """The fences of a transaction (`shared.cache.fences`). None of the methods raises an error.

    If the outcome is unknown, neither `committed` nor `rolled_back` is called.
    """

    def start(self, tables: Mapping[str, str | None]) -> None:
        """Begin to set fences; called with each statement that changes these tables.

        The value is the scope of the table that the statement is likely to change, None for any.
        """

    async def ready(self, scopes: Scopes) -> None:
        """Return when the fences of these scopes stand; awaited before COMMIT is sent."""

    async def committed(self, scopes: Scopes) -> None:
        """Void the pages; awaited after COMMIT, before the response. The deadline may cancel it."""

    async def rolled_back(self) -> None:
        """Clear the fences; called at most once, also if none was started."""


class Reader:
    """The statements of a read, each one round trip; it knows what they depend on."""

    def __init__(self, connection: AsyncConnection, request: ApiRequest) -> None:
        self._connection = connection
        self.request = request
        self.depends_on: dict[str, str | None] = {}
        self.names_caller = False
        """Whether the rows that were read depend on the caller."""

    async def execute(
        self, statement: TypedReturnsRows[*Ts], values: Values | None = None
    ) -> CursorResult[*Ts]:
        """Run a statement that changes nothing.

        Raises `UnknownTables`, and `Forbidden` if the caller may read only its own rows, and the
        statement does not check the owner.
        """
        if is_callers := names_caller(statement):
            values = {**(values or {}), **owner_values(self.request.granted())}
        elif self.request.access is not None and self.request.access.own_only:
            raise _forbidden(self.request.access)
        self.names_caller |= is_callers
        merge(self.depends_on, dependencies_of(statement, values))
        return await self._connection.execute(statement, values)

    async def find(
        self, statement: TypedReturnsRows[*Ts], values: Values | None = None
    ) -> Row[*Ts]:
        """Return the one row of a statement that changes nothing. Raises `NotFound`."""
        row = (await self.execute(statement, values)).one_or_none()
        if row is None:
            raise _not_found(self.request)
        return row


class Transaction:
    """The statements of one transaction of a request, each one round trip.

    For a caller who may write only its own rows every statement must check the owner
    (`shared.database.ownership`); any other is rejected.
    """

    def __init__(
        self,
        connection: AsyncConnection,
        driver: BoundedConnection,
        invalidates: Invalidation,
        request: ApiRequest,
    ) -> None:
        self._connection = connection
        self.driver = driver
        self._invalidates = invalidates
        self.request = request
        self._written: list[int] = []
        self._last: tuple[LiteralString, Sequence[object]] | None = None
        self.has_changes = False
        self._checks_conditions = False
        self.changed: dict[str, set[str] | None] = {}

    @property
    def access(self) -> Access:
        return self.request.granted()

    async def insert(
        self, statement: TypedReturnsRows[*Ts], values: Values | None = None
    ) -> Row[*Ts]:
        """Insert one row of a resource, and return it.

        The audit log has its `id`, or its first column if it has none, as that of a link table,
        whose key is the ids of others.

        Raises `Forbidden` if it would not be the caller's own, and `NotFound` if nothing was
        inserted for another reason, such as a SELECT that found nothing.
        """
        given = values or {}
        row = await self._write(statement, given)
        if row is None:
            raise await self._why_not(statement, given)
        return row

    async def change(
        self, statement: TypedReturnsRows[*Ts], values: Values | None = None
    ) -> Row[*Ts]:
        """Update or delete one row of a resource, and return what the statement returns.

        An update that is given no column to set leaves the row unchanged, and returns it. If no row
        matched, raises `NotFound`, `Forbidden` (another's) or `PreconditionFailed` (changed since),
        in that order.
        """
        given = values or {}
        if isinstance(statement, Update) and sets_nothing(statement, given):
            self._require_guard(statement)
            row = (await self.look_up(unchanged_row_of(statement), given)).one_or_none()
        else:
            row = await self._write(statement, given)
        if row is None:
            raise await self._why_not(statement, given)
        return row

    async def execute(
        self, statement: TypedReturnsRows[*Ts], values: Values | None = None
    ) -> CursorResult[*Ts]:
        """Run a statement that changes rows, and returns them.

        The audit log has nothing of it. Raises `Forbidden` as above.
        """
        self._require_guard(statement)
        changes = changes_of(statement)
        for table in changes.tables({}):
            self._changed(table, None)
        return await self._change(changes, values or {})

    async def look_up(
        self, statement: TypedReturnsRows[*Ts], values: Values | None = None
    ) -> CursorResult[*Ts]:
        """Run a statement that changes nothing."""
        self.request.begin_counting()
        with database_time(self.request.record):
            return await self._connection.execute(statement, self._with_guards(statement, values))

    async def _write(self, statement: TypedReturnsRows[*Ts], values: Values) -> Row[*Ts] | None:
        """Run a statement that changes one row, for the audit log; return the row if there is."""
        self._require_guard(statement)
        changes = changes_of(statement)
        row: Row[*Ts] | None = (await self._change(changes, values)).one_or_none()
        if row is not None:
            self._written.append(_id_of(row))
        for table, scopes in changes.scopes(row).items():
            self._changed(table, scopes)
        return row

    def _require_guard(self, statement: Executable) -> None:
        if self.access.own_only and not names_caller(statement):
            raise _forbidden(self.access)

    async def _why_not(self, statement: Executable, values: Values) -> ApiError:
        """Return why the statement matched no row."""
        is_conditional = self.request.conditions.if_match is not None
        if not isinstance(statement, Update | Delete):
            return _forbidden(self.access) if self.access.own_only else _not_found(self.request)
        if not (self.access.own_only or is_conditional):
            return _not_found(self.request)
        target = target_of(statement)
        found = (await self.look_up(target, values)).one_or_none()
        if found is None:
            return _not_found(self.request)
        if not found[0]:  # None for a caller who has no user
            return _forbidden(self.access)
        return PreconditionFailed("The resource is not as If-Match demands.")

    def check_conditions(self) -> None:
        """Raise `InvalidRequest` if the request has If-Match, and no statement checked it."""
        is_conditional = self.request.conditions.if_match is not None
        if self.has_changes and is_conditional and not self._checks_conditions:
            message = "is not supported by this operation, which compares no version"
            raise InvalidRequest([{"in": "header", "field": "If-Match", "message": message}])

    async def _change(self, changes: Changes, values: Values) -> CursorResult[Any]:
        self.has_changes = True
        self._checks_conditions |= checks_conditions(changes.statement)
        self._invalidates.start(changes.tables(values))
        executable = changes.executable(values)
        given = self._with_guards(executable, values)
        try:
            with database_time(self.request.record):
                return await self._connection.execute(executable, given)
        except IntegrityError as violation:
            error = client_error(violation, changes.statement)
            if error is None:
                raise
            raise error from None

    def _with_guards(self, statement: Executable, values: Values | None) -> Values:
        return {**(values or {}), **guard_values(statement, self.access, self.request.conditions)}

    def _changed(self, table: str, scopes: set[str] | None) -> None:
        known = self.changed.get(table, set())
        self.changed[table] = None if scopes is None or known is None else known | scopes

    def execute_with_commit(self, statement: LiteralString, values: Sequence[object]) -> None:
        """Run the transaction's last statement in one round trip with COMMIT."""
        self._last = statement, values

    async def commit(self) -> None:
        """Send what is to go with COMMIT, and COMMIT, in one round trip.

        Raises the driver's errors, also if an earlier statement had failed, and the endpoint went
        on: PostgreSQL then rolls back, and reports no error.
        """
        with database_time(self.request.record):
            async with self.driver.pipeline():
                is_audited = settings().audit_retention_days > 0
                for row_id in self._written if is_audited else ():
                    await self.driver.execute(AUDIT, self._audit_values(row_id))
                if self._last is not None:
                    await self.driver.execute(*self._last)
                # The driver's own `commit` waits for a round trip within the pipeline.
                ended = await self.driver.execute("COMMIT")
        if ended.statusmessage == "ROLLBACK":
            raise psycopg.errors.InFailedSqlTransaction("a statement had failed before COMMIT")

    def _audit_values(self, row_id: int) -> Sequence[object]:
        access = self.access
        caller = (access.caller.issuer, access.caller.subject) if access.caller else (None, None)
        return (*caller, access.operation, access.resource, row_id, self.request.gateway_id)


async def read(
    request: ApiRequest,
    query: Callable[Concatenate[Reader, P], Awaitable[R]],
    /,
    *arguments: P.args,
    **named: P.kwargs,
) -> R:
    """Return the query's result, each of its statements on its own (AUTOCOMMIT).

    Raises `DatabaseUnavailable`, and what the query raises.
    """
    request.begin_counting()
    async with worker_connection().acquire(request.record) as (connection, driver):
        with database_time(request.record):
            async with driver.reading_from_primary():
                return await query(Reader(connection, request), *arguments, **named)


@asynccontextmanager
async def transaction(request: ApiRequest, invalidates: Invalidation) -> AsyncIterator[Transaction]:
    """Commit what the block changed, unless it raises.

    Nothing after COMMIT raises an error, so a block makes its response before it ends.

    Raises `OutcomeUnknown` (perhaps it was changed); `DatabaseUnavailable`, `TooManyRequests`, and
    what the block raises (nothing was changed).
    """
    request.granted()
    async with worker_connection().acquire(request.record) as (connection, driver):
        with database_time(request.record):
            await driver.begin()
        block = Transaction(connection, driver, invalidates, request)
        try:
            yield block
            block.check_conditions()
            await invalidates.ready(block.changed)
            await request.within_limit()
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
        state = sqlstate_of(error)
        # Without one it is the driver's own error: the server may have committed, and ended then.
        if driver.closed or state is None or state.startswith(UNKNOWN_OUTCOMES):
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


def _id_of(row: Row[*tuple[Any, ...]]) -> int:
    found: int = row.id if "id" in row._fields else next(iter(row))
    return found


def _not_found(request: ApiRequest) -> NotFound:
    return NotFound(f"There is no {request.item} with this id.")


def _forbidden(access: Access) -> Forbidden:
    return Forbidden(access.permission, own_only=True)


def _outcome_unknown() -> OutcomeUnknown:
    return OutcomeUnknown(
        "The connection was lost during the commit; check whether the change was made."
    )
