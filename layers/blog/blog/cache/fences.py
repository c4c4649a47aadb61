"""Fences of a write: no page that depends on what it changes is served from before its COMMIT
until that is voided.

They are set while the statement runs, and cleared by a command that is sent after COMMIT but not
awaited, so they cost a write no round trip. Redis's failures do not stop a write;
`blog.cache.pages` says what they cost.
"""

import asyncio
from collections.abc import Iterable, Mapping
from math import inf
from time import monotonic

from blog.access import current_limit
from blog.cache.pages import surviving_redis
from blog.cache.redis_connection import Argument, Call
from blog.cache.scripts import (
    CLEAR_FENCES,
    FENCE_SECONDS,
    SET_FENCES,
    key,
    new_token,
    redis_scripts,
)


class Fences:
    """The fences of one write: a transaction's `Invalidation`.

    A write whose outcome is unknown calls neither `committed` nor `rolled_back`: its COMMIT may
    still come through, and the fences stand until it no longer can.
    """

    def __init__(self) -> None:
        self._writer = new_token()
        self._members: set[str] = set()
        self._setting: list[asyncio.Task[None]] = []
        self._standing: set[str] = set()
        self._expires_at = inf
        """When the first of them does, at the earliest; a process may have been frozen since."""

    def start(self, tables: Mapping[str, str | None]) -> None:
        """Begin to set the fences of these tables, and to count the request with them.

        The value is the only scope of the table that is to change, None for any.
        """
        names = (table if scope is None else f"{table}@{scope}" for table, scope in tables.items())
        new = {f"{name}|{self._writer}" for name in names} - self._members
        if new:
            self._members |= new
            self._setting.append(asyncio.create_task(self._set(sorted(new))))

    async def ready(self) -> None:
        """Return when they stand, or Redis has failed."""
        for setting in self._setting:
            # A deadline that expires here must not stop it: `rolled_back` waits for its end.
            await asyncio.shield(setting)

    async def committed(self, scopes: Mapping[str, Iterable[str] | None]) -> None:
        """Void the pages of what changed, and clear the fences.

        `scopes` has the scopes that changed of each table, None for the whole table.
        """
        fields: list[str] = []
        scope_keys: list[str] = []
        for table, changed in scopes.items():
            fields.append(table if changed is None else f"{table}|all")
            scope_keys += [key(f"scope:{table}:{scope}") for scope in changed or ()]
        members = sorted(self._members)
        arguments: tuple[Argument, ...] = (new_token(), len(members), *members, *fields)
        call = Call(CLEAR_FENCES, [key("generations"), key("fences"), *scope_keys], arguments)
        with surviving_redis():
            if self._standing == self._members and monotonic() < self._expires_at:
                await redis_scripts().post(call, voids=scopes)
            else:  # no fence keeps readers from the pages until the command has arrived
                await redis_scripts().void(call, voids=scopes)

    async def rolled_back(self) -> None:
        """Clear the fences; the pages are as good as before."""
        for setting in self._setting:
            await setting
        members = sorted(self._members)
        call = Call(CLEAR_FENCES, [key("generations"), key("fences")], ("", len(members), *members))
        if members:
            with surviving_redis():
                await redis_scripts().post(call)

    async def _set(self, members: list[str]) -> None:
        keys = [key("generations"), key("fences")]
        self._expires_at = min(self._expires_at, monotonic() + FENCE_SECONDS)
        call = Call(SET_FENCES, keys, (int(FENCE_SECONDS * 1000), *members))
        with surviving_redis():
            await redis_scripts().run(call, current_limit.get(), ignores_breaker=True)
            self._standing.update(members)
