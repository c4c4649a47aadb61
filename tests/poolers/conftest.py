"""The API behind PgBouncer in transaction mode: in this process, and in sandboxes of their own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from local.services import Services
from tests.conftest import Sandbox
from tests.poolers.pgbouncer import PROGRAM, running_pgbouncer

ROOT = Path(__file__).parents[2]

StartPooler = Callable[[int], str]
StartSandboxes = Callable[[int, str], "list[PooledSandbox]"]


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any


class PooledSandbox:
    """A sandbox in a process of its own; it answers one request at a time."""

    def __init__(self, number: int, process: subprocess.Popen[str]) -> None:
        self.number = number
        self._process = process

    def call(self, method: str, path: str, body: object = None, key: str | None = None) -> Answer:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        headers = {} if key is None else {"Idempotency-Key": key}
        request = {"method": method, "path": path, "body": body, "headers": headers}
        self._process.stdin.write(f"{json.dumps(request)}\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return Answer(answer["status"], json.loads(answer["body"] or "null"))


@pytest.fixture
def start_pooler(services: Services, tmp_path: Path) -> Iterator[StartPooler]:
    """Starts PgBouncer with that many server connections; the database's URL through it."""
    if PROGRAM is None:
        pytest.skip("pgbouncer is not installed: `apt-get install pgbouncer`")
    with ExitStack() as stack:

        def start(server_connections: int) -> str:
            pooler = stack.enter_context(
                running_pgbouncer(
                    tmp_path, services.database_url, server_connections=server_connections
                )
            )
            return pooler.url(services.database_url)

        yield start


@pytest.fixture
def pooled_url(start_pooler: StartPooler, sandbox: Sandbox) -> str:
    """The database through one server connection; the sandbox in this process uses it."""
    url = start_pooler(1)
    sandbox.restart(DATABASE_URL=url)
    return url


@pytest.fixture
def start_sandboxes(services: Services, tmp_path: Path) -> Iterator[StartSandboxes]:
    """Starts that many sandboxes with this `DATABASE_URL`, connected and ready to answer."""
    paths = os.pathsep.join(str(ROOT / part) for part in (".", "functions", "layers/blog"))
    with ExitStack() as stack:

        def start(count: int, database_url: str) -> list[PooledSandbox]:
            environment = os.environ | {
                "DATABASE_URL": database_url,
                "REDIS_URL": services.redis_url,
                "PYTHONPATH": paths,
            }
            log = stack.enter_context((tmp_path / "sandboxes.log").open("a"))
            sandboxes = []
            for number in range(count):
                process = stack.enter_context(
                    subprocess.Popen(
                        [sys.executable, "-m", "tests.faults.sandbox_process"],
                        env=environment | {"SERVICE": f"pooled-{number}"},
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        stderr=log,
                        text=True,
                    )
                )
                stack.callback(process.kill)
                sandboxes.append(PooledSandbox(number, process))
            for pooled in sandboxes:
                assert pooled.call("GET", "/health").status == 200
            return sandboxes

        yield start
