"""A frozen sandbox whose connections both servers cut meanwhile goes on as if nothing happened."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import psycopg
import pytest
import redis as redis_sync

from local.services import Services
from tests.faults.conftest import CACHED, HEALTH, WRITES, Route
from tests.faults.rows import Row, rows

ROOT = Path(__file__).parents[2]
SERVICE = "blog-frozen"
POST, PATCH, _ = WRITES
ROUTES = {"read": CACHED, "write": PATCH}


class FrozenSandbox:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def call(self, route: Route) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        request = {"method": route.method, "path": route.path, "body": route.body}
        self.process.stdin.write(f"{json.dumps(request)}\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def freeze(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOWAIT)

    def thaw(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)


@pytest.fixture
def frozen(
    services: Services, database: object, cache: object, tmp_path: Path
) -> Iterator[FrozenSandbox]:
    paths = os.pathsep.join(str(ROOT / part) for part in (".", "functions", "layers/blog"))
    environment = os.environ | {
        "DATABASE_URL": services.database_url,
        "REDIS_URL": services.redis_url,
        "SERVICE": SERVICE,
        "PYTHONPATH": paths,
    }
    with (
        (tmp_path / "sandbox.log").open("w") as log,
        subprocess.Popen(
            [sys.executable, "-m", "tests.faults.sandbox_process"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        yield FrozenSandbox(process)
        process.kill()


def cut_connections(database: psycopg.Connection[Any], cache: redis_sync.Redis) -> None:
    ended = database.execute(
        "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE application_name = %s",
        [SERVICE],
    ).fetchall()
    assert ended == [(True,)]
    assert cache.client_kill_filter(_type="normal", skipme=True) >= 1


@rows("frozen-sandbox")
def test_frozen(
    frozen: FrozenSandbox,
    database: psycopg.Connection[Any],
    cache: redis_sync.Redis,
    row: Row,
) -> None:
    route = ROUTES[row.name.removeprefix("frozen-sandbox-")]
    assert frozen.call(POST)["status"] == 201
    for turn in range(3):
        assert frozen.call(CACHED)["status"] == 200
        assert frozen.call(HEALTH)["status"] == 200  # connects to both
        frozen.freeze()
        cut_connections(database, cache)
        if turn == 1:  # Redis is asked, and has no page
            cache.flushdb()
        frozen.thaw()
        started_at = perf_counter()
        answer = frozen.call(route)

        assert answer["status"] == route.status, answer
        assert row.seconds_at_most is not None
        assert perf_counter() - started_at < row.seconds_at_most
        (listed,) = json.loads(frozen.call(CACHED)["body"])["data"]
        names = database.execute("SELECT name FROM users").fetchall()
        assert names == [(listed["name"],)]
