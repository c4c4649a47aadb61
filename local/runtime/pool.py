"""The sandboxes of all functions: which one takes a request, when one is started or stopped.

As in Lambda, a sandbox serves one request at a time, an idle one is used again (the most recently
used first), and a busy one means another is started. Unlike Lambda, at most `MAX_SANDBOXES` exist,
and no more initialise at a time than this machine has processors: a burst of cold starts that share
two processors would run into the functions' timeouts, while a warm sandbox is free in milliseconds.
"""

import os
import threading
import time
from collections.abc import Callable, Collection
from types import TracebackType
from typing import Self

from local.errors import LocalError
from local.runtime.logs import LogLine
from local.runtime.reaper import Guard
from local.runtime.worker import Function, Invocation, Sandbox

MAX_SANDBOXES = 16
# API Gateway gives an integration 30 seconds.
WAIT_SECONDS = 30.0


class SandboxesBusy(LocalError):
    """No sandbox became free in time."""


class SandboxPool:
    """Starts, reuses and retires sandboxes. Safe to use from many threads.

    `on_log` gets every line of every sandbox, on threads of the sandboxes.
    """

    def __init__(
        self,
        on_log: Callable[[Function, LogLine], None],
        *,
        max_sandboxes: int = MAX_SANDBOXES,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        self._on_log = on_log
        self._max_sandboxes = max_sandboxes
        self._max_starting = max(2, os.cpu_count() or 1)
        self._wait_seconds = wait_seconds
        self._changed = threading.Condition()
        self._idle: list[Sandbox] = []  # the most recently used last
        self._all: set[Sandbox] = set()
        self._starting: set[Sandbox] = set()
        self._closed = False
        self._guard = Guard()

    def invoke(self, function: Function, event: bytes) -> Invocation:
        """Runs the function in a free or new sandbox.

        Raises SandboxesBusy after `wait_seconds`, LocalError when no sandbox can be started.
        """
        sandbox = self._take(function)
        try:
            return sandbox.invoke(event)
        finally:
            self._give_back(sandbox)

    def retire(self, function_names: Collection[str]) -> int:
        """Stops the idle sandboxes of these functions now, busy ones after their request.

        Returns how many sandboxes that concerns.
        """
        with self._changed:
            concerned = [s for s in self._all if s.function.name in function_names and not s.stale]
            for sandbox in concerned:
                sandbox.stale = True
            stopping = [sandbox for sandbox in self._idle if sandbox.stale]
            self._idle = [sandbox for sandbox in self._idle if not sandbox.stale]
        for sandbox in stopping:
            self._remove(sandbox)
        return len(concerned)

    def close(self) -> None:
        """Kills every sandbox, busy ones too, and refuses further invocations."""
        with self._changed:
            self._closed = True
            sandboxes = list(self._all)
            self._changed.notify_all()
        for sandbox in sandboxes:
            sandbox.stop()
        self._guard.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _take(self, function: Function) -> Sandbox:
        give_up = time.monotonic() + self._wait_seconds
        while True:
            with self._changed:
                if sandbox := self._take_idle(function):
                    return sandbox
                victim, fresh = self._reserve(function)
                if victim is None and fresh is None:
                    self._wait(function, give_up)
            if victim is not None:
                self._remove(victim)
            if fresh is not None:
                return self._start(fresh)

    def _wait(self, function: Function, give_up: float) -> None:
        left = give_up - time.monotonic()
        if left <= 0:
            raise SandboxesBusy(
                f"{function.name}: all {self._max_sandboxes} sandboxes were busy for "
                f"{self._wait_seconds:g} seconds"
            )
        self._changed.wait(left)

    def _take_idle(self, function: Function) -> Sandbox | None:
        if self._closed:
            raise LocalError("the local runtime is ending")
        for index in range(len(self._idle) - 1, -1, -1):
            sandbox = self._idle[index]
            if sandbox.function.name == function.name and not sandbox.broken:
                return self._idle.pop(index)
        return None

    def _reserve(self, function: Function) -> tuple[Sandbox | None, Sandbox | None]:
        """An idle sandbox to stop first, or a new one to start, or neither: then wait."""
        broken = next((sandbox for sandbox in self._idle if sandbox.broken), None)
        if broken is not None:
            self._idle.remove(broken)
            return broken, None
        if len(self._starting) >= self._max_starting or self._is_debugged(function):
            return None, None
        if len(self._all) < self._max_sandboxes:
            fresh = Sandbox(function, self._guard, self._on_log, self._initialised)
            self._all.add(fresh)
            self._starting.add(fresh)
            return None, fresh
        return (self._idle.pop(0), None) if self._idle else (None, None)

    def _is_debugged(self, function: Function) -> bool:
        """Whether its only sandbox is there already: a debugger's port serves one."""
        names = {sandbox.function.name for sandbox in self._all}
        return function.debug_port is not None and function.name in names

    def _start(self, sandbox: Sandbox) -> Sandbox:
        try:
            sandbox.start()
        except BaseException:
            self._remove(sandbox)
            raise
        return sandbox

    def _give_back(self, sandbox: Sandbox) -> None:
        with self._changed:
            self._starting.discard(sandbox)
            reusable = not (sandbox.stale or sandbox.broken or self._closed)
            if reusable:
                self._idle.append(sandbox)
            self._changed.notify_all()
        if not reusable:
            self._remove(sandbox)

    def _initialised(self, sandbox: Sandbox) -> None:
        with self._changed:
            self._starting.discard(sandbox)
            self._changed.notify_all()

    def _remove(self, sandbox: Sandbox) -> None:
        sandbox.stop()
        with self._changed:
            self._all.discard(sandbox)
            self._starting.discard(sandbox)
            self._changed.notify_all()
