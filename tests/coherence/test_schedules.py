"""The real code on real servers, in the orders of events that break cache-aside.

Each actor is a task with connections of its own to PostgreSQL, and runs from gate to gate. A reader
has one after it read the database, a writer one before COMMIT (its fence stands) and one after.
What runs between the gates is `PageCache.fetch`, `Fences`, `read` and `transaction` unchanged.

A response is stale without a write that was acknowledged before the read began.
"""

import asyncio
import inspect
import os
import socket
from collections.abc import Callable, Coroutine, Iterator, Mapping, Set
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from functools import wraps
from typing import Any

import psycopg
import pytest
from pydantic import BaseModel
from sqlalchemy import select

from local.services import Services
from shared.cache import fences, pages
from shared.cache.fences import Fences
from shared.cache.health import check_redis as arrived
from shared.cache.pages import Loaded, PageCache
from shared.database import Reader, driver, read, transaction, transactions
from shared.database import connection as postgresql
from shared.database.connection import WorkerConnection
from shared.database.transactions import Invalidation
from shared.errors import NotFound, OutcomeUnknown
from tests.coherence.cache_aside import CacheAside, DeletedPages
from tests.conftest import Worker, url_without_timeouts
from tests.example.models import writers
from tests.example.writers import ITEM
from tests.transactions import REQUEST

PAGE = "1:10"
OTHER_PAGE = "1:20"
LONGEST_WAIT_SECONDS = 10.0
POLL_SECONDS = 0.005
COMMIT_LOCK = 7
UNNAMED = "unnamed"
TWO_WRITERS_WITHOUT_A_NAME = f"""
    INSERT INTO writers (name, email)
    VALUES ('{UNNAMED}', 'first@example.com'), ('{UNNAMED}', 'second@example.com')
"""

Client = Any
Database = psycopg.Connection[Any]
actor_number: ContextVar[int] = ContextVar("actor_number", default=0)


class Actor:
    """A reader or a writer under way, from one gate to another."""

    def __init__(self) -> None:
        self._gate: str | None = None
        self._arrived = asyncio.Event()
        self._released = asyncio.Event()
        self._task: asyncio.Task[Any] | None = None

    def begins(self, number: int, work: Coroutine[Any, Any, Any]) -> None:
        """It begins when it is first sent somewhere."""

        async def act() -> Any:
            await self._released.wait()
            return await work

        context = copy_context()
        context.run(actor_number.set, number)
        self._task = asyncio.create_task(act(), context=context)

    async def passes(self, gate: str) -> None:
        """Called by the actor's own code: waits here if this is where it was sent."""
        if gate != self._gate:
            return
        self._released.clear()
        self._arrived.set()
        await self._released.wait()

    async def reaches(self, gate: str) -> None:
        """Let the actor proceed, and return once it has reached the gate."""
        self._arrived.clear()
        self.proceed(gate)
        async with asyncio.timeout(LONGEST_WAIT_SECONDS):
            await self._arrived.wait()

    def proceed(self, gate: str | None = None) -> None:
        self._gate = gate
        self._released.set()

    async def ends(self) -> Any:
        """Return its response."""
        assert self._task is not None
        self.proceed()
        async with asyncio.timeout(LONGEST_WAIT_SECONDS):
            return await self._task


class Crashed(BaseException):
    """The process is gone: nothing is run after it."""


@dataclass
class Gates:
    """The gates of a writer; `crashes` when it passes the last."""

    invalidates: Invalidation
    actor: Actor
    crashes: bool

    def start(self, tables: Mapping[str, str | None]) -> None:
        self.invalidates.start(tables)

    async def ready(self, scopes: Mapping[str, Set[str] | None]) -> None:
        await self.invalidates.ready(scopes)
        await self.actor.passes("fenced")

    async def committed(self, scopes: Mapping[str, Set[str] | None]) -> None:
        await self.actor.passes("committed")
        if self.crashes:
            raise Crashed
        await self.invalidates.committed(scopes)

    async def rolled_back(self) -> None:
        await self.invalidates.rolled_back()


class Names(BaseModel):
    data: list[str]


class Stage:
    """The cache and the database on which the actors act."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.cache: PageCache | CacheAside = PageCache("writers", Names)
        self.sockets: list[int] = []
        self._actors = 0
        self._named = 0

    def reader(self, page: str = PAGE) -> Actor:
        """Its gate: `loaded`, after it read the database."""
        actor = Actor()

        async def load() -> Loaded:
            loaded = await names()
            await actor.passes("loaded")
            return loaded

        self._begin(actor, self.cache.fetch(REQUEST, page, load))
        return actor

    def writer(self, name: str, *, crashes: bool = False) -> Actor:
        """Names a writer. Its gates: `fenced`, before COMMIT, and `committed`, after."""
        actor = Actor()
        gates = Gates(self.invalidation(), actor, crashes)
        self._begin(actor, self._name_writer(name, gates))
        return actor

    async def read(self, page: str = PAGE) -> list[str]:
        """The response to a client that asks now."""
        return (await self.cache.fetch(REQUEST, page, names)).decode().split()

    async def name(self, name: str) -> None:
        """A write, acknowledged when this returns."""
        await self._name_writer(name, self.invalidation())

    async def name_unknown_writer(self) -> None:
        """A write that finds no writer, and raises `NotFound`."""
        async with transaction(REQUEST, self.invalidation()) as block:
            await ITEM.update(block, 4711, {"name": "eve"})

    def invalidation(self) -> Invalidation:
        return DeletedPages() if isinstance(self.cache, CacheAside) else Fences(REQUEST)

    async def _name_writer(self, name: str, invalidates: Invalidation) -> None:
        self._named += 1
        number = self._named
        async with transaction(REQUEST, invalidates) as block:
            self.sockets.append(block.driver.pgconn.socket)
            await ITEM.update(block, number, {"name": name})

    def _begin(self, actor: Actor, work: Coroutine[Any, Any, Any]) -> None:
        self._actors += 1
        actor.begins(self._actors, work)


async def names() -> Loaded:
    async def query(reader: Reader) -> Loaded:
        named = select(writers.c.name).where(writers.c.name != UNNAMED).order_by(writers.c.name)
        found = " ".join((await reader.execute(named)).scalars())
        return Loaded(found.encode(), reader.depends_on)

    return await read(REQUEST, query)


@pytest.fixture
def stage(worker: Worker, database: Database, cache: Client) -> Iterator[Stage]:
    """A stage with two writers to be named, where each actor has a connection of its own.

    Writes name writers instead of adding them, as those that overlap might share a row counter.
    """
    database.execute(TWO_WRITERS_WITHOUT_A_NAME)
    worker.restart(REDIS_TIMEOUT_SECONDS="1")  # the machine may be busy
    make_connection = inspect.unwrap(postgresql.worker_connection)
    connections: dict[int, WorkerConnection] = {}

    def worker_connection() -> WorkerConnection:
        number = actor_number.get()
        return connections.setdefault(number, connections.get(number) or make_connection())

    async def close() -> None:
        for made in connections.values():
            await made.close()

    new = Stage(worker)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transactions, "worker_connection", worker_connection)
        yield new
        worker.run(close())


Test = Callable[..., Coroutine[Any, Any, None]]


def schedule(test: Test) -> Callable[..., None]:
    """The test as one that pytest can run, in the worker's event loop."""

    @wraps(test)
    def run(stage: Stage, **fixtures: Any) -> None:
        stage.worker.run(test(stage, **fixtures))

    return run


async def read_after_an_overtaken_fill(stage: Stage) -> list[str]:
    """A reader that missed before a write fills after it."""
    await stage.name("ada")
    slow = stage.reader()
    await slow.reaches("loaded")
    await stage.name("bob")
    await slow.ends()
    return await stage.read()


@schedule
async def test_a_slow_reader_does_not_bring_an_old_page_back(stage: Stage) -> None:
    assert await read_after_an_overtaken_fill(stage) == ["ada", "bob"]


@schedule
async def test_cache_aside_is_stale_in_the_same_schedule(stage: Stage) -> None:
    stage.cache = CacheAside("writers")
    assert await read_after_an_overtaken_fill(stage) == ["ada"]


@schedule
async def test_a_page_from_before_a_write_is_not_revived_by_a_fill_of_another(stage: Stage) -> None:
    assert await stage.read(PAGE) == []
    await stage.name("ada")
    assert await stage.read(OTHER_PAGE) == ["ada"]
    assert await stage.read(PAGE) == ["ada"]


@schedule
async def test_a_page_that_was_read_between_fence_and_commit_is_not_kept(
    stage: Stage, cache: Client
) -> None:
    await stage.name("ada")
    writer = stage.writer("bob")
    await writer.reaches("fenced")
    reader = stage.reader()
    await reader.reaches("loaded")
    await writer.ends()

    assert await reader.ends() == b"ada"
    assert not cache.exists(f"writers:{PAGE}")
    assert await stage.read() == ["ada", "bob"]


@pytest.mark.parametrize(("gate", "there"), [("fenced", []), ("committed", ["ada"])])
@schedule
async def test_a_page_from_before_the_fence_is_not_served_while_it_stands(
    stage: Stage, gate: str, there: list[str]
) -> None:
    reader = stage.reader()
    await reader.reaches("loaded")
    writer = stage.writer("ada")
    await writer.reaches(gate)
    await reader.ends()

    assert await stage.read() == there
    await writer.ends()
    assert await stage.read() == ["ada"]


@schedule
async def test_a_write_that_is_rolled_back_leaves_the_pages_as_they_were(
    stage: Stage, cache: Client
) -> None:
    await stage.name("ada")
    assert await stage.read() == ["ada"]
    await arrived()
    before = cache.get(f"writers:{PAGE}"), cache.hmget("generations", "writers", "writers|all")
    with pytest.raises(NotFound):
        await stage.name_unknown_writer()

    await arrived()
    assert (
        cache.get(f"writers:{PAGE}"),
        cache.hmget("generations", "writers", "writers|all"),
    ) == before
    assert not cache.exists("fences")


@schedule
async def test_after_commit_no_page_is_older_than_another_though_nothing_is_acknowledged(
    stage: Stage,
) -> None:
    await stage.name("ada")
    assert await stage.read(PAGE) == ["ada"]
    writer = stage.writer("bob")
    await writer.reaches("committed")

    assert await stage.read(OTHER_PAGE) == ["ada", "bob"]
    assert await stage.read(PAGE) == ["ada", "bob"]
    await writer.ends()


@schedule
async def test_cache_aside_goes_back_in_time_in_the_same_schedule(stage: Stage) -> None:
    stage.cache = CacheAside("writers")
    await stage.name("ada")
    assert await stage.read(PAGE) == ["ada"]
    writer = stage.writer("bob")
    await writer.reaches("committed")

    assert await stage.read(OTHER_PAGE) == ["ada", "bob"]
    assert await stage.read(PAGE) == ["ada"]
    await writer.ends()


@schedule
async def test_a_writer_that_ends_first_does_not_open_the_cache_for_the_other(
    stage: Stage, cache: Client
) -> None:
    slow = stage.writer("ada")
    await slow.reaches("fenced")
    await stage.name("bob")
    reader = stage.reader()
    await reader.reaches("loaded")
    await slow.reaches("committed")
    assert await reader.ends() == b"bob"
    assert not cache.exists(f"writers:{PAGE}")

    assert await stage.read() == ["ada", "bob"]
    await slow.ends()
    assert await stage.read() == ["ada", "bob"]


@schedule
async def test_each_of_two_writers_at_once_is_seen_when_it_is_acknowledged(stage: Stage) -> None:
    first, second = stage.writer("ada"), stage.writer("bob")
    await first.reaches("fenced")
    await second.reaches("fenced")
    await first.reaches("committed")
    await second.ends()
    assert "bob" in await stage.read()
    await first.ends()
    assert sorted(await stage.read()) == ["ada", "bob"]


@schedule
async def test_a_writer_that_crashed_after_commit_is_seen_at_once_and_ever_after(
    stage: Stage, cache: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fences, "FENCE_SECONDS", 1.0)
    assert await stage.read() == []
    writer = stage.writer("ada", crashes=True)
    await writer.reaches("committed")
    with pytest.raises(Crashed):
        await writer.ends()

    assert cache.exists("fences")
    assert await stage.read() == ["ada"]
    await asyncio.sleep(1.01)
    assert [await stage.read(), await stage.read()] == [["ada"], ["ada"]]
    assert cache.exists(f"writers:{PAGE}")
    assert not cache.exists("fences")


@schedule
async def test_a_commit_that_arrives_after_its_writer_gave_up_is_seen_when_it_is_there(
    stage: Stage, database: Database, cache: Client, late_commits: None
) -> None:
    """The writer's connection breaks while COMMIT waits in the server."""
    database.execute(f"SELECT pg_advisory_lock({COMMIT_LOCK})")
    writer = stage.writer("late")
    await writer.reaches("fenced")
    writer.proceed()
    await committing(database)
    break_connection(stage.sockets[0])
    with pytest.raises(OutcomeUnknown):
        await writer.ends()

    assert [await stage.read(), await stage.read()] == [[], []]
    assert not cache.exists(f"writers:{PAGE}")
    database.execute(f"SELECT pg_advisory_unlock({COMMIT_LOCK})")
    await committed(database, "late")
    assert await stage.read() == ["late"]


@pytest.mark.usefixtures("without_timeouts")
@schedule
async def test_a_commit_that_stalls_is_given_up_before_its_fence_is_whatever_the_database_sets(
    stage: Stage,
    database: Database,
    cache: Client,
    late_commits: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else the page that is filled when the fence is gone would miss the commit that follows."""
    monkeypatch.setattr(fences, "FENCE_SECONDS", 1.0)
    monkeypatch.setitem(driver.TIMEOUTS, "transaction_timeout", "500ms")
    database.execute(f"SELECT pg_advisory_lock({COMMIT_LOCK})")
    writer = stage.writer("late")
    await writer.reaches("fenced")
    writer.proceed()
    await committing(database)
    break_connection(stage.sockets[0])
    with pytest.raises(OutcomeUnknown):
        await writer.ends()

    await becomes_true(lambda: not cache.zcount("fences", redis_now(cache), "inf"))
    assert await stage.read() == []
    assert cache.exists(f"writers:{PAGE}")
    database.execute(f"SELECT pg_advisory_unlock({COMMIT_LOCK})")
    await no_session_is_writing(database)
    assert await stage.read() == (await names()).content.decode().split()


@schedule
async def test_a_fill_after_its_lease_ran_out_does_not_bring_an_old_page_back(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "LEASE_SECONDS", 0.05)
    slow = stage.reader()
    await slow.reaches("loaded")
    await asyncio.sleep(0.06)
    await stage.name("ada")
    assert await stage.read() == ["ada"]
    assert await slow.ends() == b""
    assert await stage.read() == ["ada"]


@schedule
async def test_a_flush_between_fence_and_commit_leaves_nothing_stale(
    stage: Stage, cache: Client
) -> None:
    writer = stage.writer("ada")
    await writer.reaches("fenced")
    cache.flushall()
    assert await stage.read() == []
    await arrived()
    assert not cache.exists(f"writers:{PAGE}")  # the quarantine
    await writer.ends()
    assert await stage.read() == ["ada"]


@schedule
async def test_a_flush_after_a_write_does_not_let_an_old_page_in(
    stage: Stage, cache: Client
) -> None:
    slow = stage.reader()
    await slow.reaches("loaded")
    await stage.name("ada")
    cache.flushall()
    assert await stage.read(OTHER_PAGE) == ["ada"]
    assert await slow.ends() == b""
    assert await stage.read() == ["ada"]


@pytest.fixture
def without_timeouts(worker: Worker, services: Services) -> None:
    """PostgreSQL as it is after the restore of a dump."""
    worker.restart(DATABASE_URL=url_without_timeouts(services))


@pytest.fixture
def late_commits(database: Database) -> Iterator[None]:
    """COMMIT of writers waits in the server while a session holds COMMIT_LOCK."""
    database.execute(
        f"""
        CREATE FUNCTION wait_at_commit() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_advisory_xact_lock({COMMIT_LOCK}); RETURN NULL; END $$;
        CREATE CONSTRAINT TRIGGER waits_at_commit AFTER UPDATE ON writers
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_at_commit()
        """
    )
    yield
    database.execute("SELECT pg_advisory_unlock_all()")
    database.execute("DROP FUNCTION wait_at_commit CASCADE")


async def committing(database: Database) -> None:
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    await becomes_true(lambda: database.execute(waiting).fetchone() == (1,))


async def no_session_is_writing(database: Database) -> None:
    writing = "SELECT count(*) FROM pg_stat_activity WHERE backend_xid IS NOT NULL"
    await becomes_true(lambda: database.execute(writing).fetchone() == (0,))


def redis_now(cache: Client) -> int:
    """In milliseconds, as fences are scored."""
    seconds, microseconds = cache.time()
    return int(seconds * 1000 + microseconds / 1000)


async def committed(database: Database, name: str) -> None:
    found = "SELECT count(*) FROM writers WHERE name = %s"
    await becomes_true(lambda: database.execute(found, [name]).fetchone() == (1,))


async def becomes_true(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LONGEST_WAIT_SECONDS):
        while not condition():  # noqa: ASYNC110 (another process's condition)
            await asyncio.sleep(POLL_SECONDS)


def break_connection(file_descriptor: int) -> None:
    """Break the connection as a network does: the server notices when it next sends."""
    with socket.socket(fileno=os.dup(file_descriptor)) as connection:
        connection.shutdown(socket.SHUT_RDWR)
