"""A worker with AWS's own programs: the Lambda emulator, which runs the Python runtime client.

The emulator starts the runtime with its first invocation, kills it at the function's timeout, and
responds over HTTP on loopback ports.

A web page can post to any loopback port that it finds, and the emulator has no authentication. So
events carry a secret (`bootstrap/lambda_bootstrap.py`), and the ports are on one of 16 million
loopback addresses, at random: the emulator's other port, where the runtime fetches events, has no
secret.
"""

import contextlib
import http.client
import importlib.util
import json
import platform
import re
import secrets
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any

from local.errors import LocalError
from local.runtime.worker import Invocation, Worker, python_command, start_thread

INVOKE_PATH = "/2015-03-31/functions/function/invocations"
MACHINES = {"x86_64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}
START_SECONDS = 10.0
# The emulator enforces the function's timeout; this is in case the emulator itself hangs.
GRACE_SECONDS = 15.0
INIT_REPORT = re.compile(rb"INIT REPORT\(durationMs: ([0-9.]+)\)")
ERROR_KEYS = {"errorMessage", "errorType", "requestId", "stackTrace"}


class EmulatedWorker(Worker):
    """Runs one function in AWS's emulator, if there is an `emulator_path`."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._initialized = threading.Event()
        self._secret = secrets.token_hex(16)
        self._address = ("", 0)

    def start(self) -> None:
        host = "127." + ".".join(str(1 + secrets.randbelow(254)) for _ in range(3))
        invoke_port, runtime_port = _free_ports(host)
        self._address = (host, invoke_port)
        self._spawn(
            [
                str(emulator_path()),
                *("--runtime-interface-emulator-address", f"{host}:{invoke_port}"),
                *("--runtime-api-address", f"{host}:{runtime_port}"),
                *python_command(self.function),
                *("-m", "lambda_bootstrap", self.function.handler),
            ],
            {"LOCAL_EVENT_SECRET": self._secret},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        process = self._process
        assert process
        self._log_reader = start_thread(self._read_logs, process.stdout)
        start_thread(self._read_emulator, process.stderr)
        deadline = time.monotonic() + START_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(ConnectionRefusedError):
                socket.create_connection(self._address).close()
                return
            time.sleep(0.003)
        raise LocalError(f"{self.function.name}: the Lambda emulator does not start")

    def _run(self, event: bytes, invocation: Invocation) -> None:
        status, invocation.payload = self._post(event)
        if not self.is_warm:
            self._initialized.wait(1.0)
        invocation.function_error = _function_error(status, invocation.payload)
        if status != 200 or invocation.function_error == "Sandbox.Timedout":
            self.broken = True

    def _post(self, event: bytes) -> tuple[int, bytes]:
        limit_seconds = self.function.timeout_seconds + GRACE_SECONDS
        body = b'{"secret":"%b","event":%b}' % (self._secret.encode(), event)
        connection = http.client.HTTPConnection(*self._address, timeout=limit_seconds)
        with contextlib.closing(connection):
            try:
                connection.request("POST", INVOKE_PATH, body, {"Content-Type": "application/json"})
                response = connection.getresponse()
                return response.status, response.read()
            except (OSError, http.client.HTTPException) as error:
                message = f"the worker ended: {error!r}"
        failure = {"errorType": "Sandbox.Failure", "errorMessage": message}
        return 502, json.dumps(failure).encode()

    def _read_emulator(self, stream: IO[bytes]) -> None:
        for raw in stream:
            if b"Process runtime-" in raw and b" exited" in raw:
                self.broken = True
            if (report := INIT_REPORT.search(raw)) and not self._initialized.is_set():
                self._init_milliseconds = float(report[1])
                self._initialized.set()
        self.broken = True
        self._initialized.set()
        stream.close()


def emulator_path() -> Path | None:
    """Return the emulator, which is part of aws-sam-cli; None if it does not run here.

    The emulator and the runtime client are for Linux. Without /proc the emulator's processes, each
    in a group of its own, could not be found and ended.
    """
    machine = MACHINES.get(platform.machine())
    if sys.platform != "linux" or machine is None or not Path("/proc/self").exists():
        return None
    client, package = map(importlib.util.find_spec, ("awslambdaric", "samcli"))
    if client is None or package is None or package.origin is None:
        return None
    return Path(package.origin).parent / "local" / "rapid" / f"aws-lambda-rie-{machine}"


def _free_ports(host: str) -> tuple[int, int]:
    """Return two ports; on a random address no other program is likely to bind them."""
    with socket.create_server((host, 0)) as first, socket.create_server((host, 0)) as second:
        return first.getsockname()[1], second.getsockname()[1]


def _function_error(status: int, payload: bytes) -> str | None:
    """Return the type of the error in the emulator's response, None for a success.

    The status is 200 also for an exception, which has the four keys of the runtime client, and for
    a timeout, which is plain text instead of JSON.
    """
    if status == 200 and payload.startswith(b"Task timed out after "):
        return "Sandbox.Timedout"
    if status == 200 and not payload.startswith(b'{"errorMessage"'):
        return None
    try:
        error: Any = json.loads(payload)
    except ValueError:
        return "Sandbox.Failure"
    if status != 200:
        return str(error.get("errorType", "Sandbox.Failure"))
    return str(error["errorType"]) if set(error) == ERROR_KEYS else None
