"""A worker without AWS's programs, for machines on which they do not run, such as macOS.

The runtime (`bootstrap/lambda_loop.py`) gets events from a socket that it inherits: no port is
open, and no other program can send events. START, END and REPORT are written here into the
function's output, so that they are in order with it.
"""

import contextlib
import json
import math
import os
import signal
import socket
import subprocess
import time
import uuid
from typing import IO, Any

from local.runtime.worker import Invocation, Worker, python_command, start_thread

MAX_RESPONSE_BYTES = 6 * 1024 * 1024 + 100  # the emulator's
EXIT_SECONDS = 1.0
SURVIVED = frozenset({"response", "error"})
ENVIRONMENT = {
    "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
    "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/Functions",
    "AWS_LAMBDA_LOG_STREAM_NAME": "$LATEST",
    "PYTHONUNBUFFERED": "1",
}


class PythonWorker(Worker):
    """Runs one function in a Python process."""

    _socket: socket.socket
    _replies: IO[bytes]
    _log: IO[bytes]
    _started: float

    def start(self) -> None:
        self._socket, theirs = socket.socketpair()
        self._replies = self._socket.makefile("rb")
        logs, log = os.pipe()
        self._log = os.fdopen(log, "wb", buffering=0)
        self._log_reader = start_thread(self._read_logs, os.fdopen(logs, "rb"))
        self._started = time.monotonic()
        handler, descriptor = self.function.handler, theirs.fileno()
        with theirs:
            self._spawn(
                [*python_command(self.function), "-m", "lambda_loop", handler, str(descriptor)],
                ENVIRONMENT | {"_HANDLER": handler},
                stdout=self._log,
                stderr=self._log,
                pass_fds=[descriptor],
            )
        start_thread(self._watch, self._process)

    def _watch(self, process: "subprocess.Popen[bytes]") -> None:
        process.wait()
        self.broken = True

    def stop(self) -> None:
        self._log.close()
        super().stop()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # a child of the function may hold its end
        self._replies.close()
        self._socket.close()

    def _run(self, event: bytes, invocation: Invocation) -> None:
        request_id = str(uuid.uuid4())
        limit_seconds = self.function.timeout_seconds
        started = time.monotonic()
        self._write_log(f"START RequestId: {request_id} Version: $LATEST")
        try:
            kind, payload = self._exchange(request_id, event, started + limit_seconds)
        except TimeoutError:
            kind, payload = "timeout", b"Task timed out after %.2f seconds" % limit_seconds
        except (OSError, ValueError):
            message = f"RequestId: {request_id} Error: {self._exit_reason()}"
            kind, payload = "exit", _error("Runtime.ExitError", message)
        if not self._init_milliseconds:
            self._set_initialized()
        invocation.payload = payload
        if kind == "timeout":
            invocation.function_error = "Sandbox.Timedout"
        elif kind != "response":
            invocation.function_error = str(json.loads(payload)["errorType"])
        if kind not in SURVIVED:
            self.broken = True
        if kind in SURVIVED or kind == "timeout":
            self._write_report(request_id, time.monotonic() - started)

    def _exchange(self, request_id: str, event: bytes, deadline: float) -> tuple[str, bytes]:
        """Return the kind of the reply, and its payload.

        Raises TimeoutError, and another OSError or ValueError if the process has ended.
        """
        remaining_seconds = deadline - time.monotonic()
        self._socket.settimeout(remaining_seconds)
        deadline_milliseconds = int((time.time() + remaining_seconds) * 1000)
        head = f"{request_id} {deadline_milliseconds} {len(event)}\n"
        self._socket.sendall(head.encode() + event)
        kind, payload = self._receive(deadline)
        if kind == "init":
            self._set_initialized()
            kind, payload = self._receive(deadline)
        if len(payload) <= MAX_RESPONSE_BYTES:
            return kind, payload
        message = (
            "Response payload size exceeded maximum allowed payload size "
            f"({MAX_RESPONSE_BYTES} bytes)."
        )
        return "too_large", _error("Function.ResponseSizeTooLarge", message)

    def _receive(self, deadline: float) -> tuple[str, bytes]:
        self._socket.settimeout(max(0.001, deadline - time.monotonic()))
        kind, size = (
            self._replies.readline().decode().split()
        )  # ValueError at the end of the stream
        payload = self._replies.read(int(size))
        if len(payload) < int(size):
            raise ConnectionResetError
        return kind, payload

    def _set_initialized(self) -> None:
        self._init_milliseconds = 1000 * (time.monotonic() - self._started)

    def _exit_reason(self) -> str:
        status = 0
        with contextlib.suppress(subprocess.TimeoutExpired):
            if process := self._process:
                status = process.wait(EXIT_SECONDS)
        if status == 0:
            return "Runtime exited without providing a reason"
        if status > 0:
            return f"Runtime exited with error: exit status {status}"
        name = signal.strsignal(-status) or str(-status)
        return f"Runtime exited with error: signal: {name.lower()}"

    def _write_report(self, request_id: str, seconds: float) -> None:
        milliseconds = 1000 * seconds
        memory = self.function.environment.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
        init = "" if self.is_warm else f"Init Duration: {self._init_milliseconds:.2f} ms\t"
        self._write_log(
            f"END RequestId: {request_id}\n"
            f"REPORT RequestId: {request_id}\t{init}Duration: {milliseconds:.2f} ms\t"
            f"Billed Duration: {math.ceil(milliseconds)} ms\tMemory Size: {memory} MB\t"
            f"Max Memory Used: {memory} MB\t"
        )

    def _write_log(self, line: str) -> None:
        with contextlib.suppress(ValueError):  # stopped
            self._log.write(f"{line}\n".encode())


def _error(kind: str, message: str) -> bytes:
    error: dict[str, Any] = {"errorType": kind, "errorMessage": message}
    return json.dumps(error, separators=(",", ":")).encode()
