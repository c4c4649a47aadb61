"""Workers under load, a process each, of the `project` or the `baseline`.

    python -m benchmarks.load_worker project 32 [LOG]

Each handles the events of a mixed load one at a time, as an execution environment of Lambda does,
with one connection to PostgreSQL and one to Redis. A worker of this project has both functions,
which would have execution environments of their own in Lambda. Their logs are appended to LOG, or
dropped without one. The handlers are imported once, then the workers are forked; a single worker is
this process itself.

An order, a line of JSON, goes to some of the workers, which begin at the same time. Their results
are a line of JSON, a list. The first line has the workers' process ids:

    {"to": […], "seed": …, "start_at": …, "seconds": …}  [{"times_us": {kind: […]}, "failed": …}]
    {"to": […], "seed": …, "requests": …}                [{"failed": …}]

`start_at` is a time of the machine's monotonic clock. The seed and a worker's number determine its
requests; repeating both would create users that exist already.
"""

import asyncio
import importlib
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, TextIO

from benchmarks.system_process import Context
from local.gateway.events import Request, default_event
from tests.in_process import handler_of

Event = dict[str, Any]
Handler = Callable[[Event, Context], dict[str, Any]]

USERS = 10_000
POSTS = 50_000
SHARES = {
    "list page": 0.60,
    "one user": 0.125,
    "one post": 0.125,
    "search": 0.05,
    "update a user": 0.03,
    "create a user": 0.03,
    "create a post": 0.04,
}
PAGES = 10
PAGE_WEIGHTS = [1 / (page + 1) ** 2 for page in range(PAGES)]
"""The first page of the list is requested most: 65 of 100 times."""
PORT = 3000


def main() -> None:
    system, size = sys.argv[1], int(sys.argv[2])
    # The handlers log to stdout, so results are written to a copy of it.
    results = os.fdopen(os.dup(1), "w", buffering=1)
    with Path(os.devnull).open("a") as log:
        os.dup2(log.fileno(), 1)
    function_of = _project() if system == "project" else _baseline(creates_schema=size == 1)
    if size == 1:
        print(json.dumps([os.getpid()]), file=results)
        for line in sys.stdin:
            print(json.dumps([_execute(json.loads(line), 0, function_of)]), file=results)
        return
    workers = [_forked(number, function_of) for number in range(size)]
    print(json.dumps([worker.pid for worker in workers]), file=results)
    for line in sys.stdin:
        ordered = [workers[number] for number in json.loads(line)["to"]]
        for worker in ordered:
            worker.orders.write(line)
            worker.orders.flush()
        print(
            f"[{','.join(worker.results.readline() for worker in ordered)}]".replace("\n", ""),
            file=results,
        )
    for worker in reversed(workers):  # each has copies of the pipes of those before it
        worker.orders.close()
        os.waitpid(worker.pid, 0)


@dataclass(frozen=True)
class Worker:
    pid: int
    orders: TextIO
    results: TextIO


def _forked(number: int, function_of: Callable[[str], Handler]) -> Worker:
    orders, to_worker = os.pipe()
    from_worker, results = os.pipe()
    if pid := os.fork():
        os.close(orders)
        os.close(results)
        return Worker(pid, os.fdopen(to_worker, "w"), os.fdopen(from_worker))
    os.close(to_worker)
    # Mangum's loop is from before the fork, and its epoll instance would be shared.
    asyncio.set_event_loop(asyncio.new_event_loop())
    with os.fdopen(orders) as lines, os.fdopen(results, "w", buffering=1) as results_to:
        for line in lines:
            print(json.dumps(_execute(json.loads(line), number, function_of)), file=results_to)
    sys.stdout.flush()
    os._exit(0)


def _execute(
    order: dict[str, Any], number: int, function_of: Callable[[str], Handler]
) -> dict[str, Any]:
    load = mixed_load(f"{order['seed']}.{number}")
    return (_timed if "seconds" in order else _untimed)(order, function_of, load)


def mixed_load(seed: str) -> Iterator[tuple[str, str, Event]]:
    """Yield, endlessly, a kind of `SHARES`, the path, and the event."""
    random = Random(seed)  # noqa: S311
    kinds, weights = list(SHARES), list(SHARES.values())
    number = 0
    while True:
        number += 1
        (kind,) = random.choices(kinds, weights)
        method, target, body = _request(kind, random, f"{seed}.{number}")
        yield kind, target.partition("?")[0], _event(method, target, body)


def _request(kind: str, random: Random, unique: str) -> tuple[str, str, dict[str, Any] | None]:
    user_id = random.randint(1, USERS)
    user = {"name": f"User {user_id}", "email": f"{unique}@example.com"}
    match kind:
        case "list page":
            (page,) = random.choices(range(PAGES), PAGE_WEIGHTS)
            return "GET", f"/users?skip={10 * page}&limit=10", None
        case "one user":
            return "GET", f"/users/{user_id}", None
        case "one post":
            return "GET", f"/posts/{random.randint(1, POSTS)}", None
        case "search":
            return "GET", f"/users/search?name=user%20{user_id}&limit=10", None
        case "update a user":
            return "PUT", f"/users/{user_id}", user
        case "create a user":
            return "POST", "/users", user
        case _:
            post = {"user_id": user_id, "title": unique, "content": "Content. " * 20}
            return "POST", "/posts", post


def _event(method: str, target: str, body: dict[str, Any] | None) -> Event:
    content = b"" if body is None else json.dumps(body).encode()
    headers = [("host", "api.example.com"), ("content-type", "application/json")]
    request = Request(method, target, headers, content, source_ip="127.0.0.1")
    return default_event(request, PORT)


def _project() -> Callable[[str], Handler]:
    for path in ("/users", "/posts"):
        handler_of(path)  # imports it
    return handler_of


def _baseline(*, creates_schema: bool) -> Callable[[str], Handler]:
    app = importlib.import_module("benchmarks.baseline.app")
    importlib.import_module("benchmarks.one_post")
    if creates_schema:
        asyncio.get_event_loop_policy().get_event_loop().run_until_complete(app.create_schema())
    return lambda _path: app.handler


def _timed(
    order: dict[str, Any],
    function_of: Callable[[str], Handler],
    load: Iterator[tuple[str, str, Event]],
) -> dict[str, Any]:
    times_us: dict[str, list[int]] = defaultdict(list)
    failed = 0
    time.sleep(max(order["start_at"] - time.monotonic(), 0))
    ends_at = order["start_at"] + order["seconds"]
    while time.monotonic() < ends_at:
        kind, path, event = next(load)
        handler, context = function_of(path), Context()
        started = time.perf_counter()
        response = handler(event, context)
        times_us[kind].append(round((time.perf_counter() - started) * 1e6))
        failed += response["statusCode"] not in (200, 201)
    return {"times_us": times_us, "failed": failed}


def _untimed(
    order: dict[str, Any],
    function_of: Callable[[str], Handler],
    load: Iterator[tuple[str, str, Event]],
) -> dict[str, Any]:
    """Keep nothing of a request, since memory is measured."""
    failed = 0
    for _ in range(order["requests"]):
        _, path, event = next(load)
        response = function_of(path)(event, Context())
        failed += response["statusCode"] not in (200, 201)
    return {"failed": failed}


if __name__ == "__main__":
    main()
