"""Workers as processes: they call a handler with events, one at a time, as Lambda does.

    python -m tests.coherence.worker_process project|aside

imports the handler once and then forks a worker for each `start`, which takes milliseconds instead
of an import. Commands and responses are lines of JSON on stdin and stdout:

    {"prepare": true}           {}           the schema that `DATABASE_URL` lacks, and its writers
    {"start": {…Assignment…}}   {"pid": …}
    {"kill": pid}               {}           by SIGKILL, and reaped, so that its PID is free
    {"freeze": pid}             {}           by SIGSTOP
    {"thaw": pid}               {}           by SIGCONT
    {"changes": true}           {"ended": […], "frozen": […]}   PIDs, each reported once

All workers end with the process. The system under test is the tests' example, on the layer or on
cache-aside. What a worker logs on stdout is dropped. A worker may freeze itself right after a
write's response (`Assignment.freezes`), as Lambda freezes an execution environment.

Writers are renamed, articles are renamed and moved between writers, and extra ones are created and
deleted, a writer with its articles. Pages of articles with their author's name have no route: they
are read as by a route, by the layer's `read` and `PageCache`.

Some times are shorter than in a deployment. A fence expires after 1 s instead of 20 s, a
transaction after 0.6 s instead of 9 s: the fences of killed writers would otherwise overlap, and
nothing would be cached. A fence still outlives its transaction, as it is set after BEGIN. The
circuit is open for 0.2 s instead of 2 s after a failure of Redis, as there are many.
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

import psycopg
from pydantic import BaseModel

from local.gateway.events import Request, default_event
from tests.coherence.cache_aside import use_cache_aside
from tests.coherence.history import ABSENT
from tests.coherence.operation_log import OperationLog
from tests.example import ROUTES
from tests.example.models import create_tables
from tests.in_process import LambdaContext

if TYPE_CHECKING:
    from shared.cache.pages import PageCache

FENCE_SECONDS = 1.0
BREAKER_PAUSE_SECONDS = 0.2
TRANSACTION_TIMEOUT = "600ms"
WRITERS = 12
"""Ids 1 to 12 are renamed; later writers are created and deleted, with their articles."""
AUTHORS = (1, 2, 3)
ARTICLES = 6
"""Ids 1 to 6 are renamed, and move between the authors."""
MOST_EXTRA_WRITERS = 5
MOST_EXTRA_ARTICLES = 3
"""Of each extra writer."""
REMEMBERED_WRITERS = 3
"""Extra writers whose articles a reader requests, even after their deletion."""
TOTAL = "writers"
ARTICLE_TOTAL = "articles"
WRITER_PAGES = ("/writers?limit=10", "/writers?skip=10&limit=10", "/writers?limit=20")
ALL_ARTICLES = "/articles?limit=50"
WITH_AUTHORS = "articles with authors"
"""No path."""
PORT = 3000
PAUSE_POLL_SECONDS = 0.005

Subject = Literal["project", "aside"]
Role = Literal["reader", "renamer", "mover", "counter"]
Handler = Callable[[dict[str, Any], "FunctionContext"], dict[str, Any]]
Values = Mapping[str, str]


@dataclass(frozen=True)
class Assignment:
    """A worker's task: a renamer changes `writers`, a mover `articles`, a counter `extra_writers`.

    About `pause_reads` reads of all workers are between two of its writes. It freezes itself after
    a share `freezes` of its writes.
    """

    name: str
    role: Role
    log: str
    writers: tuple[int, ...] = ()
    articles: tuple[int, ...] = ()
    extra_writers: tuple[tuple[int, tuple[int, ...]], ...] = ()
    pause_reads: float = 0.0
    freezes: float = 0.0


@dataclass(frozen=True)
class Page:
    """A page that readers read: where it is, what it shows, and of which writer if not of all."""

    target: str
    kind: Literal["writers", "articles", "scoped", "joined"]
    author: int | None = None

    @classmethod
    def of_writer(cls, writer_id: int) -> "Page":
        return cls(f"/articles?writer_id={writer_id}&limit=50", "scoped", writer_id)


WRITERS_PAGES = tuple(Page(target, "writers") for target in WRITER_PAGES)
ARTICLES_PAGES = (
    Page(ALL_ARTICLES, "articles"),
    *map(Page.of_writer, AUTHORS),
    *(Page(WITH_AUTHORS, "joined", author) for author in (None, *AUTHORS)),
)


class FunctionContext(LambdaContext):
    """With what Powertools' decorators ask for as well."""

    function_name = "writers"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:writers"


class CacheWatch:
    """Whether the latest response came from the cache."""

    hit = False


@dataclass(frozen=True)
class Api:
    """The API that workers call. `joined` returns the articles with their authors, all or one's."""

    handler: Handler
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
                self._rename_writers()
            case "mover":
                self._move_articles()
            case "counter":
                self._create_and_delete()

    def _read_pages(self) -> NoReturn:
        contents: dict[Page, tuple[str, int]] = {}
        extra = deque[Page](maxlen=REMEMBERED_WRITERS if self._api.joined else 0)
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
        response = self._call("GET", page.target)
        return response["statusCode"], response["body"]

    def _call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        return self._api.handler(_event(method, path, body), FunctionContext())

    def _rename_writers(self) -> NoReturn:
        while True:
            writer_id = random.choice(self._assignment.writers)
            self._pause()
            name = _moment()
            path = f"/writers/{writer_id}"
            self._write({_writer(writer_id): name}, "PATCH", path, {"name": name})

    def _move_articles(self) -> NoReturn:
        """Each is given a new title, and perhaps a new author."""
        authors = {article_id: self._author(article_id) for article_id in self._assignment.articles}
        while True:
            article_id = random.choice(self._assignment.articles)
            self._pause()
            before, after, title = authors[article_id], random.choice(AUTHORS), _moment()
            values = {_article(article_id, before): ABSENT, _article(article_id, after): title}
            body: dict[str, object] = {"title": title}
            method = random.choice(("PUT", "PATCH"))
            if method == "PUT":
                body["content"] = "replaced"
            if method == "PUT" or before != after:
                body["writer_id"] = after
            self._write(values, method, f"/articles/{article_id}", body)
            authors[article_id] = after

    def _author(self, article_id: int) -> int:
        response = self._call("GET", f"/articles/{article_id}")
        if response["statusCode"] != 200:
            self._fail(response["statusCode"])
        author: int = json.loads(response["body"])["writer_id"]
        return author

    def _create_and_delete(self) -> NoReturn:
        present = {writer: list(articles) for writer, articles in self._assignment.extra_writers}
        while True:
            self._pause()
            writer = random.choice((*present, None))
            if writer is None and len(present) < MOST_EXTRA_WRITERS:
                self._add_writer(present)
            elif writer is not None:
                self._change_articles(present, writer)

    def _add_writer(self, present: dict[int, list[int]]) -> None:
        body = {"name": "extra", "email": f"{_moment()}@example.com"}
        values = {TOTAL: str(WRITERS + len(present) + 1)}
        present[self._write(values, "POST", "/writers", body)["id"]] = []

    def _change_articles(self, present: dict[int, list[int]], writer: int) -> None:
        """Create or delete an article of an extra writer, or delete the writer with all of them."""
        own = present[writer]
        writers, articles = WRITERS + len(present), ARTICLES + sum(map(len, present.values()))
        if random.random() < 1 / (2 + MOST_EXTRA_ARTICLES):
            left = {TOTAL: writers - 1, ARTICLE_TOTAL: articles - len(own), _articles(writer): 0}
            self._write(_shown(left), "DELETE", f"/writers/{writer}")
            del present[writer]
        elif len(own) < MOST_EXTRA_ARTICLES and random.random() < 0.7:
            values = _shown({ARTICLE_TOTAL: articles + 1, _articles(writer): len(own) + 1})
            body = {"writer_id": writer, "title": "extra", "content": "extra"}
            own.append(self._write(values, "POST", "/articles", body)["id"])
        elif own:
            values = _shown({ARTICLE_TOTAL: articles - 1, _articles(writer): len(own) - 1})
            self._write(values, "DELETE", f"/articles/{own[-1]}")
            own.pop()

    def _pause(self) -> None:
        """Until there were some reads: how many find a cached page does not depend on how fast the
        machine is."""
        ends_at = self._api.reads[0] + random.uniform(0, 2 * self._assignment.pause_reads)
        while self._api.reads[0] < ends_at:
            time.sleep(PAUSE_POLL_SECONDS)

    def _write(self, values: Values, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Return the response's body. Ends the worker if the write is not acknowledged: its outcome
        is looked up before a successor writes to the registers."""
        event = _event(method, path, body)
        self._log.write_begins(values, time.monotonic_ns())
        response = self._api.handler(event, FunctionContext())
        end_ns = time.monotonic_ns()
        if not 200 <= response["statusCode"] < 300:
            self._fail(response["statusCode"])
        self._log.write_acknowledged(end_ns)
        if random.random() < self._assignment.freezes:
            os.kill(os.getpid(), signal.SIGSTOP)
        content: dict[str, Any] = json.loads(response.get("body") or "{}")
        return content

    def _fail(self, status: int) -> NoReturn:
        self._log.failed(status)
        os._exit(0)


def email_of(writer_id: int) -> str:
    return f"writer-{writer_id}@example.com"


def prepare() -> None:
    """Make the schema, and the writers that are watched."""
    importlib.import_module("migrations.handler").handler({}, None)
    create_tables()
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        # The names are the subject's own and no input.
        name = connection.info.dbname
        connection.execute(
            f"ALTER DATABASE {name} SET transaction_timeout = '{TRANSACTION_TIMEOUT}'"
        )
        for writer_id in range(1, WRITERS + 1):
            values = ("initial", email_of(writer_id))
            connection.execute("INSERT INTO writers (name, email) VALUES (%s, %s)", values)
        for article_id in range(1, ARTICLES + 1):
            statement = (
                "INSERT INTO articles (writer_id, title, content) VALUES (%s, 'initial', '')"
            )
            connection.execute(statement, (AUTHORS[article_id % len(AUTHORS)],))


def database_values(connection: psycopg.Connection[Any]) -> dict[str, str]:
    """The registers as they are in the database, without those that are absent."""
    writers = connection.execute("SELECT id, name FROM writers").fetchall()
    articles = connection.execute("SELECT id, writer_id, title FROM articles").fetchall()
    named = {_writer(writer_id): name for writer_id, name in writers if writer_id <= WRITERS}
    titled = {
        _article(article_id, author): title
        for article_id, author, title in articles
        if article_id <= ARTICLES
    }
    extra = Counter(_articles(author) for _, author, _ in articles if author > WRITERS)
    totals = {TOTAL: str(len(writers)), ARTICLE_TOTAL: str(len(articles))}
    return {**totals, **named, **titled, **_shown(extra)}


def _values(page: Page, shown: dict[str, Any]) -> Values:
    """The registers that a page shows; an article that it lacks is no such author's."""
    if page.kind == "writers":
        named = {_writer(writer["id"]): writer["name"] for writer in shown["data"]}
        watched = {name: value for name, value in named.items() if name in WATCHED}
        return {TOTAL: str(shown["total"]), **watched}
    if page.kind == "scoped" and page.author not in AUTHORS:
        assert page.author is not None
        return _shown({_articles(page.author): shown["total"]})
    total = {ARTICLE_TOTAL: str(shown["total"])} if page.kind == "articles" else {}
    authors = AUTHORS if page.author is None else (page.author,)
    lacking = {
        _article(one, author): ABSENT for one in range(1, ARTICLES + 1) for author in authors
    }
    articles = [one for one in shown["data"] if one["id"] <= ARTICLES]
    titled = {_article(one["id"], one["writer_id"]): one["title"] for one in articles}
    named = {_writer(one["writer_id"]): one["author"] for one in articles if "author" in one}
    return total | lacking | titled | named


def _extra_pages(page: Page, shown: dict[str, Any]) -> set[Page]:
    """The pages of the articles of the extra writers that a page shows."""
    if page.kind != "writers":
        return set()
    return {Page.of_writer(writer["id"]) for writer in shown["data"] if writer["id"] > WRITERS}


def _shown(numbers: Mapping[str, int]) -> dict[str, str]:
    return {name: str(number) if number else ABSENT for name, number in numbers.items()}


def _moment() -> str:
    """A version: it only grows, also over the worker's successors."""
    return str(time.monotonic_ns())


def _writer(writer_id: int) -> str:
    return f"writer {writer_id}"


def _article(article_id: int, writer_id: int) -> str:
    """The article's title, while it is this writer's."""
    return f"article {article_id} of {writer_id}"


def _articles(writer_id: int) -> str:
    """How many a writer has."""
    return f"articles of {writer_id}"


WATCHED = frozenset(map(_writer, range(1, WRITERS + 1)))


def _event(method: str, target: str, body: object = None) -> dict[str, Any]:
    content = b"" if body is None else json.dumps(body).encode()
    headers = [("host", "api.test"), ("content-type", "application/json")]
    request = Request(method, target, headers, content, source_ip="127.0.0.1")
    return default_event(request, PORT)


class ArticleWithAuthor(BaseModel):
    id: int
    writer_id: int
    title: str
    author: str


class ArticlesWithAuthors(BaseModel):
    data: list[ArticleWithAuthor]


def _load(subject: Subject) -> Api:
    from shared.cache import fences, pages, scripts
    from shared.cache.pages import Loaded, PageCache
    from shared.request import ApiRequest

    if subject == "aside":
        use_cache_aside()
    watch, fetch = CacheWatch(), PageCache.fetch

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
    # Imported now, for all workers.
    handlers = {path: importlib.import_module(name).handler for path, name in ROUTES.items()}

    def handler(event: dict[str, Any], context: FunctionContext) -> dict[str, Any]:
        response: dict[str, Any] = handlers["/" + event["rawPath"].split("/")[1]](event, context)
        return response

    if subject == "aside":
        return Api(handler, WRITERS_PAGES, watch)
    joined = _articles_with_authors(PageCache("articles", ArticlesWithAuthors))
    return Api(handler, (*WRITERS_PAGES, *ARTICLES_PAGES), watch, joined)


def _articles_with_authors(cache: "PageCache") -> Callable[[int | None], Awaitable[bytes]]:
    from sqlalchemy import bindparam, select

    from shared.cache.pages import Loaded
    from shared.database import Reader, read
    from shared.request import ApiRequest
    from tests.example.models import articles, writers

    columns = articles.c.id, articles.c.writer_id, articles.c.title, writers.c.name.label("author")
    everyone = select(*columns).join_from(articles, writers).order_by(articles.c.id)
    of_one = everyone.where(articles.c.writer_id == bindparam("author", type_=writers.c.id.type))

    async def query(reader: Reader, author: int | None) -> Loaded:
        statement = everyone if author is None else of_one
        rows = (await reader.execute(statement, {"author": author})).all()
        page = ArticlesWithAuthors(data=[ArticleWithAuthor(**row._mapping) for row in rows])
        return Loaded(page.model_dump_json().encode(), reader.depends_on, is_empty=not rows)

    async def fetch(author: int | None) -> bytes:
        scope = str(author or "")
        request = ApiRequest()
        return await cache.fetch(
            request, f"joined:{scope}", lambda: read(request, query, author), scope
        )

    return fetch


class Nursery:
    """Forks workers, and ends them."""

    def __init__(self, subject: Subject) -> None:
        self._api = _load(subject)
        self._running: set[int] = set()

    def execute(self, command: dict[str, Any]) -> dict[str, Any]:
        match command:
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
        _, status = os.waitpid(_fork(prepare), 0)
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
    """Return the PID of a new process that does the work and ends."""
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
            print(json.dumps(nursery.execute(json.loads(line))), flush=True)
    finally:
        nursery.end_all()


if __name__ == "__main__":
    main("project" if sys.argv[1] == "project" else "aside")
