"""The workers of all functions: which one gets a request, when one is started or stopped.

As in Lambda, a worker serves one request at a time, idle workers are reused (the most recently used
first), and if all are busy another is started. The files are checked before each request, and a
worker whose code has changed is not used again, so a request runs the current code.

Unlike in Lambda, there are at most `MAX_WORKERS`, and no more cold starts at a time than this
machine has processors: a burst of them would exceed the functions' timeouts, while a warm worker is
free in milliseconds.
"""

import os
import threading
import time
from collections.abc import Callable, Collection
from typing import Self

from local.errors import LocalError
from local.runtime.emulated import EmulatedWorker, emulator_path
from local.runtime.function import Function
from local.runtime.logs import LogLine
from local.runtime.pure_python import PythonWorker
from local.runtime.reaper import Reaper
from local.runtime.worker import Invocation, Worker

MAX_WORKERS = 16
# API Gateway gives an integration 30 seconds.
WAIT_SECONDS = 30.0


class WorkersBusy(LocalError):
    """No worker became free in time."""


def usual_worker_type() -> type[Worker]:
    """Return the kind with AWS's programs, unless they do not run here or LOCAL_RUNTIME=python."""
    if os.environ.get("LOCAL_RUNTIME") == "python" or emulator_path() is None:
        return PythonWorker
    return EmulatedWorker


class WorkerPool:
    """Starts, reuses and retires workers; thread-safe.

    `on_log` is called with every line of every worker, on the workers' threads. `worker_type` is
    `usual_worker_type()` by default.
    """

    def __init__(
        self,
        on_log: Callable[[Function, LogLine], None],
        *,
        max_workers: int = MAX_WORKERS,
        wait_seconds: float = WAIT_SECONDS,
        worker_type: type[Worker] | None = None,
    ) -> None:
        self._on_log = on_log
        self._max_workers = max_workers
        self._max_starting = max(2, os.cpu_count() or 1)
        self._wait_seconds = wait_seconds
        self._changed = threading.Condition()
        self._idle: list[Worker] = []  # the most recently used last
        self._all: set[Worker] = set()
        self._closed = False
        self._reaper = Reaper()
        self._worker_type = worker_type or usual_worker_type()

    def invoke(self, function: Function, event: bytes) -> Invocation:
        """Run the function in an idle or new worker.

        Raises WorkersBusy after `wait_seconds`, LocalError if no worker can be started.
        """
        state = function.code_state()
        self._retire(lambda one: one.function.name == function.name and one.code_state != state)
        worker = self._acquire(function)
        try:
            return worker.invoke(event)
        finally:
            self._release(worker)

    def retire(self, function_names: Collection[str]) -> None:
        """Stop the idle workers of these functions now, busy ones after their request."""
        self._retire(lambda worker: worker.function.name in function_names)

    def _retire(self, concerns: Callable[[Worker], bool]) -> None:
        with self._changed:
            for worker in filter(concerns, self._all):
                worker.stale = True
            stopping = [worker for worker in self._idle if worker.stale]
            self._idle = [worker for worker in self._idle if not worker.stale]
        for worker in stopping:
            self._remove(worker)

    def close(self) -> None:
        """Kill every worker, busy ones too, and reject further invocations."""
        with self._changed:
            self._closed = True
            workers = list(self._all)
            self._changed.notify_all()
        for worker in workers:
            worker.stop()
        self._reaper.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _acquire(self, function: Function) -> Worker:
        surplus = None
        with self._changed:
            self._wait_for_place(function)
            if worker := self._idle_worker(function):
                self._idle.remove(worker)
                return worker
            if len(self._all) >= self._max_workers:
                surplus = min(self._idle, key=lambda worker: not worker.broken)
                self._idle.remove(surplus)
            worker = self._worker_type(function, self._reaper, self._on_log)
            self._all.add(worker)
        if surplus:
            self._remove(surplus)
        try:
            worker.start()
        except BaseException:
            self._remove(worker)
            raise
        return worker

    def _wait_for_place(self, function: Function) -> None:
        """Return once there is an idle worker of the function, or a new one may be started."""
        deadline = time.monotonic() + self._wait_seconds
        while not self._closed:
            if self._idle_worker(function) or self._can_start(function):
                return
            if not self._changed.wait(max(0.0, deadline - time.monotonic())):
                raise WorkersBusy(
                    f"{function.name}: all {self._max_workers} workers were busy for "
                    f"{self._wait_seconds:g} seconds"
                )
        raise LocalError("the local runtime is ending")

    def _idle_worker(self, function: Function) -> Worker | None:
        usable = (w for w in reversed(self._idle) if w.function.name == function.name)
        return next((worker for worker in usable if not worker.broken), None)

    def _can_start(self, function: Function) -> bool:
        if sum(not worker.is_warm for worker in self._all) >= self._max_starting:
            return False
        if function.debug_port and any(w.function == function and not w.broken for w in self._all):
            return False  # there is one port for a debugger
        return len(self._all) < self._max_workers or bool(self._idle)

    def _release(self, worker: Worker) -> None:
        with self._changed:
            reusable = not (worker.stale or worker.broken or self._closed)
            if reusable:
                self._idle.append(worker)
            self._changed.notify_all()
        if not reusable:
            self._remove(worker)

    def _remove(self, worker: Worker) -> None:
        worker.stop()
        with self._changed:
            self._all.discard(worker)
            self._changed.notify_all()
