"""A function in AWS's Lambda runtime emulator, run by AWS's Python runtime client.

Unlike in `local.runtime.emulated`, the Python is any, and all that the function imports, the
runtime client included, comes from `roots`. The emulator, which runs on Linux only, starts that
Python with the first invocation: the time which that one takes is all of a cold start and the
request itself.
"""

import http.client
import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from local.runtime.emulated import INVOKE_PATH, emulator_path
from local.runtime.function import Function
from local.runtime.logs import LogLine, parse_log_line
from local.runtime.reaper import end_session

START_SECONDS = 10.0
FUNCTION_SECONDS = 60


class Emulator:
    """An emulator that is up and has started no Python yet; for use in a `with` block."""

    def __init__(
        self, python: str, roots: tuple[Path, ...], handler: str, environment: Mapping[str, str]
    ) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the emulator
        invoke_port, runtime_port = _free_port(), _free_port()
        self._process = subprocess.Popen(
            [
                str(emulator_path()),
                *("--runtime-interface-emulator-address", f"127.0.0.1:{invoke_port}"),
                *("--runtime-api-address", f"127.0.0.1:{runtime_port}"),
                *(python, "-m", "awslambdaric", handler),
            ],
            cwd=roots[0],
            env=function_environment(roots, handler, environment),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._connection = http.client.HTTPConnection(
            "127.0.0.1", invoke_port, timeout=FUNCTION_SECONDS
        )

    def __enter__(self) -> Self:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self._connection.connect()
                return self
            except ConnectionRefusedError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    self.__exit__(None, None, None)
                    raise
                time.sleep(0.003)

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        end_session(self._process.pid)
        self._process.wait()
        self._log.close()

    def invoke(self, event: Mapping[str, Any]) -> float:
        """Return the seconds until the response. Raises RuntimeError unless it is a 200."""
        body = json.dumps(event)
        started = time.perf_counter()
        self._connection.request("POST", INVOKE_PATH, body)
        response = self._connection.getresponse().read()
        took_seconds = time.perf_counter() - started
        if b'"statusCode": 200' not in response:
            log = "\n".join(line.text for line in self.log())
            raise RuntimeError(f"{event['rawPath']}: {response.decode()}\n{log}")
        return took_seconds

    def log(self) -> list[LogLine]:
        """What the function and the emulator have written so far."""
        # Read by its place, as the processes go on writing at theirs.
        size = os.fstat(self._log.fileno()).st_size
        return [parse_log_line(line) for line in os.pread(self._log.fileno(), size, 0).splitlines()]


def function_environment(
    roots: tuple[Path, ...], handler: str, environment: Mapping[str, str]
) -> dict[str, str]:
    """Return the environment that Lambda would give the function, with `environment`."""
    function = Function(
        name="benchmark",
        handler=handler,
        runtime="python3.13",
        timeout_seconds=FUNCTION_SECONDS,
        environment={
            "PYTHONDONTWRITEBYTECODE": "1",
            "AWS_LAMBDA_FUNCTION_NAME": "benchmark",
            "AWS_LAMBDA_FUNCTION_TIMEOUT": str(FUNCTION_SECONDS),
            "AWS_REGION": "eu-west-1",
            **environment,
        },
        import_roots=roots,
        code=roots,
    )
    return function.worker_environment()


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
