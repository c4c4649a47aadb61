"""Transactions: a block that is committed at its end, or rolled back if it raises.

BEGIN is sent with the first statement, the cache is fenced while that statement runs, the audit
log's rows are sent with COMMIT, and the fences are cleared after it.

If the connection broke before COMMIT, the `DatabaseUnavailable` has `connection_lost`, and the
request is retried once (`shared.http.route`).
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence, Set
from contextlib import asynccontextmanager, suppress
from typing import Any, LiteralString, Protocol, TypeVarTuple, cast, overload

import psycopg
from sqlalchemy import CursorResult, Delete, Executable, Row, Update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio.engine import AsyncConnection
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.selectable import TypedReturnsRows

from shared.concurrency import run_both
from shared.conditions import UNCONDITIONAL
from shared.database import audit
from shared.database.changes import TableChanges, changes_of
from shared.database.connection import worker_connection
from shared.database.dependencies import Values, require_read
from shared.database.driver import ROLLBACK_SECONDS, BoundedConnection
from shared.database.failures import changed_concurrently, log_failure, sqlstate_of
from shared.database.guards import (
    IS_OWN,
    checks_conditions,
    guard_values,
    returning_own,
    sets_nothing,
    sets_own,
    target_of,
    unchanged_row_of,
)
from shared.database.own_rows import forbidden, is_limited, not_limited, require_own_rows
from shared.database.reads import not_found
from shared.database.statements import statement_tables
from shared.database.violations import client_error
from shared.errors import (
    ApiError,
    DatabaseUnavailable,
    InvalidRequest,
    NotFound,
    OutcomeUnknown,
    PreconditionFailed,
)
from shared.observability import database_time, logger
from shared.request import Access, ApiRequest
from shared.settings import settings

# Responses of poolers that lost the server during COMMIT, by SQLSTATE: connection exceptions,
# operator intervention (shutdown, crash), and statement_completion_unknown.
UNKNOWN_OUTCOMES = ("08", "57P", "40003")

Ts = TypeVarTuple("Ts")


Scopes = Mapping[str, Set[str] | None]
"""The scopes of each table that changed; None for the whole table."""


class Invalidation(Protocol):
    """The fences of a transaction (`shared.cache.fences`). No method raises an error.

    If the outcome is unknown, neither `committed` nor `rolled_back` is called.
    """

    def start(self, tables: Mapping[str, str | None]) -> None:
        """Start setting fences; called before each statement that changes these tables.

        The value is the scope that the statement is likely to change, None for any scope.
        """

    async def ready(self, scopes: Scopes) -> None:
        """Return once these scopes are fenced; awaited before COMMIT is sent."""

    async def committed(self, scopes: Scopes) -> None:
        """Void the pages; awaited after COMMIT, before the response. The deadline may cancel it."""

    async def rolled_back(self) -> None:
        """Clear the fences; called at most once, even if none was started."""


class Transaction:
    """Runs the statements of a request's transaction, each in one round trip.

    For a caller who may write only its own rows, every statement must check the owner
    (`shared.database.ownership`), or is rejected with `Forbidden`.
    """

    def __init__(
        self,
        connection: AsyncConnection,
        driver: BoundedConnection,
        invalidation: Invalidation,
        request: ApiRequest,
    ) -> None:
        self._connection = connection
        self.driver = driver
        self._invalidation = invalidation
        self.request = request
        self._written: list[Sequence[object]] = []
        self._changing: list[Executable] = []
        self._last: tuple[LiteralString, Sequence[object]] | None = None
        self.has_changes = False
        self._checks_conditions = False
        self._has_missed = False
        self._conditions = request.conditions
        self.changed: dict[str, set[str] | None] = {}

    @property
    def access(self) -> Access:
        return self.request.granted()

    async def insert(
        self, statement: TypedReturnsRows[*Ts], values: Values | None = None
    ) -> Row[*Ts]:
        """Insert one row of a resource, and return it.

        The audit log gets the table, and the row's key; of a link, both ids.

        Raises `Forbidden` if the row would be another user's, `NotFound` if no row was inserted for
        another reason, such as a SELECT that found nothing, and `PreconditionFailed` if the row is
        created as `change` has not found it: none exists for If-Match.
        """
        if self._has_missed:
            raise PreconditionFailed
        given = values or {}
        row = await self._write(statement, given)
        if row is None:
            raise await self._why_not(statement, given)
        return row

    async def change(
        self,
        statement: TypedReturnsRows[*Ts],
        values: Values | None = None,
        *,
        any_owner: bool = False,
        found_by: TypedReturnsRows[*Ts] | None = None,
    ) -> Row[*Ts]:
        """Update or delete one row of a resource, and return the statement's row.

        An update without columns to set leaves the row unchanged. If no row matched, raises
        `NotFound`, `Forbidden` (another's) or `PreconditionFailed` (changed since), in that order;
        `Forbidden` also if the caller's row would become another's, unless it may be of `any_owner`
        then. Another's row is `NotFound` if the caller cannot read it: `found_by` is the query that
        reads it. If-Match is compared with the first row that has the condition.
        """
        given = values or {}
        checked = statement
        if self.access.own_only and not any_owner and isinstance(statement, Update):
            checked = cast("TypedReturnsRows[*Ts]", returning_own(statement))
        row = await self._change_one(checked, given)
        if row is None:
            error = await self._why_not(statement, given, found_by)
            if isinstance(error, DatabaseUnavailable):
                row = await self._change_one(checked, given)
            if row is None:
                self._has_missed = isinstance(error, NotFound) and (
                    self._conditions.if_match is not None
                )
                raise error
        if not getattr(row, IS_OWN, True):
            raise forbidden(self.access)
        if checks_conditions(statement):
            self._conditions = UNCONDITIONAL
        return row

    async def _change_one(self, statement: TypedReturnsRows[*Ts], given: Values) -> Row[*Ts] | None:
        if not (isinstance(statement, Update) and sets_nothing(statement, given)):
            return await self._write(statement, given)
        require_own_rows(self.access, statement)
        return (await self._look_up(unchanged_row_of(statement), given)).one_or_none()

    @overload
    async def execute(
        self, statement: TypedReturnsRows[*Ts], values: Values | None = None
    ) -> CursorResult[*Ts]: ...

    @overload
    async def execute(
        self, statement: UpdateBase, values: Values | None = None
    ) -> CursorResult[Any]: ...

    async def execute(
        self, statement: Executable, values: Values | None = None
    ) -> CursorResult[Any]:
        """Run a statement that changes any number of rows, and return its result.

        The changes are not in the audit log. For a caller who may write only its own rows, raises
        `Forbidden` if the statement sets a column on which that depends: use `change`.
        """
        require_own_rows(self.access, statement)
        if self.access.own_only and sets_own(statement, values or {}):
            raise not_limited(self.access)
        changes = changes_of(statement)._replace(statement=statement)  # that returns no scopes
        for table in changes.tables({}):
            self._changed(table, None)
        return await self._change(changes, values or {})

    async def look_up(
        self,
        statement: TypedReturnsRows[*Ts],
        values: Values | None = None,
        *,
        any_owner: bool = False,
    ) -> CursorResult[*Ts]:
        """Run a statement that changes nothing.

        Raises `Forbidden` like a change, unless the rows may be of `any_owner`: then the endpoint
        must not show them to a caller who may write only its own.
        """
        require_read(statement)
        if not any_owner:
            require_own_rows(self.access, statement)
        return await self._look_up(statement, values)

    async def _look_up(
        self, statement: TypedReturnsRows[*Ts], values: Values | None
    ) -> CursorResult[*Ts]:
        self.request.begin_counting()
        with database_time(self.request.record):
            return await self._connection.execute(statement, self._with_guards(statement, values))

    async def _write(self, statement: TypedReturnsRows[*Ts], values: Values) -> Row[*Ts] | None:
        """Change one row, note it for the audit log, and return it; None if none matched."""
        require_own_rows(self.access, statement)
        changes = changes_of(statement)
        row: Row[*Ts] | None = (await self._change(changes, values)).one_or_none()
        if row is not None:
            self._written.append(audit.audit_values(self.request, statement, row))
        for table, scopes in changes.scopes(row).items():
            self._changed(table, scopes)
        return row

    async def _why_not(
        self,
        statement: Executable,
        values: Values,
        found_by: TypedReturnsRows[*tuple[Any, ...]] | None = None,
    ) -> ApiError:
        """Return why the statement matched no row.

        It is `DatabaseUnavailable` if there is a row. PostgreSQL finds none if, at the same time,
        a concurrent write changes the row and what the statement compares in another table.
        """
        is_conditional = self._conditions.if_match is not None
        if not isinstance(statement, Update | Delete):
            return forbidden(self.access) if self.access.own_only else not_found(self.request)
        is_of_one_table = len(statement_tables(statement)) == 1
        if is_of_one_table and not (self.access.own_only or is_conditional):
            return not_found(self.request)
        target = target_of(statement)
        found = (await self._look_up(target, values)).one_or_none()
        if found is None:
            return not_found(self.request)
        if not found[0]:  # None for a caller without a user
            is_readable = await self._is_readable(found_by, values)
            return forbidden(self.access) if is_readable else not_found(self.request)
        if is_conditional:
            return PreconditionFailed()
        return changed_concurrently()

    async def _is_readable(
        self, query: TypedReturnsRows[*tuple[Any, ...]] | None, values: Values
    ) -> bool:
        """Whether the caller can read another's row, which the query finds if it can."""
        if query is None or (self.access.others_hidden and not is_limited(query)):
            return not self.access.others_hidden
        return (await self._look_up(query, values)).one_or_none() is not None

    def check_conditions(self) -> None:
        """Raise `InvalidRequest` if the request has If-Match, but no statement checked it."""
        is_conditional = self.request.conditions.if_match is not None
        if self.has_changes and is_conditional and not self._checks_conditions:
            message = "is not supported by this operation, which compares no version"
            raise InvalidRequest([{"in": "header", "field": "If-Match", "message": message}])

    async def _change(self, changes: TableChanges, values: Values) -> CursorResult[Any]:
        self.has_changes = True
        self._changing.append(changes.statement)
        self._checks_conditions |= checks_conditions(changes.statement)
        self._invalidation.start(changes.tables(values))
        given = self._with_guards(changes.statement, values)
        try:
            with database_time(self.request.record):
                return await self._connection.execute(changes.statement, given)
        except IntegrityError as violation:
            error = client_error(violation, changes.statement)
            if error is None:
                raise
            raise error from None

    def _with_guards(self, statement: Executable, values: Values | None) -> Values:
        return {**(values or {}), **guard_values(statement, self.access, self._conditions)}

    def _changed(self, table: str, scopes: set[str] | None) -> None:
        known = self.changed.get(table, set())
        self.changed[table] = None if scopes is None or known is None else known | scopes

    def execute_with_commit(self, statement: LiteralString, values: Sequence[object]) -> None:
        """Run the transaction's last statement in one round trip with COMMIT."""
        self._last = statement, values

    async def commit(self) -> None:
        """Send the audit log's rows, the last statement and COMMIT in one round trip.

        Raises the driver's errors, also if an earlier statement had failed, and the endpoint went
        on: PostgreSQL then rolls back, and reports no error. A violated deferred constraint is the
        client's error, like that of a statement.
        """
        with database_time(self.request.record):
            try:
                ended = await self._send_commit()
            except psycopg.IntegrityError as deferred:
                raise client_error(deferred, *self._changing) or deferred from None
        if ended.statusmessage == "ROLLBACK":
            raise psycopg.errors.InFailedSqlTransaction("a statement had failed before COMMIT")
        self.request.has_committed = True

    async def _send_commit(self) -> psycopg.AsyncCursor[Any]:
        async with self.driver.pipeline():
            is_audited = settings().audit_retention_days > 0
            for written in self._written if is_audited else ():
                await self.driver.execute(audit.INSERT, written)
            if self._last is not None:
                await self.driver.execute(*self._last)
            # The driver's `commit` would await its own round trip within the pipeline.
            return await self.driver.execute("COMMIT")


@asynccontextmanager
async def transaction(
    request: ApiRequest, invalidation: Invalidation
) -> AsyncIterator[Transaction]:
    """Commit the block's changes, or roll them back if it raises.

    Nothing may raise an error after COMMIT, so the block creates the response.

    Raises `OutcomeUnknown` (the changes may have been made); `DatabaseUnavailable`,
    `TooManyRequests`, and the errors of the block (nothing was changed).
    """
    request.granted()
    async with worker_connection().acquire(request.record) as (connection, driver):
        with database_time(request.record):
            await driver.begin()
        block = Transaction(connection, driver, invalidation, request)
        try:
            yield block
            block.check_conditions()
            await invalidation.ready(block.changed)
            await request.within_limit()
        except BaseException:
            await _roll_back(driver, invalidation)
            raise
        if block.has_changes:
            await _commit(block, driver, invalidation)


async def _commit(
    block: Transaction, driver: BoundedConnection, invalidation: Invalidation
) -> None:
    try:
        await block.commit()
    except asyncio.CancelledError:  # the deadline
        raise _outcome_unknown() from None
    except (DBAPIError, psycopg.Error) as error:
        state = sqlstate_of(error)
        # Without SQLSTATE it is the driver's error: the server may have failed after committing.
        if driver.closed or state is None or state.startswith(UNKNOWN_OUTCOMES):
            log_failure(error)
            raise _outcome_unknown() from None
        await _roll_back(driver, invalidation)
        raise
    except ApiError:
        await _roll_back(driver, invalidation)
        raise
    try:
        await invalidation.committed(block.changed)
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - the commit stands
        # The deadline, or a bug: the response reports the change, and its fences expire.
        logger().error("not invalidated after COMMIT", error=type(error).__name__)


async def _roll_back(driver: BoundedConnection, invalidation: Invalidation) -> None:
    """Roll back and clear the fences, each within `ROLLBACK_SECONDS`, as the deadline may be over.

    Returns once both have ended, even if one fails: a rollback that is still running would use the
    connection, and the driver's memory, after it is closed.
    """

    async def clear_fences() -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(ROLLBACK_SECONDS):
                await invalidation.rolled_back()

    await run_both(driver.end_transaction(), clear_fences())


def _outcome_unknown() -> OutcomeUnknown:
    return OutcomeUnknown(
        "The connection was lost during the commit; check whether the change was made."
    )
