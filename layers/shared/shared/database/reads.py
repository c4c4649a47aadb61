"""Reads: each statement runs on its own, in AUTOCOMMIT and one round trip."""

from collections.abc import Awaitable, Callable
from typing import Concatenate, ParamSpec, TypeVar, TypeVarTuple

from sqlalchemy import CursorResult, Row
from sqlalchemy.ext.asyncio.engine import AsyncConnection
from sqlalchemy.sql.selectable import TypedReturnsRows

from shared.database.connection import worker_connection
from shared.database.dependencies import Values, dependencies_of, merge
from shared.database.own_rows import require_own_rows
from shared.database.ownership import names_caller, owner_values
from shared.errors import NotFound
from shared.observability import database_time
from shared.request import Access, ApiRequest

P = ParamSpec("P")
R = TypeVar("R")
Ts = TypeVarTuple("Ts")


class Reader:
    """Runs the statements of a read, each in one round trip, and collects their dependencies."""

    def __init__(self, connection: AsyncConnection, request: ApiRequest) -> None:
        self._connection = connection
        self._request = request
        self.depends_on: dict[str, str | None] = {}
        self.names_caller = False
        """Whether the rows that were read depend on the caller."""

    @property
    def access(self) -> Access:
        """The caller's access; a page that is read with it is not shared with other callers."""
        self.names_caller = True
        return self._request.granted()

    async def execute(
        self, statement: TypedReturnsRows[*Ts], values: Values | None = None
    ) -> CursorResult[*Ts]:
        """Run a statement that changes nothing.

        Raises `UnknownTables`, and `Forbidden` if the statement does not check the owner for a
        caller who may read only its own rows.
        """
        if self._request.access is not None:
            require_own_rows(self._request.access, statement)
        if names_caller(statement):
            self.names_caller = True
            values = {**(values or {}), **owner_values(self._request.granted())}
        merge(self.depends_on, dependencies_of(statement, values))
        return await self._connection.execute(statement, values)

    async def find(
        self, statement: TypedReturnsRows[*Ts], values: Values | None = None
    ) -> Row[*Ts]:
        """Return the one row of a statement that changes nothing. Raises `NotFound`."""
        row = (await self.execute(statement, values)).one_or_none()
        if row is None:
            raise not_found(self._request)
        return row


async def read(
    request: ApiRequest,
    query: Callable[Concatenate[Reader, P], Awaitable[R]],
    /,
    *arguments: P.args,
    **named: P.kwargs,
) -> R:
    """Return the query's result; each of its statements runs on its own (AUTOCOMMIT).

    Raises `DatabaseUnavailable`, and the errors of the query.
    """
    request.begin_counting()
    async with worker_connection().acquire(request.record) as (connection, driver):
        with database_time(request.record):
            async with driver.reading_from_primary():
                return await query(Reader(connection, request), *arguments, **named)


def not_found(request: ApiRequest) -> NotFound:
    return NotFound(f"There is no {request.item} with this id.")
