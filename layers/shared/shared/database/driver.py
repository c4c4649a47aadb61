"""The driver's connection: it sends statements ahead in one round trip, and fails fast.

`TIMEOUTS` are settings of the database, made by the migrations. The first transaction of a
connection checks them in one message with BEGIN; if some are missing, as after the restore of a
dump, a warning is logged and each transaction sets them. So no transaction outlives its fences.

`SESSION` has the formats of values, whatever the role, the database, the URL or the environment
sets. PostgreSQL reports these settings, so a session that has them costs nothing, and another one a
round trip per connection.
"""

import asyncio
import select
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import Any, LiteralString, Self, cast

import psycopg
from psycopg.pq import TransactionStatus

from shared.observability import logger

PING_SECONDS = 1.0
CANCEL_SECONDS = 0.1
ROLLBACK_SECONDS = 0.2
"""If a rollback takes longer, the connection is closed, which ends the transaction too. With
`CANCEL_SECONDS` it fits into `shared.gateway.DEADLINE_MARGIN_SECONDS`."""
TIMEOUTS: dict[LiteralString, LiteralString] = {
    "statement_timeout": "8s",
    "transaction_timeout": "9s",
    "idle_in_transaction_session_timeout": "5s",
    "lock_timeout": "3s",
}
"""Maximum values in a session; `FENCE_SECONDS` of `shared.cache.scripts` relies on them."""
SESSION: dict[LiteralString, Sequence[LiteralString]] = {
    "TimeZone": ("UTC", "Etc/UTC"),
    "DateStyle": ("ISO, MDY", "ISO, DMY", "ISO, YMD"),
    "IntervalStyle": ("postgres",),
    "standard_conforming_strings": ("on",),
}
"""The values that a session may have; any other is replaced by the first."""
BEGIN: LiteralString = "BEGIN ISOLATION LEVEL READ COMMITTED"
"""Sets the isolation level, whatever `default_transaction_isolation` is."""
READ_ONLY_PARAMETERS = (b"in_hot_standby", b"default_transaction_read_only")
"""Parameters that PostgreSQL reports since version 14."""
SERVER: LiteralString = "SELECT current_setting('transaction_read_only'), pg_backend_pid()"
"""Whether the server is read-only, and its process id."""
_NAMES_AND_VALUES = ", ".join(f"('{name}', '{longest}')" for name, longest in TIMEOUTS.items())
LACKING_TIMEOUTS = f"""
SELECT name FROM (VALUES {_NAMES_AND_VALUES}) AS timeouts (name, longest)
WHERE current_setting(name)::interval NOT BETWEEN '1ms' AND longest::interval
"""  # noqa: S608 - of constants
"""Settings that this session lacks or exceeds."""
SentAhead = tuple[psycopg.AsyncCursor[Any], LiteralString, Sequence[object]]


class PipelinedCursor(psycopg.AsyncCursor[Any]):
    """A cursor that sends the statements waiting on its connection along with its own."""

    async def execute(self, query: Any, params: Any = None, **options: Any) -> Self:
        connection = cast("BoundedConnection", self.connection)
        ahead = connection.take_ahead()
        if not ahead:
            return await super().execute(query, params, **options)
        async with connection.pipeline():
            for cursor, statement, values in ahead:
                await cursor.execute(statement, values)
            await super().execute(query, params, **options)
        return self


class BoundedConnection(psycopg.AsyncConnection[Any]):
    """A connection that fails fast, also when its server stops responding.

    psycopg's own waits up to 10 seconds for a cancelled query, and forever for a rollback.

    `must_close`: its server must not be used again.
    """

    must_close = False
    _is_direct = False
    _opening: Sequence[LiteralString] | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._ahead: list[SentAhead] = []
        self.made_at = monotonic()

    async def begin(self) -> None:
        """Begin a transaction that has all of TIMEOUTS.

        BEGIN is sent with the first statement, except in the connection's first transaction.
        """
        if self._opening is None:
            self._opening = await self._begin_first()
            return
        for statement in self._opening:
            self.send_ahead(statement)

    async def set_session(self) -> None:
        """Correct the settings of `SESSION`, except those that a pooler does not report.

        SET is not sent ahead of a statement: PostgreSQL would report the change after the
        statement's rows, which psycopg would then parse by the former settings.
        """
        lacking: list[LiteralString] = [
            f"SET {name} = '{values[0]}'"
            for name, values in SESSION.items()
            if self.info.parameter_status(name) not in (None, *values)
        ]
        if lacking:
            await self.execute("; ".join(lacking))

    def send_ahead(
        self, statement: LiteralString, values: Sequence[object] = ()
    ) -> psycopg.AsyncCursor[Any]:
        """Send this statement before the next one, in the same round trip."""
        cursor: psycopg.AsyncCursor[Any] = psycopg.AsyncCursor(self)
        self._ahead.append((cursor, statement, values))
        return cursor

    def take_ahead(self) -> list[SentAhead]:
        taken, self._ahead = self._ahead, []
        return taken

    @asynccontextmanager
    async def reading_from_primary(self) -> AsyncIterator[None]:
        """Check that the block's statements run on the primary, without another round trip.

        `SERVER` is sent with the first statement, and so runs in the same transaction. A pooler may
        change the server behind a connection without reporting it: it repeats the parameters of its
        first server. PostgreSQL itself reports each change, so a connection without a pooler is
        checked once (a check costs a read 0.2 ms of CPU).

        Raises `ReadOnlySqlTransaction` if the server is read-only: it may be a replica that lags,
        whose rows must not be cached, nor served after an acknowledged write.
        """
        asked = None if self._is_direct else self.send_ahead(SERVER)
        yield
        if asked is None:
            is_read_only = b"on" in self._read_only_parameters()
        elif asked.rowcount < 0:  # the block ran no statement
            self._ahead.clear()
            return
        else:
            is_read_only = self._notice_server(await asked.fetchone())
        if is_read_only:
            raise psycopg.errors.ReadOnlySqlTransaction("the server is read-only")

    def _notice_server(self, row: tuple[str, int] | None) -> bool:
        """Return whether the server is read-only; `row` is the result of `SERVER`."""
        assert row is not None
        read_only, process = row
        # A pooler sends its clients a process id of its own.
        is_reported = None not in self._read_only_parameters()
        self._is_direct = is_reported and process == self.info.backend_pid
        return read_only == "on"

    def _read_only_parameters(self) -> list[bytes | None]:
        return [self.pgconn.parameter_status(name) for name in READ_ONLY_PARAMETERS]

    async def end_transaction(self) -> None:
        """Roll back an open transaction. Raises nothing: a connection that fails is closed."""
        self._ahead.clear()
        if self.info.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
            with suppress(psycopg.Error):
                await self._within(ROLLBACK_SECONDS, self.rollback())

    async def cancel_safe(self, *, timeout: float = CANCEL_SECONDS) -> None:  # noqa: ASYNC109
        """Ask the server once to cancel the query, and close the connection in any case.

        So the next request opens a new connection, and never waits for the cancelled query.
        """
        try:
            await super().cancel_safe(timeout=min(timeout, CANCEL_SECONDS))
        finally:
            self.pgconn.finish()

    @property
    def is_readable(self) -> bool:
        """Whether the server has closed the connection, or sent an unsolicited message."""
        socket_events = select.poll()
        socket_events.register(self.pgconn.socket, select.POLLIN)
        return bool(socket_events.poll(0))

    async def is_responding(self) -> bool:
        try:
            await self._within(PING_SECONDS, self.execute(""))
        except psycopg.Error:
            return False
        return True

    async def _begin_first(self) -> list[LiteralString]:
        """Begin, and return the statements that begin the connection's other transactions."""
        # In one message, and so one round trip.
        responses = await self.execute(f"{BEGIN}; {LACKING_TIMEOUTS}")
        responses.nextset()
        lacking = [name for (name,) in await responses.fetchall()]
        settings = [f"SET LOCAL {name} = '{TIMEOUTS[name]}'" for name in lacking]
        if lacking:
            logger().warning(
                "the database lacks timeouts; run the migrations, which set them", lacking=lacking
            )
            await self.execute("; ".join(settings))
        return [BEGIN, *settings]

    async def _within(self, seconds: float, response: Awaitable[object]) -> None:
        try:
            async with asyncio.timeout(seconds):
                await response
        except TimeoutError:
            self.pgconn.finish()
            raise psycopg.OperationalError("no response in time") from None
