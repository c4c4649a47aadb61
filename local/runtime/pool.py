"""The workers of all functions: which one takes a request, when one is started or stopped.

As in Lambda, a worker serves one request at a time, an idle one is used again (the most recently
used first), and a busy one means another is started. Unlike Lambda, at most `MAX_WORKERS` exist,
and no more initialise at a time than this machine has processors: a burst of cold starts that share
two processors would run into the functions' timeouts, while a warm worker is free in milliseconds.
"""

import os
import threading
import time
from collections.abc import Callable, Collection
from types import TracebackType
from typing import Self

from local.errors import LocalError
from local.runtime.logs import LogLine
from local.runtime.reaper import Reaper
from local.runtime.worker import Function, Invocation, Worker

MAX_WORKERS = 16
# API Gateway gives an integration 30 seconds.
WAIT_SECONDS = 30.0


class WorkersBusy(LocalError):
    """No worker became free in time."""


class WorkerPool:
    """Starts, reuses and retires workers. Safe to use from many threads.

    `on_log` gets every line of every worker, on threads of the workers.
    """

    def __init__(
        self,
        on_log: Callable[[Function, LogLine], None],
        *,
        max_workers: int = MAX_WORKERS,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        self._on_log = on_log
        self._max_workers = max_workers
        self._max_starting = max(2, os.cpu_count() or 1)
        self._wait_seconds = wait_seconds
        self._changed = threading.Condition()
        self._idle: list[Worker] = []  # the most recently used last
        self._all: set[Worker] = set()
        self._starting: set[Worker] = set()
        self._closed = False
        self._reaper = Reaper()

    def invoke(self, function: Function, event: bytes) -> Invocation:
        """Runs the function in a free or new worker.

        Raises WorkersBusy after `wait_seconds`, LocalError when no worker can be started.
        """
        worker = self._take(function)
        try:
            return worker.invoke(event)
        finally:
            self._give_back(worker)

    def retire(self, function_names: Collection[str]) -> int:
        """Stops the idle workers of these functions now, busy ones after their request.

        Returns how many workers that concerns.
        """
        with self._changed:
            concerned = [s for s in self._all if s.function.name in function_names and not s.stale]
            for worker in concerned:
                worker.stale = True
            stopping = [worker for worker in self._idle if worker.stale]
            self._idle = [worker for worker in self._idle if not worker.stale]
        for worker in stopping:
            self._remove(worker)
        return len(concerned)

    def close(self) -> None:
        """Kills every worker, busy ones too, and refuses further invocations."""
        with self._changed:
            self._closed = True
            workers = list(self._all)
            self._changed.notify_all()
        for worker in workers:
            worker.stop()
        self._reaper.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _take(self, function: Function) -> Worker:
        deadline = time.monotonic() + self._wait_seconds
        while True:
            with self._changed:
                if worker := self._take_idle(function):
                    return worker
                victim, fresh = self._reserve(function)
                if victim is None and fresh is None:
                    self._wait(function, deadline)
            if victim is not None:
                self._remove(victim)
            if fresh is not None:
                return self._start(fresh)

    def _wait(self, function: Function, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise WorkersBusy(
                f"{function.name}: all {self._max_workers} workers were busy for "
                f"{self._wait_seconds:g} seconds"
            )
        self._changed.wait(left)

    def _take_idle(self, function: Function) -> Worker | None:
        if self._closed:
            raise LocalError("the local runtime is ending")
        for index in range(len(self._idle) - 1, -1, -1):
            worker = self._idle[index]
            if worker.function.name == function.name and not worker.broken:
                return self._idle.pop(index)
        return None

    def _reserve(self, function: Function) -> tuple[Worker | None, Worker | None]:
        """An idle worker to stop first, or a new one to start, or neither: then wait."""
        broken = next((worker for worker in self._idle if worker.broken), None)
        if broken is not None:
            self._idle.remove(broken)
            return broken, None
        if len(self._starting) >= self._max_starting or self._is_debugged(function):
            return None, None
        if len(self._all) < self._max_workers:
            fresh = Worker(function, self._reaper, self._on_log, self._initialised)
            self._all.add(fresh)
            self._starting.add(fresh)
            return None, fresh
        return (self._idle.pop(0), None) if self._idle else (None, None)

    def _is_debugged(self, function: Function) -> bool:
        """Whether its only worker is there already: a debugger's port serves one."""
        names = {worker.function.name for worker in self._all}
        return function.debug_port is not None and function.name in names

    def _start(self, worker: Worker) -> Worker:
        try:
            worker.start()
        except BaseException:
            self._remove(worker)
            raise
        return worker

    def _give_back(self, worker: Worker) -> None:
        with self._changed:
            self._starting.discard(worker)
            reusable = not (worker.stale or worker.broken or self._closed)
            if reusable:
                self._idle.append(worker)
            self._changed.notify_all()
        if not reusable:
            self._remove(worker)

    def _initialised(self, worker: Worker) -> None:
        with self._changed:
            self._starting.discard(worker)
            self._changed.notify_all()

    def _remove(self, worker: Worker) -> None:
        worker.stop()
        with self._changed:
            self._all.discard(worker)
            self._starting.discard(worker)
            self._changed.notify_all()
