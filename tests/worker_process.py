"""A worker as a process of its own: requests in on stdin, responses out on stdout, a line each.

    with running_worker(log, DATABASE_URL=url, SERVICE="blog-1") as worker:
        worker.call("GET", "/writers/1").status

What the handlers log is written to `log`.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.in_process import client_of
from tests.resources import ROOT

PYTHON_PATH = os.pathsep.join(str(ROOT / part) for part in (".", "functions", "layers/shared"))


@dataclass(frozen=True)
class Response:
    status: int
    body: Any


class WorkerProcess:
    """Responds to one request at a time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        key: str | None = None,
        if_match: str | None = None,
    ) -> Response:
        """`key` is the request's `Idempotency-Key`."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        sent = {"Idempotency-Key": key, "If-Match": if_match}
        headers = {name: value for name, value in sent.items() if value is not None}
        self.process.stdin.write(f"{json.dumps([method, path, body, headers])}\n")
        self.process.stdin.flush()
        status, text = json.loads(self.process.stdout.readline())
        return Response(status, json.loads(text or "null"))


@contextmanager
def running_worker(log: Path, **environment: str) -> Iterator[WorkerProcess]:
    """Start it with these variables beside this process's own; kill it after the block."""
    with (
        log.open("a") as output,
        subprocess.Popen(
            [sys.executable, "-m", "tests.worker_process"],
            env=os.environ | {"PYTHONPATH": PYTHON_PATH} | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
        ) as process,
    ):
        try:
            yield WorkerProcess(process)
        finally:
            process.kill()


def main() -> None:
    responses = sys.stdout
    with (
        redirect_stdout(sys.stderr),
        client_of() as api,
    ):
        for line in sys.stdin:
            method, path, body, headers = json.loads(line)
            response = api.request(method, path, json=body, headers=headers)
            print(json.dumps([response.status_code, response.text]), file=responses, flush=True)


if __name__ == "__main__":
    main()
