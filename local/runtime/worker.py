"""A worker, Lambda's execution environment for one function: AWS's Lambda emulator running AWS's
Python runtime client.

The emulator starts the runtime with its first invocation, kills it at the function's timeout, and
responds over HTTP on loopback ports. A worker serves one invocation at a time; the pool sees to
that. After a crash or a timeout it is `broken` and must be stopped.

A page in a browser can post to any loopback port that it finds, and the emulator asks for nothing.
So events carry a secret (`bootstrap/`), and the ports are on a random one of the 16 million
loopback addresses: the emulator's other port, where the runtime fetches events, takes no secret.

The function's time limit includes the initialisation here, as in the emulator; Lambda itself gives
a cold start 10 seconds more.
"""

import contextlib
import http.client
import importlib.util
import json
import os
import platform
import re
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from local.errors import LocalError
from local.runtime.function import Function
from local.runtime.logs import LogLine, parse_log_line
from local.runtime.reaper import Reaper

BOOTSTRAP = Path(__file__).parent / "bootstrap"
INVOKE_PATH = "/2015-03-31/functions/function/invocations"
START_SECONDS = 10.0
# The emulator enforces the function's timeout; this is for an emulator that hangs itself.
GRACE_SECONDS = 15.0
LOG_SECONDS = 0.5
INIT_REPORT = re.compile(rb"INIT REPORT\(durationMs: ([0-9.]+)\)")
REPORTED_INIT = re.compile(r"Init Duration: [0-9.]+ ms")
ERROR_KEYS = {"errorMessage", "errorType", "requestId", "stackTrace"}
DOCKER_WAY = "docker compose -f local/compose.yaml up -d --wait && sam build && sam local start-api"


@dataclass
class Invocation:
    """The result of one event.

    `payload` is the function's JSON. `function_error` is the error's type, None for a success;
    the payload then describes the error. `init_milliseconds` is None when the worker was warm.
    `report` and `cache` come from the log, which may arrive after the payload: `wait_for_logs`.
    """

    payload: bytes = b""
    function_error: str | None = None
    init_milliseconds: float | None = None
    report: str | None = None
    cache: str | None = None
    _logged: threading.Event = field(default_factory=threading.Event)

    def wait_for_logs(self, seconds: float) -> None:
        """Wait until the REPORT line was read, at most this long; after a crash there is none."""
        self._logged.wait(seconds)

    def read(self, line: LogLine) -> None:
        """Take in a log line of this invocation."""
        if line.text.startswith("REPORT "):
            self.report = line.text.strip()
            self._logged.set()
        if line.fields and not line.is_metrics and isinstance(line.fields.get("cache"), str):
            self.cache = line.fields["cache"]


class Worker:
    """Runs one function; `start` it, `invoke` it serially, `stop` it.

    `on_log` gets every line of the function and of the emulator, on a thread of the worker. It
    `is_warm` after its first invocation.
    """

    def __init__(
        self, function: Function, reaper: Reaper, on_log: Callable[[Function, LogLine], None]
    ) -> None:
        self.function = function
        self.is_warm = False
        self.stale = False
        self.broken = False
        self._reaper = reaper
        self._on_log = on_log
        self._init_milliseconds = 0.0
        self._initialised = threading.Event()
        self._pending = Invocation()
        self._secret = secrets.token_hex(16)
        self._address = ("", 0)
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._log_reader: threading.Thread | None = None

    def start(self) -> None:
        """Start the emulator. Raises LocalError when it does not come up."""
        host = "127." + ".".join(str(1 + secrets.randbelow(254)) for _ in range(3))
        invoke_port, runtime_port = _free_ports(host)
        self._address = (host, invoke_port)
        environment = self.function.worker_environment() | {"LOCAL_EVENT_SECRET": self._secret}
        environment["PYTHONPATH"] += f"{os.pathsep}{BOOTSTRAP}"
        process = self._reaper.spawn(
            [
                str(emulator_path()),
                *("--runtime-interface-emulator-address", f"{host}:{invoke_port}"),
                *("--runtime-api-address", f"{host}:{runtime_port}"),
                *(sys.executable, *_debugger(self.function)),
                *("-m", "lambda_bootstrap", self.function.handler),
            ],
            cwd=self.function.import_roots[0],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._process = process
        self._log_reader = _start_thread(self._read_logs, process.stdout)
        _start_thread(self._read_emulator, process.stderr)
        deadline = time.monotonic() + START_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(ConnectionRefusedError):
                socket.create_connection(self._address).close()
                return
            time.sleep(0.003)
        raise LocalError(f"{self.function.name}: the Lambda emulator does not start")

    def invoke(self, event: bytes) -> Invocation:
        """Run the function with a JSON event; block until its response, a crash or the timeout."""
        invocation = self._pending = Invocation()
        status, invocation.payload = self._post(event)
        if not self.is_warm:
            self._initialised.wait(1.0)
            invocation.init_milliseconds = self._init_milliseconds
            self.is_warm = True
        invocation.function_error = _function_error(status, invocation.payload)
        if status != 200 or invocation.function_error == "Sandbox.Timedout":
            self.broken = True
        return invocation

    def stop(self) -> None:
        """Kill the emulator, the runtime and whatever they started. May be called again."""
        self.broken = True
        with self._lock:
            process, self._process = self._process, None
        if process is None:
            return
        self._reaper.end(process)
        if self._log_reader:
            self._log_reader.join(LOG_SECONDS)  # its remaining output precedes the next request's

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

    def _read_logs(self, stream: IO[bytes]) -> None:
        invocation = self._pending
        for raw in stream:
            line = parse_log_line(raw)
            if line.text.startswith("START "):
                invocation = self._pending
            if line.text.startswith("REPORT "):
                # The emulator reports how long starting the initialisation took, not its length.
                length = f"Init Duration: {self._init_milliseconds:.2f} ms"
                line = LogLine(REPORTED_INIT.sub(length, line.text), None)
            invocation.read(line)
            self._on_log(self.function, line)
        stream.close()

    def _read_emulator(self, stream: IO[bytes]) -> None:
        for raw in stream:
            if b"Process runtime-" in raw and b" exited" in raw:
                self.broken = True
            if (report := INIT_REPORT.search(raw)) and not self._initialised.is_set():
                self._init_milliseconds = float(report[1])
                self._initialised.set()
        self.broken = True
        self._initialised.set()
        stream.close()


def emulator_path() -> Path:
    """Return the emulator binary for this machine.

    Raises LocalError, which names the Docker way, where there is none.
    """
    machine = {"x86_64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}.get(platform.machine())
    if sys.platform != "linux" or machine is None:
        raise LocalError(
            f"the Lambda emulator runs on Linux (x86-64, arm64) only, this is "
            f"{platform.system()} {platform.machine()}; use Docker: {DOCKER_WAY}"
        )
    package = importlib.util.find_spec("samcli")
    if package is None or package.origin is None:
        raise LocalError("aws-sam-cli is not installed: run `make install`")
    return Path(package.origin).parent / "local" / "rapid" / f"aws-lambda-rie-{machine}"


def _debugger(function: Function) -> list[str]:
    if function.debug_port is None:
        return []
    address = f"127.0.0.1:{function.debug_port}"
    return ["-X", "frozen_modules=off", "-m", "debugpy", "--listen", address, "--wait-for-client"]


def _start_thread(read: Callable[[Any], None], stream: Any) -> threading.Thread:
    thread = threading.Thread(target=read, args=(stream,), daemon=True)
    thread.start()
    return thread


def _free_ports(host: str) -> tuple[int, int]:
    """Return two ports; no other program is likely to take them from a random address."""
    with socket.create_server((host, 0)) as first, socket.create_server((host, 0)) as second:
        return first.getsockname()[1], second.getsockname()[1]


def _function_error(status: int, payload: bytes) -> str | None:
    """Return the type of the error that the emulator's response describes, None for a success.

    The emulator's status is 200 for an exception of the handler and for a timeout. An exception has
    the four keys that the runtime client writes; a timeout is plain text instead of JSON.
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
