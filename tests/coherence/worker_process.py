"""Workers as processes: they call a handler with events, one at a time, as Lambda does.

    python -m tests.coherence.worker_process blog|baseline

imports the handler once and then forks a worker for each order, so that a new one costs
milliseconds and not an import. Orders and answers are JSON lines on stdin and stdout:

    {"prepare": true}           {}           the schema that `DATABASE_URL` lacks, and its users
    {"start": {…Assignment…}}   {"pid": …}
    {"kill": pid}               {}           by SIGKILL; collected, so that its number is free
    {"ended": true}             {"pids": […]} of workers that ended by themselves

All end with the process. The subjects are the project's own functions, and the ordinary way of
`benchmarks/baseline/app.py`. What a worker logs on stdout is dropped.

Times of the project are shortened. A fence stands for 1 s instead of 15 s and a transaction may
last for 0.6 s instead of 9 s (the ratio stays 5 : 3). The killed writers would otherwise leave no
time without a fence, and so nothing in the cache to check. What the protocol needs, that a fence
outlives its transaction, holds as before: the fence is put up after the transaction's begin. Redis
is left alone for 0.2 s instead of 2 s after a failure, as it fails again and again here. All else
is as it is deployed.
"""

import asyncio
import importlib
import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn
from unittest.mock import MagicMock

import psycopg

from local.gateway.events import Request, default_event
from tests.coherence.operation_log import OperationLog
from tests.in_process import LambdaContext

FENCE_SECONDS = 1.0
BREAKER_PAUSE_SECONDS = 0.2
TRANSACTION_TIMEOUT = "600ms"
WATCHED_USERS = 12
"""Ids 1 to 12 are renamed; the users after them come and go."""
MOST_EXTRA_USERS = 5
TOTAL = "total"
PAGES = ("/users?limit=10", "/users?skip=10&limit=10", "/users?limit=20")
PORT = 3000

Subject = Literal["blog", "baseline"]
Role = Literal["reader", "renamer", "counter"]
Handler = Callable[[dict[str, Any], "FunctionContext"], dict[str, Any]]


@dataclass(frozen=True)
class Assignment:
    """What a worker is to do. A renamer renames `users`; a counter knows who is there."""

    name: str
    role: Role
    log: str
    users: tuple[int, ...] = ()
    extra_users: tuple[int, ...] = ()
    pause_seconds: float = 0.0


class FunctionContext(LambdaContext):
    """With what Powertools' decorators ask for as well."""

    function_name = "users"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:users"


class CacheWatch:
    """Whether the latest request was answered from the cache."""

    hit = False


class Worker:
    """One request at a time, each noted in the operation log."""

    def __init__(
        self, assignment: Assignment, handler: Handler, change_method: str, watch: CacheWatch
    ) -> None:
        self._assignment = assignment
        self._handler = handler
        self._change_method = change_method
        self._watch = watch
        self._log = OperationLog(Path(assignment.log))

    def work(self) -> NoReturn:
        match self._assignment.role:
            case "reader":
                self._read_pages()
            case "renamer":
                self._rename_users()
            case "counter":
                self._come_and_go()

    def _read_pages(self) -> NoReturn:
        events = {page: _event("GET", page) for page in PAGES}
        contents: dict[str, tuple[str, Mapping[str, str]]] = {}
        while True:
            page = random.choice(PAGES)
            self._watch.hit = False
            start_ns = time.monotonic_ns()
            answer = self._handler(events[page], FunctionContext())
            end_ns = time.monotonic_ns()
            if answer["statusCode"] != 200:
                self._log.failed(answer["statusCode"])
                continue
            body, values = contents.get(page, ("", {}))
            if answer["body"] != body:
                values = _values(json.loads(answer["body"]))
                contents[page] = answer["body"], values
            self._log.read(start_ns, end_ns, values, hit=self._watch.hit)

    def _rename_users(self) -> NoReturn:
        while True:
            user_id = random.choice(self._assignment.users)
            self._pause()
            # The moment is the version: it only grows, also over the worker's successors.
            name = str(time.monotonic_ns())
            body = {"name": name, "email": email_of(user_id)}
            if self._change_method == "PATCH":
                del body["email"]
            self._write(_user(user_id), name, self._change_method, f"/users/{user_id}", body)

    def _come_and_go(self) -> NoReturn:
        present = list(self._assignment.extra_users)
        while True:
            self._pause()
            total = WATCHED_USERS + len(present)
            if present and random.random() < len(present) / MOST_EXTRA_USERS:
                self._write(TOTAL, str(total - 1), "DELETE", f"/users/{present.pop()}")
                continue
            body = {"name": "extra", "email": f"{time.monotonic_ns()}@example.com"}
            present.append(self._write(TOTAL, str(total + 1), "POST", "/users", body)["id"])

    def _pause(self) -> None:
        time.sleep(random.uniform(0, 2 * self._assignment.pause_seconds))

    def _write(
        self, register: str, value: str, method: str, path: str, body: object = None
    ) -> dict[str, Any]:
        """The answer's body. Ends the worker where the write is not acknowledged: what happened
        is found out before a successor writes to the register."""
        event = _event(method, path, body)
        self._log.write_begins(register, value, time.monotonic_ns())
        answer = self._handler(event, FunctionContext())
        end_ns = time.monotonic_ns()
        if not 200 <= answer["statusCode"] < 300:
            self._log.failed(answer["statusCode"])
            os._exit(0)
        self._log.write_acknowledged(end_ns)
        content: dict[str, Any] = json.loads(answer.get("body") or "{}")
        return content


def email_of(user_id: int) -> str:
    return f"user-{user_id}@example.com"


def prepare(subject: Subject) -> None:
    """Make the schema, and the users that are watched."""
    if subject == "blog":
        importlib.import_module("migrations.handler").handler({}, None)
    else:
        asyncio.run(_baseline().create_schema())
    url = os.environ["DATABASE_URL"].replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True) as connection:
        # The names are the subject's own and no input.
        name = connection.info.dbname
        connection.execute(
            f"ALTER DATABASE {name} SET transaction_timeout = '{TRANSACTION_TIMEOUT}'"
        )
        for user_id in range(1, WATCHED_USERS + 1):
            values = ("initial", email_of(user_id))
            connection.execute("INSERT INTO users (name, email) VALUES (%s, %s)", values)


def database_values(connection: psycopg.Connection[Any]) -> dict[str, str]:
    """The registers as they are in the database."""
    rows = connection.execute("SELECT id, name FROM users").fetchall()
    named = {_user(user_id): name for user_id, name in rows if user_id <= WATCHED_USERS}
    return {TOTAL: str(len(rows)), **named}


def _values(page: dict[str, Any]) -> dict[str, str]:
    named = {_user(user["id"]): user["name"] for user in page["data"]}
    shown = {name: value for name, value in named.items() if name in WATCHED}
    return {TOTAL: str(page["total"]), **shown}


def _user(user_id: int) -> str:
    return f"user {user_id}"


WATCHED = frozenset(map(_user, range(1, WATCHED_USERS + 1)))


def _event(method: str, target: str, body: object = None) -> dict[str, Any]:
    content = b"" if body is None else json.dumps(body).encode()
    headers = [("host", "api.test"), ("content-type", "application/json")]
    request = Request(method, target, headers, content, source_ip="127.0.0.1")
    return default_event(request, PORT)


def _load_blog(watch: CacheWatch) -> tuple[Handler, str]:
    """The handler, and the method that changes a user."""
    from blog.cache import fences, pages, scripts
    from blog.cache.pages import Loaded, PageCache
    from users import routes
    from users.schemas import UserPage

    class WatchedPages(PageCache):
        async def fetch(
            self, page: str | None, load: Callable[[], Awaitable[Loaded]], scope: str = ""
        ) -> bytes:
            watch.hit = True

            async def load_and_note() -> Loaded:
                watch.hit = False
                return await load()

            return await super().fetch(page, load_and_note, scope)

    for module in (fences, pages):
        module.FENCE_SECONDS = FENCE_SECONDS  # type: ignore[attr-defined]
    scripts.BREAKER_PAUSE_SECONDS = BREAKER_PAUSE_SECONDS
    routes.PAGES = WatchedPages("users", UserPage)
    handler = importlib.import_module("users.handler").handler
    for lazy in ("blog.database.connection", "users.queries"):
        assert importlib.import_module(lazy).__doc__  # imports it now, once for all workers
    return handler, "PATCH"


def _load_baseline(watch: CacheWatch) -> tuple[Handler, str]:
    app = _baseline()
    get = app.cache.get

    async def get_and_note(key: str) -> Any:
        found = await get(key)
        watch.hit = found is not None
        return found

    app.cache.get = get_and_note
    return app.handler, "PUT"


def _baseline() -> Any:
    # It imports the X-Ray SDK to disable it, which needs no such package here.
    sys.modules["aws_xray_sdk"] = sys.modules["aws_xray_sdk.core"] = MagicMock()
    return importlib.import_module("benchmarks.baseline.app")


class Nursery:
    """Forks workers, and ends those that it forked."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._watch = CacheWatch()
        load = _load_blog if subject == "blog" else _load_baseline
        self._handler, self._change_method = load(self._watch)
        self._running: set[int] = set()

    def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        match order:
            case {"prepare": True}:
                self._prepare()
                return {}
            case {"start": assignment}:
                return {"pid": self._start(Assignment(**assignment))}
            case {"kill": int(pid)}:
                self._kill(pid)
                return {}
            case _:
                return {"pids": self._collect_ended()}

    def end_all(self) -> None:
        for pid in list(self._running):
            self._kill(pid)

    def _prepare(self) -> None:
        _, status = os.waitpid(_fork(lambda: prepare(self._subject)), 0)
        if status != 0:
            raise RuntimeError("the database cannot be prepared")

    def _start(self, assignment: Assignment) -> int:
        def work() -> None:
            os.environ["SERVICE"] = os.environ["PGAPPNAME"] = assignment.name
            Worker(assignment, self._handler, self._change_method, self._watch).work()

        pid = _fork(work)
        self._running.add(pid)
        return pid

    def _kill(self, pid: int) -> None:
        if pid not in self._running:
            return
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        self._running.discard(pid)

    def _collect_ended(self) -> list[int]:
        ended = [pid for pid in self._running if os.waitpid(pid, os.WNOHANG)[0] == pid]
        self._running.difference_update(ended)
        return ended


def _fork(work: Callable[[], None]) -> int:
    """The number of a process that does the work and ends."""
    if pid := os.fork():
        return pid
    status = 1
    try:
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, 0)
        os.dup2(nowhere, 1)
        # Mangum's loop is from before the fork, and so is its epoll instance: all would share it.
        asyncio.set_event_loop(asyncio.new_event_loop())
        work()
        status = 0
    except BaseException:  # noqa: BLE001 - nothing of the parent's may run in the child
        traceback.print_exc()
    finally:
        os._exit(status)


def main(subject: Subject) -> None:
    nursery = Nursery(subject)
    try:
        for line in sys.stdin:
            print(json.dumps(nursery.obey(json.loads(line))), flush=True)
    finally:
        nursery.end_all()


if __name__ == "__main__":
    main("blog" if sys.argv[1] == "blog" else "baseline")
