"""Initialization ahead of requests: SnapStart, with its hooks, and provisioned concurrency."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
import redis as redis_sync

from local.gateway.events import Request, default_event
from local.services import running_services
from migrations.handler import handler as migrate
from shared.coldstart import initialization
from tests.auth.claims import REQUIRED
from tests.conftest import Worker
from tests.example.models import create_tables
from tests.resources import RESOURCES
from tests.worker_process import PYTHON_PATH

pytest.importorskip("awslambdaric", reason="Lambda's runtime client is for Linux only")

SERVICE = "blog-ahead"
SNAP_START, PROVISIONED, ON_DEMAND = "snap-start", "provisioned-concurrency", "on-demand"
INITIALIZATION_SECONDS = 10
"""Lambda's limit."""
FROZEN_SECONDS = 5
NOWHERE = {
    "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none?sslmode=disable",
    "REDIS_URL": "redis://127.0.0.1:1/0",
}

# Lambda's own client runs the hooks; evaluates an expression a line, and prints its value as JSON.
PROGRAM = """
import importlib, json, random, sys
from contextlib import redirect_stdout
from awslambdaric.lambda_runtime_hooks_runner import run_after_restore, run_before_snapshot
class Context:
    aws_request_id = "test"
    def get_remaining_time_in_millis(self):
        return 10_000
results = sys.stdout
with redirect_stdout(sys.stderr):
    module = importlib.import_module(sys.argv[1])
    for line in sys.stdin:
        print(json.dumps(eval(line)), file=results, flush=True)
"""


class Environment:
    """A process that imports a handler, and then does as it is asked."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def evaluate(self, expression: str) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(expression, file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())

    def get(self, path: str) -> int:
        """Return the status."""
        request = Request("GET", path, [("host", "api.test")], b"", "127.0.0.1")
        event = default_event(request, 80)
        return int(self.evaluate(f"module.handler({event!r}, Context())['statusCode']"))

    def freeze(self) -> None:
        os.kill(self._process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WNOWAIT)

    def thaw(self) -> None:
        os.kill(self._process.pid, signal.SIGCONT)


@contextmanager
def initialized(
    kind: str, log: Path, module: str = "tests.example.writers", **variables: str
) -> Iterator[Environment]:
    variables |= {
        "AWS_LAMBDA_INITIALIZATION_TYPE": kind,
        "SERVICE": SERVICE,
        "PYTHONPATH": PYTHON_PATH,
    }
    with (
        log.open("a") as output,
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, module],
            env=os.environ | variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
        ) as process,
    ):
        environment = Environment(process)
        assert environment.evaluate("0") == 0, log.read_text()
        yield environment
        process.kill()


def connections(database: psycopg.Connection[Any]) -> set[int]:
    """Return the process ids of the environment's connections to PostgreSQL."""
    rows = database.execute(
        "SELECT pid FROM pg_stat_activity WHERE application_name = %s", [SERVICE]
    ).fetchall()
    return {pid for (pid,) in rows}


def clients(cache: redis_sync.Redis) -> set[str]:
    """Return the ids of Redis's clients but this one."""
    own = str(cache.client_id())
    return {str(client["id"]) for client in cache.client_list()} - {own}


@pytest.mark.parametrize("function", [*RESOURCES, "meta"])
@pytest.mark.parametrize("kind", [SNAP_START, PROVISIONED])
def test_everything_is_imported_and_a_request_made_ahead(
    kind: str,
    function: str,
    database: psycopg.Connection[Any],
    cache: redis_sync.Redis,
    tmp_path: Path,
) -> None:
    before = clients(cache)
    with initialized(kind, tmp_path / "log", f"{function}.handler") as environment:
        assert len(connections(database)) == 1
        assert len(clients(cache) - before) == 1
        loaded = set(environment.evaluate("sorted(sys.modules)"))
        path = "/health" if function == "meta" else f"/{function}"
        assert environment.get(path) == 200
        later = set(environment.evaluate("sorted(sys.modules)")) - loaded
        assert {name for name in later if not name.startswith("_")} == set()


def test_a_request_ahead_is_made_where_tokens_are_required(
    database: psycopg.Connection[Any], cache: redis_sync.Redis, tmp_path: Path
) -> None:
    before = clients(cache)
    with initialized(SNAP_START, tmp_path / "log", **REQUIRED) as environment:
        assert environment.get("/writers") == 401
        assert len(connections(database)) == 1
        assert len(clients(cache) - before) == 1


def test_a_request_ahead_may_have_a_query(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[dict[str, Any]] = []
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", PROVISIONED)
    initialization.prepare(lambda event, _: events.append(event), "/articles?writer_id=1")
    assert {(one["rawPath"], one["rawQueryString"]) for one in events} == {
        ("/articles", "writer_id=1")
    }


def test_no_request_is_made_in_advance_on_demand(
    database: psycopg.Connection[Any], cache: object, tmp_path: Path
) -> None:
    with initialized(ON_DEMAND, tmp_path / "log", "meta.handler") as environment:
        assert connections(database) == set()
        assert not environment.evaluate("'sqlalchemy' in sys.modules")


@pytest.mark.parametrize("kind", [SNAP_START, PROVISIONED])
def test_initialization_needs_no_network(kind: str, tmp_path: Path) -> None:
    started_at = time.monotonic()
    with initialized(kind, tmp_path / "log", **NOWHERE) as environment:
        assert time.monotonic() - started_at < INITIALIZATION_SECONDS
        assert environment.get("/writers") == 503


def test_a_snapshot_has_no_connection_and_what_is_restored_makes_new_ones(
    database: psycopg.Connection[Any], cache: redis_sync.Redis, tmp_path: Path
) -> None:
    before = clients(cache)
    with initialized(SNAP_START, tmp_path / "log") as environment:
        primed, primed_clients = connections(database), clients(cache) - before
        environment.evaluate("run_before_snapshot()")
        assert wait_until_empty(lambda: connections(database))
        assert wait_until_empty(lambda: clients(cache) - before)
        environment.evaluate("run_after_restore()")
        assert environment.get("/writers") == 200
        assert environment.get("/writers/1") == 404
        assert len(connections(database) - primed) == 1
        assert len(clients(cache) - before - primed_clients) == 1


def test_restored_environments_have_random_states_of_their_own(tmp_path: Path) -> None:
    with initialized(SNAP_START, tmp_path / "log") as environment:
        environment.evaluate("run_before_snapshot()")
        snapshot = environment.evaluate("random.getstate()")
        states = []
        for _ in range(2):
            environment.evaluate(f"random.setstate(({snapshot[0]}, tuple({snapshot[1]}), None))")
            environment.evaluate("run_after_restore()")
            states.append(environment.evaluate("random.getstate()"))
        assert snapshot not in states
        assert states[0] != states[1]


def test_each_openssl_of_a_restored_environment_gets_entropy_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Python's, and that of psycopg's wheel; neither shows its state."""
    given: dict[str, list[bytes]] = {}

    def library(path: str) -> SimpleNamespace:
        def add(data: bytes, size: int, _entropy: object = None) -> None:
            assert len(data) == size == 48
            given.setdefault(path, []).append(data)

        assert Path(path).exists()
        return SimpleNamespace(RAND_add=add)

    monkeypatch.setattr("ctypes.CDLL", library)
    monkeypatch.setattr("ssl.RAND_add", library("/").RAND_add)
    for _ in range(2):
        initialization._seed()
    assert given.keys() > {"/"}
    assert len({data for added in given.values() for data in added}) == 2 * len(given)


def test_a_restored_environment_reads_its_settings_again(tmp_path: Path) -> None:
    settings = "importlib.import_module('shared.settings').settings().stage"
    with initialized(SNAP_START, tmp_path / "log", STAGE="blue") as environment:
        assert environment.evaluate(settings) == "blue"
        environment.evaluate("run_before_snapshot()")
        environment.evaluate("importlib.import_module('os').environ.update(STAGE='green')")
        environment.evaluate("run_after_restore()")
        assert environment.evaluate(settings) == "green"


@pytest.mark.parametrize("kind", [SNAP_START, PROVISIONED])
def test_servers_that_restart_while_it_is_frozen_are_found_again(
    kind: str, tmp_path: Path, worker: Worker
) -> None:
    directory, servers = tmp_path / "services", ExitStack()
    with servers:
        services = servers.enter_context(running_services(directory))
        urls = {"DATABASE_URL": services.database_url, "REDIS_URL": services.redis_url}
        worker.restart(**urls)
        migrate({}, None)
        create_tables()
        with initialized(kind, tmp_path / "log", **urls) as environment:
            if kind == SNAP_START:
                environment.evaluate("run_before_snapshot()")
            environment.freeze()
            servers.close()
            with running_services(directory):
                time.sleep(FROZEN_SECONDS)
                environment.thaw()
                if kind == SNAP_START:
                    environment.evaluate("run_after_restore()")
                assert environment.get("/writers") == 200
                assert environment.get("/writers/1") == 404


def wait_until_empty(read: Callable[[], set[Any]]) -> bool:
    """Return whether it becomes empty within a second: servers close connections in their time."""
    deadline = time.monotonic() + 1
    while read() and time.monotonic() < deadline:
        time.sleep(0.01)
    return not read()
