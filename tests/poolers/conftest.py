"""The API behind PgBouncer in transaction mode: in this process, and in workers of their own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from local.services import Services
from meta import health
from tests.conftest import Worker
from tests.poolers.pgbouncer import running_pgbouncer
from tests.tools import require_program
from tests.worker_process import WorkerProcess, running_worker

StartPooler = Callable[[int], str]
StartWorkers = Callable[[int, str], list[WorkerProcess]]


@pytest.fixture(autouse=True)
def _forgetful_health(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each report is a new one; `tests/meta/test_health_memory.py` is about those that are not."""
    monkeypatch.setattr(health, "MEMORY_SECONDS", 0.0)


@pytest.fixture
def start_pooler(services: Services, tmp_path: Path) -> Iterator[StartPooler]:
    """Starts PgBouncer with that many server connections; the database's URL through it."""
    require_program("pgbouncer")
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
def pooled_url(start_pooler: StartPooler, worker: Worker) -> str:
    """The database through one server connection; the worker in this process uses it."""
    url = start_pooler(1)
    worker.restart(DATABASE_URL=url)
    return url


@pytest.fixture
def start_workers(services: Services, tmp_path: Path) -> Iterator[StartWorkers]:
    """Starts that many workers with this `DATABASE_URL`, connected and ready to respond."""
    with ExitStack() as stack:

        def start(count: int, database_url: str) -> list[WorkerProcess]:
            log = tmp_path / "workers.log"
            workers = [
                stack.enter_context(
                    running_worker(log, DATABASE_URL=database_url, SERVICE=f"pooled-{number}")
                )
                for number in range(count)
            ]
            for worker in workers:
                assert worker.call("GET", "/health").status == 200
            return workers

        yield start
