"""One worker: AWS's Lambda emulator running AWS's Python runtime client, for one function.

The emulator starts the runtime with its first invocation, kills it at the function's timeout, and
answers over HTTP on loopback ports. A worker serves one invocation at a time; the pool sees to
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
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from local.errors import LocalError
from local.runtime.logs import LogLine, parse_log_line
from local.runtime.reaper import Reaper, end_session

BOOTSTRAP = Path(__file__).parent / "bootstrap"
INVOKE_PATH = "/2015-03-31/functions/function/invocations"
START_SECONDS = 10.0
START_ATTEMPTS = 3
DEBUG_SECONDS = 900  # the longest that Lambda runs a function
# The emulator enforces the function's timeout; this is for an emulator that hangs itself.
GRACE_SECONDS = 15.0
LOG_SECONDS = 0.5
INIT_REPORT = re.compile(rb"INIT REPORT\(durationMs: ([0-9.]+)\)")
REPORTED_INIT = re.compile(r"Init Duration: [0-9.]+ ms")
ERROR_KEYS = {"errorMessage", "errorType", "requestId", "stackTrace"}
DOCKER_WAY = "docker compose -f local/compose.yaml up -d --wait && sam build && sam local start-api"


@dataclass(frozen=True)
class Function:
    """A function of the template, ready to run on this machine.

    `environment` is what SAM resolved, AWS_* included; `import_roots` go on PYTHONPATH in order;
    `code` are the directories that a change of which makes a worker stale. With a `debug_port` it
    waits there for a debugger before it starts; None runs it without.
    """

    name: str
    handler: str
    runtime: str
    timeout_seconds: int
    environment: dict[str, str]
    import_roots: tuple[Path, ...]
    code: tuple[Path, ...]
    debug_port: int | None = None


@dataclass
class Invocation:
    """What came of one event.

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
        """Waits until the REPORT line was read, at most this long; a crash has none."""
        self._logged.wait(seconds)

    def read(self, line: LogLine) -> None:
        """Takes in a log line of this invocation."""
        if line.text.startswith("REPORT "):
            self.report = line.text.strip()
            self._logged.set()
        if line.fields and not line.is_metrics and isinstance(line.fields.get("cache"), str):
            self.cache = line.fields["cache"]


class Worker:
    """Runs one function; `start` it, `invoke` it serially, `stop` it.

    `on_log` gets every line of the function and of the emulator, on a thread of the worker.
    `on_initialised` is called there once, when the handler's module was imported, or failed to.
    """

    def __init__(
        self,
        function: Function,
        reaper: Reaper,
        on_log: Callable[[Function, LogLine], None],
        on_initialised: Callable[["Worker"], None],
    ) -> None:
        self.function = function
        self.stale = False
        self.broken = False
        self._reaper = reaper
        self._on_log = on_log
        self._on_initialised = on_initialised
        self._init_milliseconds: float | None = None
        self._initialised = threading.Event()
        self._invoked = False
        self._pending = Invocation()
        self._secret = secrets.token_hex(16)
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: http.client.HTTPConnection | None = None
        self._log_reader: threading.Thread | None = None
        self._serving = threading.Lock()
        self._stopping = threading.Lock()
        self._stopped = False

    def start(self) -> None:
        """Starts the emulator and connects to it.

        Raises LocalError when it does not come up, or when the worker was stopped meanwhile.
        """
        for _ in range(START_ATTEMPTS):
            host = _loopback_address()
            invoke_port, runtime_port = _free_ports(host)
            self._spawn(host, invoke_port, runtime_port)
            if self._connect(host, invoke_port):
                return
        raise LocalError(
            f"{self.function.name}: the Lambda emulator does not start on this machine"
        )

    def invoke(self, event: bytes) -> Invocation:
        """Runs the function with a JSON event; blocks until the answer, a crash or the timeout."""
        invocation = self._pending = Invocation()
        cold, self._invoked = not self._invoked, True
        with self._serving:
            status, invocation.payload = self._post(self._enveloped(event))
        if cold:
            self._initialised.wait(1.0)
            invocation.init_milliseconds = self._init_milliseconds or 0.0
        invocation.function_error = _function_error(status, invocation.payload)
        if status != 200 or invocation.function_error == "Sandbox.Timedout":
            self.broken = True
        return invocation

    def stop(self) -> None:
        """Kills the emulator, the runtime and whatever they started. May be called again."""
        with self._stopping:
            self._stopped = True
            if self._process is None:
                return
            process, self._process = self._process, None
        self.broken = True
        self._end(process)

    def _spawn(self, host: str, invoke_port: int, runtime_port: int) -> None:
        command = [
            str(emulator_path()),
            "--runtime-interface-emulator-address",
            f"{host}:{invoke_port}",
            "--runtime-api-address",
            f"{host}:{runtime_port}",
            sys.executable,
            *_debugger(self.function),
            "-m",
            "lambda_bootstrap",
            self.function.handler,
        ]
        environment = worker_environment(self.function) | {"LOCAL_EVENT_SECRET": self._secret}
        environment["PYTHONPATH"] += f"{os.pathsep}{BOOTSTRAP}"
        with self._stopping:
            if self._stopped:
                raise LocalError(f"{self.function.name}: the worker was stopped")
            self._process = process = subprocess.Popen(
                command,
                cwd=self.function.import_roots[0],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        self._reaper.watch(process.pid)
        assert process.stdout is not None
        assert process.stderr is not None
        self._log_reader = _start_thread(self._read_logs, process.stdout)
        _start_thread(self._read_emulator, process.stderr)

    def _connect(self, host: str, port: int) -> bool:
        """False when the emulator ended, most likely because another process took a port."""
        limit = self.function.timeout_seconds + GRACE_SECONDS
        connection = http.client.HTTPConnection(host, port, timeout=limit)
        deadline = time.monotonic() + START_SECONDS
        while (process := self._process) and process.poll() is None:
            with contextlib.suppress(ConnectionRefusedError):
                connection.connect()
                self._connection = connection
                return True
            if time.monotonic() > deadline:
                break
            time.sleep(0.003)
        self._end_attempt()
        return False

    def _end_attempt(self) -> None:
        with self._stopping:
            process, self._process = self._process, None
        if process is not None:
            self._end(process)

    def _end(self, process: "subprocess.Popen[bytes]") -> None:
        end_session(process.pid)
        process.wait()
        self._reaper.forget(process.pid)
        with self._serving:  # whoever waits for an answer has got an error now
            if self._connection:
                self._connection.close()
        if self._log_reader:
            self._log_reader.join(LOG_SECONDS)  # its last words come before the next request's

    def _enveloped(self, event: bytes) -> bytes:
        return b'{"secret":"%b","event":%b}' % (self._secret.encode(), event)

    def _post(self, event: bytes) -> tuple[int, bytes]:
        connection = self._connection
        assert connection is not None
        try:
            connection.request("POST", INVOKE_PATH, event, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            return 502, _error_payload("Sandbox.Failure", f"the worker ended: {error!r}")

    def _read_logs(self, stream: IO[bytes]) -> None:
        invocation = self._pending
        for raw in stream:
            line = parse_log_line(raw)
            if line.text.startswith("START "):
                invocation = self._pending
            if line.text.startswith("REPORT "):
                line = LogLine(self._with_init(line.text), None)
            invocation.read(line)
            self._on_log(self.function, line)
        stream.close()

    def _with_init(self, report: str) -> str:
        """The emulator reports how long starting the initialisation took; give its length."""
        return REPORTED_INIT.sub(f"Init Duration: {self._init_milliseconds or 0:.2f} ms", report)

    def _read_emulator(self, stream: IO[bytes]) -> None:
        for raw in stream:
            if b"Process runtime-" in raw and b" exited" in raw:
                self.broken = True
            if not self._initialised.is_set() and (report := INIT_REPORT.search(raw)):
                self._finish_initialisation(float(report[1]))
        self.broken = True
        self._finish_initialisation(None)
        stream.close()

    def _finish_initialisation(self, milliseconds: float | None) -> None:
        if self._initialised.is_set():
            return
        self._init_milliseconds = milliseconds
        self._initialised.set()
        self._on_initialised(self)


def emulator_path() -> Path:
    """The emulator binary for this machine.

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


def worker_environment(function: Function) -> dict[str, str]:
    """Everything the function sees; of the developer's own variables only those it declares."""
    root = function.import_roots[0]
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "TZ": ":UTC",
        "LAMBDA_TASK_ROOT": str(root),
        "PYTHONPATH": os.pathsep.join(str(path) for path in function.import_roots),
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{function.runtime}",
        # SAM's made-up credentials are in `environment`; keep SDKs from finding real ones.
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    if "LD_LIBRARY_PATH" in os.environ:  # some Pythons need it to start
        environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
    return environment | function.environment


def debugged(function: Function, port: int) -> Function:
    """The function with a debugger's port, and all the time that Lambda can give it."""
    environment = function.environment | {"AWS_LAMBDA_FUNCTION_TIMEOUT": str(DEBUG_SECONDS)}
    return replace(
        function, debug_port=port, timeout_seconds=DEBUG_SECONDS, environment=environment
    )


def _debugger(function: Function) -> list[str]:
    if function.debug_port is None:
        return []
    address = f"127.0.0.1:{function.debug_port}"
    return ["-X", "frozen_modules=off", "-m", "debugpy", "--listen", address, "--wait-for-client"]


def _start_thread(read: Callable[[IO[bytes]], None], stream: IO[bytes]) -> threading.Thread:
    thread = threading.Thread(target=read, args=(stream,), daemon=True)
    thread.start()
    return thread


def _loopback_address() -> str:
    return "127." + ".".join(str(1 + secrets.randbelow(254)) for _ in range(3))


def _free_ports(host: str) -> tuple[int, int]:
    """Two ports that were free a moment ago; another process may still win them."""
    with socket.socket() as first, socket.socket() as second:
        first.bind((host, 0))
        second.bind((host, 0))
        return first.getsockname()[1], second.getsockname()[1]


def _function_error(status: int, payload: bytes) -> str | None:
    """The type of the error that the emulator's answer describes, None for a success.

    The emulator answers 200 to an exception of the handler and to a timeout. An exception has the
    four keys that the runtime client writes; a timeout is plain text, where an answer is JSON.
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


def _error_payload(kind: str, message: str) -> bytes:
    return json.dumps({"errorType": kind, "errorMessage": message}).encode()
