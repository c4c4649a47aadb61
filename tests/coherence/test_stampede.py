"""Five hundred cold readers of one page, in eight processes, cause one database query.

Each process is the writers function behind its ASGI interface, warm, with readers that all ask at
the same moment. Counted are the statements that the processes send to PostgreSQL, by the engine.

A worker of Lambda serves one request at a time. Here more than sixty share a process, and eight
processes a few cores, so what one waits for Redis is the others' computing. The protocol's times
are therefore lengthened; the steps are as they are deployed.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypedDict

import httpx
import psycopg
import pytest
from sqlalchemy import event

from local.services import Services
from tests.conftest import Worker
from tests.valkey import empty

PROCESSES = 8
READERS = 500
LONGEST_WAIT_SECONDS = 60.0
PATIENCE_SECONDS = 30.0
HEAD_START_SECONDS = 0.5
PAGE = "/writers?page=1&limit=10"
OTHER_PAGE = "/writers?page=1&limit=11"
ROOT = Path(__file__).parents[2]

Process = subprocess.Popen[str]


class Report(TypedDict):
    statements: list[str]
    bodies: list[str]
    statuses: list[int]


async def ask_at_once(readers: int) -> Report:
    """Warm up, wait for the start, and send the requests of one process."""
    from shared.cache import pages
    from shared.cache.scripts import redis_scripts
    from shared.database.connection import worker_connection
    from shared.request import SCOPE_KEY, ApiRequest
    from tests.example.writers import app

    pages.LEASE_SECONDS = pages.LEASE_WAIT_SECONDS = PATIENCE_SECONDS
    redis_scripts().connection.timeout_seconds = PATIENCE_SECONDS
    statements: list[str] = []

    async def app_with_request(scope: Any, receive: Any, send: Any) -> None:
        await app(scope | {SCOPE_KEY: ApiRequest(path=scope["path"])}, receive, send)

    transport = httpx.ASGITransport(app_with_request)
    async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as client:
        await client.get(OTHER_PAGE)
        engine = worker_connection().engine.sync_engine
        event.listen(engine, "before_cursor_execute", noting(statements))
        print("ready", flush=True)
        starts_at = float(await asyncio.to_thread(sys.stdin.readline))
        await asyncio.sleep(starts_at - time.time())
        responses = await asyncio.gather(*(client.get(PAGE) for _ in range(readers)))
    await worker_connection().close()
    assert not redis_scripts().breaker.is_open
    return {
        "statements": statements,
        "bodies": sorted({response.text for response in responses}),
        "statuses": sorted({response.status_code for response in responses}),
    }


def noting(statements: list[str]) -> Any:
    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        statements.append(statement)

    return note


@pytest.fixture
def processes(worker: Worker, services: Services) -> Iterator[list[Process]]:
    """Warm, and waiting for the moment at which to ask."""
    paths = os.pathsep.join(str(ROOT / path) for path in (".", "functions", "layers/shared"))
    environment = {
        **os.environ,
        "DATABASE_URL": services.database_url,
        "REDIS_URL": services.redis_url,
        "LOG_LEVEL": "CRITICAL",
        "PYTHONPATH": paths,
    }
    with ExitStack() as stack:
        started = []
        for number in range(PROCESSES):
            readers = len(range(number, READERS, PROCESSES))
            command = [sys.executable, "-m", __name__, str(readers)]
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            started.append(process)
        yield started


@pytest.mark.slow
def test_five_hundred_cold_readers_cause_one_query(
    processes: list[Process], database: psycopg.Connection[Any], cache: Any
) -> None:
    database.execute("INSERT INTO writers (name, email) VALUES ('ada', 'ada@example.com')")
    for process in processes:
        assert process.stdout is not None
        while process.stdout.readline() not in ("ready\n", ""):
            pass
    empty(cache)
    reports = answers_at(time.time() + HEAD_START_SECONDS, processes)

    assert sum(len(report["statements"]) for report in reports) == 1
    assert {status for report in reports for status in report["statuses"]} == {200}
    [body] = {body for report in reports for body in report["bodies"]}
    assert json.loads(body)["data"][0]["name"] == "ada"


def answers_at(moment: float, processes: list[Process]) -> list[Report]:
    """The reports of the processes, which all send their requests at this moment."""
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(f"{moment}\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=LONGEST_WAIT_SECONDS)[0] for process in processes]
    return [json.loads(output.splitlines()[-1]) for output in outputs]


if __name__ == "__main__":
    print(json.dumps(asyncio.run(ask_at_once(int(sys.argv[1])))), flush=True)
