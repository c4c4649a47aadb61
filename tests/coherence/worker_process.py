"""Workers as processes: they call a handler with events, one at a time, as Lambda does.

    python -m tests.coherence.worker_process project|baseline

imports the handler once and then forks a worker for each order, so that a new one costs
milliseconds and not an import. Orders and answers are JSON lines on stdin and stdout:

    {"prepare": true}           {}           the schema that `DATABASE_URL` lacks, and its users
    {"start": {…Assignment…}}   {"pid": …}
    {"kill": pid}               {}           by SIGKILL; collected, so that its number is free
    {"freeze": pid}             {}           by SIGSTOP
    {"thaw": pid}               {}           by SIGCONT
    {"changes": true}           {"ended": […], "frozen": […]}   pids, each told once

All end with the process. The subjects are the project's own functions, and the ordinary way of
`benchmarks/baseline/app.py`. What a worker logs on stdout is dropped. Workers whose assignment says
so freeze themselves right after a write's response, as an execution environment is frozen.

Users are renamed, posts are renamed and moved between users, and others of both come and go, where
a user's deletion takes its posts along. Pages of posts with their author's name have no route: they
are read as a route would, by the layer's `read` and `PageCache`.

Times of the project are shortened. A fence stands for 1 s instead of 20 s and a transaction may
last for 0.6 s instead of 9 s. The killed writers would otherwise leave no time without a fence, and
so nothing in the cache to check. What the protocol needs, that a fence outlives its transaction,
holds as before: the fence is put up after the transaction's begin. Redis is left alone for 0.2 s
instead of 2 s after a failure, as it fails again and again here. All else is as it is deployed.
"""

import asyncio
import importlib
import json
import logging
import mmap
import os
import random
import signal
import sys
import time
import traceback
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn
from unittest.mock import MagicMock

import psycopg
from pydantic import BaseModel

from local.gateway.events import Request, default_event
from tests.coherence.history import ABSENT
from tests.coherence.operation_log import OperationLog
from tests.in_process import LambdaContext

if TYPE_CHECKING:
    from shared.cache.pages import PageCache

FENCE_SECONDS = 1.0
BREAKER_PAUSE_SECONDS = 0.2
TRANSACTION_TIMEOUT = "600ms"
WATCHED_USERS = 12
"""Ids 1 to 12 are renamed; the users after them come and go, with their posts."""
AUTHORS = (1, 2, 3)
WATCHED_POSTS = 6
"""Ids 1 to 6 are renamed, and move between the authors."""
MOST_EXTRA_USERS = 5
MOST_EXTRA_POSTS = 3
"""Of each extra user."""
REMEMBERED_USERS = 3
"""Extra users whose posts a reader asks for, also when they are gone."""
TOTAL = "users"
POST_TOTAL = "posts"
USER_PAGES = ("/users?limit=10", "/users?skip=10&limit=10", "/users?limit=20")
ALL_POSTS = "/posts?limit=50"
WITH_AUTHORS = "posts with authors"
"""No path."""
PORT = 3000
PAUSE_POLL_SECONDS = 0.005

Subject = Literal["project", "baseline"]
Role = Literal["reader", "renamer", "mover", "counter"]
Handler = Callable[[dict[str, Any], "FunctionContext"], dict[str, Any]]
Values = Mapping[str, str]


@dataclass(frozen=True)
class Assignment:
    """A worker's task: a renamer changes `users`, a mover `posts`, a counter `extra_users`.

    About `pause_reads` reads of all workers are between two of its writes. It freezes itself after
    a share `freezes` of its writes.
    """

    name: str
    role: Role
    log: str
    users: tuple[int, ...] = ()
    posts: tuple[int, ...] = ()
    extra_users: tuple[tuple[int, tuple[int, ...]], ...] = ()
    pause_reads: float = 0.0
    freezes: float = 0.0


@dataclass(frozen=True)
class Page:
    """A page that readers read: where it is, what it shows, and of which user if not of all."""

    target: str
    kind: Literal["users", "posts", "scoped", "joined"]
    author: int | None = None

    @classmethod
    def of_user(cls, user_id: int) -> "Page":
        return cls(f"/posts?user_id={user_id}&limit=50", "scoped", user_id)


USERS_PAGES = tuple(Page(target, "users") for target in USER_PAGES)
POSTS_PAGES = (
    Page(ALL_POSTS, "posts"),
    *map(Page.of_user, AUTHORS),
    *(Page(WITH_AUTHORS, "joined", author) for author in (None, *AUTHORS)),
)


class FunctionContext(LambdaContext):
    """With what Powertools' decorators ask for as well."""

    function_name = "users"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:users"


class CacheWatch:
    """Whether the latest request was answered from the cache."""

    hit = False


@dataclass(frozen=True)
class Api:
    """The API that workers call. `joined` returns the posts with their authors, all or one's."""

    handler: Handler
    change_method: str
    pages: tuple[Page, ...]
    watch: CacheWatch
    joined: Callable[[int | None], Awaitable[bytes]] | None = None
    reads: "memoryview[int]" = field(default_factory=lambda: memoryview(mmap.mmap(-1, 8)).cast("Q"))
    """One number, about how many reads there were: all workers share it, and some get lost."""


class Worker:
    """One request at a time, each noted in the operation log."""

    def __init__(self, assignment: Assignment, api: Api) -> None:
        self._assignment = assignment
        self._api = api
        self._log = OperationLog(Path(assignment.log))

    def work(self) -> NoReturn:
        match self._assignment.role:
            case "reader":
                self._read_pages()
            case "renamer":
                self._rename_users()
            case "mover":
                self._move_posts()
            case "counter":
                self._come_and_go()

    def _read_pages(self) -> NoReturn:
        contents: dict[Page, tuple[str, int]] = {}
        extra = deque[Page](maxlen=REMEMBERED_USERS if self._api.joined else 0)
        while True:
            page = random.choice((*self._api.pages, *extra))
            self._api.watch.hit = False
            start_ns = time.monotonic_ns()
            status, content = self._get(page)
            end_ns = time.monotonic_ns()
            if status != 200:
                self._log.failed(status)
                continue
            known, number = contents.get(page, ("", 0))
            if content != known:
                shown = json.loads(content)
                number = self._log.page(page.kind, _values(page, shown))
                contents[page] = content, number
                extra.extend(_extra_pages(page, shown) - set(extra))
            self._log.read(number, start_ns, end_ns, hit=self._api.watch.hit)
            self._api.reads[0] += 1

    def _get(self, page: Page) -> tuple[int, str]:
        if page.kind == "joined":
            assert self._api.joined is not None
            content = self._api.joined(page.author)
            return 200, asyncio.get_event_loop().run_until_complete(content).decode()
        answer = self._call("GET", page.target)
        return answer["statusCode"], answer["body"]

    def _call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        return self._api.handler(_event(method, path, body), FunctionContext())

    def _rename_users(self) -> NoReturn:
        while True:
            user_id = random.choice(self._assignment.users)
            self._pause()
            name = _moment()
            body = {"name": name, "email": email_of(user_id)}
            if self._api.change_method == "PATCH":
                del body["email"]
            path = f"/users/{user_id}"
            self._write({_user(user_id): name}, self._api.change_method, path, body)

    def _move_posts(self) -> NoReturn:
        """Each is given a new title, and perhaps a new author."""
        authors = {post_id: self._author(post_id) for post_id in self._assignment.posts}
        while True:
            post_id = random.choice(self._assignment.posts)
            self._pause()
            before, after, title = authors[post_id], random.choice(AUTHORS), _moment()
            values = {_post(post_id, before): ABSENT, _post(post_id, after): title}
            body: dict[str, object] = {"title": title}
            method = random.choice(("PUT", self._api.change_method))
            if method == "PUT":
                body["content"] = "replaced"
            if method == "PUT" or before != after:
                body["user_id"] = after
            self._write(values, method, f"/posts/{post_id}", body)
            authors[post_id] = after

    def _author(self, post_id: int) -> int:
        answer = self._call("GET", f"/posts/{post_id}")
        if answer["statusCode"] != 200:
            self._fail(answer["statusCode"])
        author: int = json.loads(answer["body"])["user_id"]
        return author

    def _come_and_go(self) -> NoReturn:
        present = {user: list(posts) for user, posts in self._assignment.extra_users}
        while True:
            self._pause()
            user = random.choice((*present, None))
            if user is None and len(present) < MOST_EXTRA_USERS:
                self._add_user(present)
            elif user is not None:
                self._change_posts(present, user)

    def _add_user(self, present: dict[int, list[int]]) -> None:
        body = {"name": "extra", "email": f"{_moment()}@example.com"}
        values = {TOTAL: str(WATCHED_USERS + len(present) + 1)}
        present[self._write(values, "POST", "/users", body)["id"]] = []

    def _change_posts(self, present: dict[int, list[int]], user: int) -> None:
        """Of an extra user; or delete it, which takes all of them along."""
        own = present[user]
        users, posts = WATCHED_USERS + len(present), WATCHED_POSTS + sum(map(len, present.values()))
        if random.random() < 1 / (2 + MOST_EXTRA_POSTS):
            left = {TOTAL: users - 1, POST_TOTAL: posts - len(own), _posts(user): 0}
            self._write(_shown(left), "DELETE", f"/users/{user}")
            del present[user]
        elif len(own) < MOST_EXTRA_POSTS and random.random() < 0.7:
            values = _shown({POST_TOTAL: posts + 1, _posts(user): len(own) + 1})
            body = {"user_id": user, "title": "extra", "content": "extra"}
            own.append(self._write(values, "POST", "/posts", body)["id"])
        elif own:
            values = _shown({POST_TOTAL: posts - 1, _posts(user): len(own) - 1})
            self._write(values, "DELETE", f"/posts/{own[-1]}")
            own.pop()

    def _pause(self) -> None:
        """Until there were some reads: how many find a cached page does not depend on how fast the
        machine is."""
        ends_at = self._api.reads[0] + random.uniform(0, 2 * self._assignment.pause_reads)
        while self._api.reads[0] < ends_at:
            time.sleep(PAUSE_POLL_SECONDS)

    def _write(self, values: Values, method: str, path: str, body: object = None) -> dict[str, Any]:
        """The answer's body. Ends the worker where the write is not acknowledged: what happened
        is found out before a successor writes to the registers."""
        event = _event(method, path, body)
        self._log.write_begins(values, time.monotonic_ns())
        answer = self._api.handler(event, FunctionContext())
        end_ns = time.monotonic_ns()
        if not 200 <= answer["statusCode"] < 300:
            self._fail(answer["statusCode"])
        self._log.write_acknowledged(end_ns)
        if random.random() < self._assignment.freezes:
            os.kill(os.getpid(), signal.SIGSTOP)
        content: dict[str, Any] = json.loads(answer.get("body") or "{}")
        return content

    def _fail(self, status: int) -> NoReturn:
        self._log.failed(status)
        os._exit(0)


def email_of(user_id: int) -> str:
    return f"user-{user_id}@example.com"


def prepare(subject: Subject) -> None:
    """Make the schema, and the users that are watched."""
    if subject == "project":
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
        for post_id in range(1, WATCHED_POSTS + 1):
            statement = "INSERT INTO posts (user_id, title, content) VALUES (%s, 'initial', '')"
            connection.execute(statement, (AUTHORS[post_id % len(AUTHORS)],))


def database_values(connection: psycopg.Connection[Any]) -> dict[str, str]:
    """The registers as they are in the database, without those that are absent."""
    users = connection.execute("SELECT id, name FROM users").fetchall()
    posts = connection.execute("SELECT id, user_id, title FROM posts").fetchall()
    named = {_user(user_id): name for user_id, name in users if user_id <= WATCHED_USERS}
    titled = {
        _post(post_id, author): title
        for post_id, author, title in posts
        if post_id <= WATCHED_POSTS
    }
    extra = Counter(_posts(author) for _, author, _ in posts if author > WATCHED_USERS)
    return {TOTAL: str(len(users)), POST_TOTAL: str(len(posts)), **named, **titled, **_shown(extra)}


def _values(page: Page, shown: dict[str, Any]) -> Values:
    """The registers that a page shows; a post that it lacks is no such author's."""
    if page.kind == "users":
        named = {_user(user["id"]): user["name"] for user in shown["data"]}
        watched = {name: value for name, value in named.items() if name in WATCHED}
        return {TOTAL: str(shown["total"]), **watched}
    if page.kind == "scoped" and page.author not in AUTHORS:
        assert page.author is not None
        return _shown({_posts(page.author): shown["total"]})
    total = {POST_TOTAL: str(shown["total"])} if page.kind == "posts" else {}
    authors = AUTHORS if page.author is None else (page.author,)
    lacking = {_post(id_, user): ABSENT for id_ in range(1, WATCHED_POSTS + 1) for user in authors}
    posts = [post for post in shown["data"] if post["id"] <= WATCHED_POSTS]
    titled = {_post(post["id"], post["user_id"]): post["title"] for post in posts}
    named = {_user(post["user_id"]): post["author"] for post in posts if "author" in post}
    return total | lacking | titled | named


def _extra_pages(page: Page, shown: dict[str, Any]) -> set[Page]:
    """The pages of the posts of users who come and go, and were there."""
    if page.kind != "users":
        return set()
    return {Page.of_user(user["id"]) for user in shown["data"] if user["id"] > WATCHED_USERS}


def _shown(numbers: Mapping[str, int]) -> dict[str, str]:
    return {name: str(number) if number else ABSENT for name, number in numbers.items()}


def _moment() -> str:
    """A version: it only grows, also over the worker's successors."""
    return str(time.monotonic_ns())


def _user(user_id: int) -> str:
    return f"user {user_id}"


def _post(post_id: int, user_id: int) -> str:
    """The post's title, while it is this user's."""
    return f"post {post_id} of {user_id}"


def _posts(user_id: int) -> str:
    """How many a user has."""
    return f"posts of {user_id}"


WATCHED = frozenset(map(_user, range(1, WATCHED_USERS + 1)))


def _event(method: str, target: str, body: object = None) -> dict[str, Any]:
    content = b"" if body is None else json.dumps(body).encode()
    headers = [("host", "api.test"), ("content-type", "application/json")]
    request = Request(method, target, headers, content, source_ip="127.0.0.1")
    return default_event(request, PORT)


class PostWithAuthor(BaseModel):
    id: int
    user_id: int
    title: str
    author: str


class PostsWithAuthors(BaseModel):
    data: list[PostWithAuthor]


def _load_project() -> Api:
    from shared.cache import fences, pages, scripts
    from shared.cache.pages import Loaded, PageCache
    from shared.request import ApiRequest

    watch = CacheWatch()

    fetch = PageCache.fetch

    async def fetch_and_note(
        self: PageCache,
        request: ApiRequest,
        page: str | None,
        load: Callable[[], Awaitable[Loaded]],
        scope: str = "",
    ) -> bytes:
        watch.hit = True

        async def load_and_note() -> Loaded:
            watch.hit = False
            return await load()

        return await fetch(self, request, page, load_and_note, scope)

    PageCache.fetch = fetch_and_note  # type: ignore[method-assign]
    for module in (fences, pages):
        module.FENCE_SECONDS = FENCE_SECONDS  # type: ignore[attr-defined]
    scripts.BREAKER_PAUSE_SECONDS = BREAKER_PAUSE_SECONDS
    handlers: dict[str, Handler] = {}
    for name in ("users", "posts"):
        handlers[name] = importlib.import_module(f"{name}.handler").handler
        # Imports it now, for all workers.
        assert importlib.import_module(f"{name}.queries").ITEM

    def handler(event: dict[str, Any], context: FunctionContext) -> dict[str, Any]:
        return handlers[event["rawPath"].split("/")[1]](event, context)

    joined = _posts_with_authors(PageCache("posts", PostsWithAuthors))
    return Api(handler, "PATCH", (*USERS_PAGES, *POSTS_PAGES), watch, joined)


def _posts_with_authors(cache: "PageCache") -> Callable[[int | None], Awaitable[bytes]]:
    from sqlalchemy import bindparam, select

    from shared.cache.pages import Loaded
    from shared.database import Reader, read
    from shared.database.models import posts, users
    from shared.request import ApiRequest

    columns = posts.c.id, posts.c.user_id, posts.c.title, users.c.name.label("author")
    everyone = select(*columns).join_from(posts, users).order_by(posts.c.id)
    of_one = everyone.where(posts.c.user_id == bindparam("of_user", type_=posts.c.user_id.type))

    async def query(reader: Reader, author: int | None) -> Loaded:
        statement = everyone if author is None else of_one
        rows = (await reader.execute(statement, {"of_user": author})).all()
        page = PostsWithAuthors(data=[PostWithAuthor(**row._mapping) for row in rows])
        return Loaded(page.model_dump_json().encode(), reader.depends_on, is_empty=not rows)

    async def fetch(author: int | None) -> bytes:
        scope = str(author or "")
        request = ApiRequest()
        return await cache.fetch(
            request, f"joined:{scope}", lambda: read(request, query, author), scope
        )

    return fetch


def _load_baseline() -> Api:
    app, watch = _baseline(), CacheWatch()
    get = app.cache.get

    async def get_and_note(key: str) -> Any:
        found = await get(key)
        watch.hit = found is not None
        return found

    app.cache.get = get_and_note
    return Api(app.handler, "PUT", USERS_PAGES, watch)


def _baseline() -> Any:
    # It imports the X-Ray SDK to disable it, which needs no such package here.
    sys.modules["aws_xray_sdk"] = sys.modules["aws_xray_sdk.core"] = MagicMock()
    return importlib.import_module("benchmarks.baseline.app")


class Nursery:
    """Forks workers, and ends those that it forked."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._api = _load_project() if subject == "project" else _load_baseline()
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
            case {"freeze": int(pid)}:
                self._signal(pid, signal.SIGSTOP)
            case {"thaw": int(pid)}:
                self._signal(pid, signal.SIGCONT)
            case _:
                return self._changes()
        return {}

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
            Worker(assignment, self._api).work()

        pid = _fork(work)
        self._running.add(pid)
        return pid

    def _kill(self, pid: int) -> None:
        if pid not in self._running:
            return
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        self._running.discard(pid)

    def _signal(self, pid: int, number: signal.Signals) -> None:
        if pid in self._running:
            os.kill(pid, number)

    def _changes(self) -> dict[str, list[int]]:
        ended, frozen = list[int](), list[int]()
        for pid in self._running:
            found, status = os.waitpid(pid, os.WNOHANG | os.WUNTRACED)
            if found == pid:
                (frozen if os.WIFSTOPPED(status) else ended).append(pid)
        self._running.difference_update(ended)
        return {"ended": ended, "frozen": frozen}


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
    # It warns of each session that PostgreSQL ended while its worker was frozen.
    logging.getLogger("psycopg").addHandler(logging.NullHandler())
    nursery = Nursery(subject)
    try:
        for line in sys.stdin:
            print(json.dumps(nursery.obey(json.loads(line))), flush=True)
    finally:
        nursery.end_all()


if __name__ == "__main__":
    main("project" if sys.argv[1] == "project" else "baseline")
