"""The first request of an environment that is restored from a snapshot, and warm ones after it.

    python cold_restored.py users.handler.handler EVENT

Run by Lambda's Python with `AWS_LAMBDA_INITIALIZATION_TYPE=snap-start`: the handler is imported,
which makes requests, and Lambda's own client runs the hooks, as before and after a snapshot. There
is none in between: what Lambda takes to load it is not measured. Prints one JSON object of
milliseconds: `restore` (the hooks after it), `first`, and lists: `warm`, and what the bare drivers
take to connect to `redis` and to `postgresql`.
"""

import asyncio
import importlib
import json
import os
import sys
import time
from contextlib import redirect_stdout
from typing import Any

from awslambdaric.bootstrap import LambdaContext
from awslambdaric.lambda_runtime_hooks_runner import run_after_restore, run_before_snapshot

WARM_REQUESTS = 50
CONNECTIONS = 10


def main(handler_path: str, event_text: str) -> None:
    results = sys.stdout
    with redirect_stdout(sys.stderr):
        module, _, name = handler_path.rpartition(".")
        handler = getattr(importlib.import_module(module), name)
        run_before_snapshot()
        event = json.loads(event_text)
        measured = {
            "restore": _milliseconds(run_after_restore),
            "first": _milliseconds(_respond, handler, event),
            "warm": [_milliseconds(_respond, handler, event) for _ in range(WARM_REQUESTS)],
            "redis": [_milliseconds(_connect_to_redis) for _ in range(CONNECTIONS)],
            "postgresql": [_milliseconds(_connect_to_postgresql) for _ in range(CONNECTIONS)],
        }
    print(json.dumps(measured), file=results)


def _respond(handler: Any, event: dict[str, Any]) -> None:
    deadline_milliseconds = int(time.time() * 1000) + 10_000
    response = handler(event, LambdaContext("benchmark", None, None, deadline_milliseconds))
    assert response["statusCode"] == 200, response


def _connect_to_postgresql() -> None:
    import psycopg

    async def connect() -> None:
        await (await psycopg.AsyncConnection.connect(os.environ["DATABASE_URL"])).close()

    asyncio.run(connect())


def _connect_to_redis() -> None:
    from redis.asyncio.client import Redis

    async def connect() -> None:
        url = os.environ["REDIS_URL"]
        async with Redis.from_url(url, protocol=2, single_connection_client=True):
            pass

    asyncio.run(connect())


def _milliseconds(call: Any, *arguments: Any) -> float:
    started_at = time.perf_counter()
    call(*arguments)
    return (time.perf_counter() - started_at) * 1000


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
