"""The fences of a write: no page that depends on its changes is served from before its COMMIT until
these pages are voided.

Fences are set while the statement runs, and narrowed and cleared by commands that are not awaited,
so they cost a write no round trip, unless it moves a row to another scope. A failure of Redis does
not stop a write (`shared.cache.pages`).
"""

import asyncio
from collections.abc import Mapping, Sequence, Set
from math import inf
from time import monotonic

from shared.cache.pages import surviving_redis
from shared.cache.redis_connection import Argument, Call
from shared.cache.scripts import (
    CLEAR_FENCES,
    FENCE_SECONDS,
    SET_FENCES,
    key,
    new_token,
    redis_scripts,
)
from shared.request import ApiRequest

Fence = tuple[str, str | None]
"""A table and one of its scopes, None for the whole table."""


class Fences:
    """The fences of one write: a transaction's `Invalidation`.

    If the outcome of a write is unknown, its COMMIT may still take effect, so its fences stand
    until it no longer can.
    """

    def __init__(self, request: ApiRequest) -> None:
        self._request = request
        self._writer = new_token()
        self._fences: set[Fence] = set()
        self._setting: list[asyncio.Task[None]] = []
        self._standing: set[Fence] = set()
        self._expires_at = inf
        """When the first fence expires; the process may have been frozen since it was set."""

    def start(self, tables: Mapping[str, str | None]) -> None:
        """Start setting the fences of these tables, and counting the request along with them."""
        self._start(set(tables.items()) - self._fences)

    async def ready(self, scopes: Mapping[str, Set[str] | None]) -> None:
        """Return once everything that changed is fenced, or Redis has failed.

        The scopes are known now, so the fence of a table is narrowed to them by a command that is
        not awaited; until it arrives, the whole table is fenced. A scope that `start` did not
        expect costs a round trip.
        """
        await self._wait_until_set()
        changed: set[Fence] = {
            (table, scope)
            for table, known in scopes.items()
            for scope in ([None] if known is None else known)
        }
        new = changed - self._fences
        if not new or self._standing != self._fences:
            return
        if any((table, None) not in self._fences for table, _ in new):
            self._start(new)
            await self._wait_until_set()
            return
        narrow = self._set_fences(new, instead_of={(table, None) for table, _ in new})
        self._fences |= new
        with surviving_redis(self._request.record):
            await redis_scripts().post(narrow)
            self._standing |= new

    async def committed(self, scopes: Mapping[str, Set[str] | None]) -> None:
        """Void the pages that depend on the changed scopes, and clear the fences."""
        fields: list[str] = []
        scope_keys: list[str] = []
        for table, changed in scopes.items():
            fields.append(table if changed is None else f"{table}|all")
            scope_keys += [key(f"scope:{table}:{scope}") for scope in changed or ()]
        call = self._clear_fences(new_token(), fields, scope_keys)
        with surviving_redis(self._request.record):
            if self._standing == self._fences and monotonic() < self._expires_at:
                await redis_scripts().post(call, voids=scopes)
            else:  # until the command has arrived, no fence keeps the pages from readers
                await redis_scripts().void(call, voids=scopes)

    async def rolled_back(self) -> None:
        """Clear the fences; the pages are still valid."""
        for setting in self._setting:
            await setting
        if self._fences:
            with surviving_redis(self._request.record):
                await redis_scripts().post(self._clear_fences())

    def _start(self, fences: set[Fence]) -> None:
        if fences:
            self._fences |= fences
            self._setting.append(asyncio.create_task(self._set(fences)))

    async def _wait_until_set(self) -> None:
        for setting in self._setting:
            # A deadline that expires here must not cancel it: `rolled_back` awaits it again.
            await asyncio.shield(setting)

    async def _set(self, fences: set[Fence]) -> None:
        self._expires_at = min(self._expires_at, monotonic() + FENCE_SECONDS)
        call = self._set_fences(fences)
        with surviving_redis(self._request.record):
            await redis_scripts().run(call, self._request.limit, ignores_breaker=True)
            self._standing |= fences

    def _set_fences(self, fences: Set[Fence], instead_of: Set[Fence] = frozenset()) -> Call:
        members = (*self._members(fences), *self._members(instead_of))
        arguments: tuple[Argument, ...] = (int(FENCE_SECONDS * 1000), len(fences), *members)
        return Call(SET_FENCES, [key("generations"), key("fences")], arguments)

    def _clear_fences(
        self, token: str = "", fields: Sequence[str] = (), scope_keys: Sequence[str] = ()
    ) -> Call:
        members = self._members(self._fences)
        arguments: tuple[Argument, ...] = (token, len(members), *members, *fields)
        return Call(CLEAR_FENCES, [key("generations"), key("fences"), *scope_keys], arguments)

    def _members(self, fences: Set[Fence]) -> list[str]:
        names = (table if scope is None else f"{table}@{scope}" for table, scope in fences)
        return sorted(f"{name}|{self._writer}" for name in names)
