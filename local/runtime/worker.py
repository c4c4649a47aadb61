"""A worker, which is Lambda's execution environment for one function, and its invocations.

There are two kinds. `emulated` has AWS's own programs: the Lambda emulator and the Python runtime
client. `pure_python` replaces both where they do not run. The tests of `tests/local` and
`tests/e2e` pass with either, and `tests/local/test_workers.py` compares them event by event.

The pool gives a worker one invocation at a time. The worker kills a function that exceeds its
timeout. After a crash or a timeout it is `broken`, and must be stopped.

The function's timeout includes the initialization, as in the emulator; in Lambda a cold start has
10 more seconds.
"""

import os
import re
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from local.runtime.function import Function
from local.runtime.logs import LogLine, parse_log_line
from local.runtime.reaper import Reaper

BOOTSTRAP = Path(__file__).parent / "bootstrap"
LOG_SECONDS = 0.5
REPORTED_INIT = re.compile(r"Init Duration: [0-9.]+ ms")


@dataclass
class Invocation:
    """The result of one event.

    `payload` is the function's JSON. `function_error` is the type of the error that the payload
    describes, None for a success. `init_milliseconds` is None if the worker was warm. `report` and
    `cache` are read from the log, which may arrive after the payload (`wait_for_logs`).
    """

    payload: bytes = b""
    function_error: str | None = None
    init_milliseconds: float | None = None
    report: str | None = None
    cache: str | None = None
    _logged: threading.Event = field(default_factory=threading.Event)

    def wait_for_logs(self, seconds: float) -> None:
        """Wait for the REPORT line, at most this long; after a crash there is none."""
        self._logged.wait(seconds)

    def read(self, line: LogLine) -> None:
        """Process a log line of this invocation."""
        if line.text.startswith("REPORT "):
            self.report = line.text.strip()
            self._logged.set()
        if line.fields and not line.is_metrics and isinstance(line.fields.get("cache"), str):
            self.cache = line.fields["cache"]


class Worker(ABC):
    """Runs one function; `start` it, `invoke` it serially, `stop` it.

    `on_log` is called with every line of the function and the platform, on a thread of the worker.
    `is_warm` is true after the first invocation.
    """

    def __init__(
        self, function: Function, reaper: Reaper, on_log: Callable[[Function, LogLine], None]
    ) -> None:
        self.function = function
        self.code_state = function.code_state()  # before the code is loaded
        self.is_warm = False
        self.stale = False
        self.broken = False
        self._reaper = reaper
        self._on_log = on_log
        self._init_milliseconds = 0.0
        self._pending = Invocation()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._log_reader: threading.Thread | None = None

    @abstractmethod
    def start(self) -> None:
        """Start the processes. Raises LocalError if they do not start."""

    @abstractmethod
    def _run(self, event: bytes, invocation: Invocation) -> None:
        """Fill in the payload and the error; set `broken` and, once, `_init_milliseconds`."""

    def invoke(self, event: bytes) -> Invocation:
        """Run the function with a JSON event; block until its response, a crash or the timeout."""
        invocation = self._pending = Invocation()
        self._run(event, invocation)
        if not self.is_warm:
            invocation.init_milliseconds = self._init_milliseconds
            self.is_warm = True
        return invocation

    def stop(self) -> None:
        """Kill every process of the worker. May be called again."""
        self.broken = True
        with self._lock:
            process, self._process = self._process, None
        if process is None:
            return
        self._reaper.end(process)
        if self._log_reader:
            self._log_reader.join(LOG_SECONDS)  # its remaining output precedes the next request's

    def _spawn(self, command: list[str], environment: dict[str, str], **options: Any) -> None:
        """Start the leader of the worker's session."""
        environment = self.function.worker_environment() | environment
        environment["PYTHONPATH"] += f"{os.pathsep}{BOOTSTRAP}"
        self._process = self._reaper.spawn(
            command,
            cwd=self.function.import_roots[0],
            env=environment,
            stdin=subprocess.DEVNULL,
            **options,
        )

    def _read_logs(self, stream: IO[bytes]) -> None:
        invocation = self._pending
        for raw in stream:
            line = parse_log_line(raw)
            if line.text.startswith("START "):
                invocation = self._pending
            if line.text.startswith("REPORT "):
                # The emulator reports the time to start the initialization, not its duration.
                length = f"Init Duration: {self._init_milliseconds:.2f} ms"
                line = LogLine(REPORTED_INIT.sub(length, line.text), None)
            invocation.read(line)
            self._on_log(self.function, line)
        stream.close()


def python_command(function: Function) -> list[str]:
    """Return the command that starts Python, with a debugger if the function has a port for it."""
    if function.debug_port is None:
        return [sys.executable]
    address = f"127.0.0.1:{function.debug_port}"
    frozen = ["-X", "frozen_modules=off"]
    return [sys.executable, *frozen, "-m", "debugpy", "--listen", address, "--wait-for-client"]


def start_thread(target: Callable[[Any], None], argument: Any) -> threading.Thread:
    thread = threading.Thread(target=target, args=(argument,), daemon=True)
    thread.start()
    return thread
