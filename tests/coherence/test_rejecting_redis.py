"""A Redis that rejects writes, or has lost some, serves no page from before an acknowledged write.

Several workers act in turn on one list, each with its own connection to a real Redis. The database
is a variable.
"""

import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path

import pytest
import redis
from pydantic import BaseModel

from local.services.valkey import end_quarantine
from shared.cache import fences, pages, redis_connection
from shared.cache.fences import Fences
from shared.cache.pages import Loaded, PageCache
from shared.cache.redis_connection import Call, Script
from shared.cache.scripts import RedisScripts
from shared.request import Record
from tests.conftest import Worker
from tests.failures.proxy import FailingProxy, Failure
from tests.transactions import REQUEST
from tests.valkey import ValkeyServer, until


class Things(BaseModel):
    data: list[int]


PAGES = PageCache("things", Things)
PAGE = "1:10"
TIMEOUT_SECONDS = 1.0
POLL_SECONDS = 0.02
CLEARING = b"ZREM"
"""In the text of the script, as it is sent."""
FENCE_SECONDS = 0.5
"""So long is a server that forgot, or was promoted, in quarantine."""


class Fleet:
    """Workers of one deployment, made when they first act."""

    def __init__(self, worker: Worker, url: str, patch: pytest.MonkeyPatch) -> None:
        self.url = url
        self.content = 0
        self._worker = worker
        self._patch = patch
        self._redis: dict[str, RedisScripts] = {}

    def write(
        self, name: str, at_commit: Callable[[], object] = lambda: None, table: str = "things"
    ) -> None:
        """Acknowledged when this returns; `at_commit` happens when the fence stands."""

        fenced = Fences(REQUEST)

        async def fence() -> None:
            fenced.start({table: None})
            await fenced.ready({table: None})

        with self._acting(name):
            self._worker.run(fence())
        at_commit()
        self.content += table == "things"
        with self._acting(name):
            self._worker.run(fenced.committed({table: None}))

    def read_in_quarantine(self, name: str) -> str | None:
        """How the cache was used after a quarantine, in which it is not."""
        assert self.read(name) == "bypass"
        while (outcome := self.read(name)) == "bypass":
            time.sleep(POLL_SECONDS)
        return outcome

    def read(self, name: str) -> str | None:
        """How the cache was used; what is read is never stale."""

        async def load() -> Loaded:
            return Loaded(str(self.content).encode(), {"things": ""})

        REQUEST.record = record = Record()
        with self._acting(name):
            found = self._worker.run(PAGES.fetch(REQUEST, PAGE, load))
        assert int(found) == self.content
        return record.cache

    def resume(self) -> None:
        """All wait until they would ask Redis again."""
        for scripts in self._redis.values():
            scripts.breaker = type(scripts.breaker)(scripts.breaker.pause_seconds)

    def close(self) -> None:
        for scripts in self._redis.values():
            self._worker.run(scripts.connection.close())

    @contextmanager
    def _acting(self, name: str) -> Iterator[None]:
        if name not in self._redis:
            self._redis[name] = RedisScripts(self.url, TIMEOUT_SECONDS)
        for module in (fences, pages):
            self._patch.setattr(module, "redis_scripts", lambda: self._redis[name])
        yield


Start = Callable[[str], Fleet]


@pytest.fixture
def start(worker: Worker) -> Iterator[Start]:
    """Starts the fleet of a deployment with this Redis."""
    fleets: list[Fleet] = []
    with pytest.MonkeyPatch.context() as patch:
        for module in (fences, pages):
            patch.setattr(module, "FENCE_SECONDS", FENCE_SECONDS)

        def start(url: str) -> Fleet:
            with redis.Redis.from_url(url) as client:
                end_quarantine(client)
            fleets.append(Fleet(worker, url, patch))
            return fleets[-1]

        yield start
        for fleet in fleets:
            fleet.close()


@pytest.fixture
def first(tmp_path: Path) -> Iterator[ValkeyServer]:
    with ValkeyServer(tmp_path / "first") as server:
        yield server


@pytest.fixture
def second(tmp_path: Path, first: ValkeyServer) -> Iterator[ValkeyServer]:
    """The replica of the first."""
    with ValkeyServer(tmp_path / "second") as server:
        server.follow(first)
        yield server


@pytest.fixture
def name(first: ValkeyServer) -> Iterator[FailingProxy]:
    """The address of new connections, which leads to the first server until a test changes it."""
    with FailingProxy(first.socket) as proxy:
        yield proxy


def url_of(name: FailingProxy) -> str:
    return f"redis://127.0.0.1:{name.port}/0"


def caught_up(primary: ValkeyServer, replica: ValkeyServer) -> bool:
    offset = primary.replication()["master_repl_offset"]
    return bool(replica.replication()["slave_repl_offset"] == offset)


def test_a_reader_leaves_a_demoted_primary(
    start: Start, first: ValkeyServer, second: ValkeyServer, name: FailingProxy
) -> None:
    fleet = start(url_of(name))
    assert [fleet.read("stays"), fleet.read("stays")] == ["miss", "hit"]
    until(lambda: caught_up(first, second))
    first.demote()
    second.promote()
    name.server_path = second.socket
    fleet.write("begins after the failover")

    assert [fleet.read_in_quarantine("stays"), fleet.read("stays")] == ["miss", "hit"]
    assert fleet.read("begins after the failover") == "hit"


def test_a_writer_moves_in_the_midst_of_a_write(
    start: Start, first: ValkeyServer, second: ValkeyServer, name: FailingProxy
) -> None:
    fleet = start(url_of(name))
    fleet.write("writer")
    first.demote()
    second.promote()
    name.server_path = second.socket
    assert [fleet.read_in_quarantine("reader"), fleet.read("reader")] == ["miss", "hit"]
    fleet.write("writer")
    assert fleet.read("reader") == "miss"


def test_a_replica_that_lacks_the_latest_invalidation_serves_nothing_after_its_promotion(
    start: Start, first: ValkeyServer, second: ValkeyServer, name: FailingProxy
) -> None:
    fleet = start(url_of(name))
    fleet.read("reader")
    until(lambda: caught_up(first, second))
    second.demote()
    fleet.write("writer")
    first.kill()
    second.promote()
    name.server_path = second.socket
    assert second.command("EXISTS", "generations", f"things:{PAGE}") == 2

    assert [fleet.read_in_quarantine("reader"), fleet.read("reader")] == ["miss", "hit"]


def test_a_snapshot_from_before_an_invalidation_serves_nothing(
    start: Start, tmp_path: Path
) -> None:
    with ValkeyServer(tmp_path / "snapshots", "--save", "3600 1") as server:
        fleet = start(server.url)
        fleet.read("reader")
        server.command("SAVE")
        fleet.write("writer")
        server.kill()
        server.start()
        assert server.command("EXISTS", "generations", f"things:{PAGE}") == 2

        assert [fleet.read_in_quarantine("reader"), fleet.read("reader")] == ["miss", "hit"]


@contextmanager
def demoted(server: ValkeyServer) -> Iterator[None]:
    server.demote()
    yield
    server.promote()


@contextmanager
def denying_by_acl(server: ValkeyServer) -> Iterator[None]:
    server.deny_writes()
    yield
    server.allow_writes()


@contextmanager
def without_a_replica(server: ValkeyServer) -> Iterator[None]:
    server.command("CONFIG", "SET", "min-replicas-to-write", "1")
    yield
    server.command("CONFIG", "SET", "min-replicas-to-write", "0")


@contextmanager
def without_a_disk(server: ValkeyServer) -> Iterator[None]:
    shutil.rmtree(server.data)
    server.command("CONFIG", "SET", "save", "3600 1")
    server.command("BGSAVE")
    until(lambda: server.command("INFO", "persistence")["rdb_last_bgsave_status"] == "err")
    yield
    server.command("CONFIG", "SET", "stop-writes-on-bgsave-error", "no")


Rejection = Callable[[ValkeyServer], AbstractContextManager[None]]
REJECTIONS = [demoted, denying_by_acl, without_a_replica, without_a_disk]


@pytest.mark.parametrize("rejection", REJECTIONS)
def test_a_redis_that_rejects_writes_serves_nothing_and_then_nothing_old(
    start: Start, first: ValkeyServer, rejection: Rejection
) -> None:
    fleet = start(first.url)
    assert [fleet.read("reader"), fleet.read("other")] == ["miss", "hit"]
    with rejection(first):
        fleet.write("writer")
        assert [fleet.read("reader"), fleet.read("other")] == ["error", "error"]
        assert [fleet.read("reader"), fleet.read("other")] == ["bypass", "bypass"]
        assert fleet.read("begins meanwhile") == "error"
    fleet.resume()
    # The writer never comes back; a reader that was rejected knows enough.
    first_read = fleet.read_in_quarantine if rejection is demoted else fleet.read
    assert [first_read("reader"), fleet.read("other")] == ["miss", "miss"]


def test_a_connection_ends_that_met_no_error(
    start: Start,
    first: ValkeyServer,
    second: ValkeyServer,
    name: FailingProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The name leads to another server, while the old one stays as it was."""
    monkeypatch.setattr(redis_connection, "CONNECTION_SECONDS", 0.0)
    fleet = start(url_of(name))
    fleet.read("reader")
    second.promote()
    name.server_path = second.socket
    fleet.write("writer")
    assert fleet.read("reader") == "bypass"


def test_a_hit_is_not_replicated(start: Start, first: ValkeyServer, second: ValkeyServer) -> None:
    fleet = start(first.url)
    fleet.read("reader")
    until(lambda: caught_up(first, second))
    before = first.command("INFO", "persistence")["rdb_changes_since_last_save"]
    assert [fleet.read("reader") for _ in range(10)] == ["hit"] * 10
    after = first.command("INFO", "persistence")["rdb_changes_since_last_save"]
    assert after == before


def test_a_full_redis_serves_nothing_old(start: Start, first: ValkeyServer) -> None:
    fleet = start(first.url)
    fleet.read("reader")

    first.command("CONFIG", "SET", "maxmemory", "1")
    assert fleet.read("reader") == "hit"
    fleet.write("writer")
    assert fleet.read("reader") == "bypass"
    first.command("CONFIG", "SET", "maxmemory", "0")
    fleet.resume()
    assert [fleet.read_in_quarantine("reader"), fleet.read("reader")] == ["miss", "hit"]


def test_a_write_that_outlived_its_fence_is_acknowledged_when_its_pages_are_void(
    start: Start, first: ValkeyServer, name: FailingProxy
) -> None:
    """Frozen between fence and BEGIN, where no timeout of the database ends it."""
    fleet = start(url_of(name))
    fleet.write("writer")
    fleet.url = first.url  # the writer alone is behind the proxy

    def frozen() -> None:
        time.sleep(1.1 * FENCE_SECONDS)
        assert fleet.read("reader") == "miss"  # finds the fence expired
        name.call_when_client_sends(CLEARING, lambda: time.sleep(0.3))

    fleet.write("writer", at_commit=frozen)
    assert fleet.read("other") == "miss"


@pytest.mark.parametrize("expired", [False, True])
def test_a_worker_that_finds_a_sent_command_rejected_trusts_no_page(
    start: Start, first: ValkeyServer, monkeypatch: pytest.MonkeyPatch, *, expired: bool
) -> None:
    """As one that waited for the reply does: others' writes were rejected too."""
    fleet = start(first.url)
    fleet.read("reader")
    with denying_by_acl(first):
        fleet.write("ends before Redis recovers")
        first.allow_writes()
        fleet.write("writer", at_commit=first.deny_writes, table="others")
        first.command("PING")
    if expired:
        monkeypatch.setattr(redis_connection, "monotonic", lambda: time.monotonic() + 3600)
    assert fleet.read("writer") == "miss"
    assert fleet.read("reader") == "hit"


def lose_reply(name: FailingProxy) -> None:
    name.when_client_sends(CLEARING, Failure.BLACKHOLE, responded=True, once=True)


def reply_with(reply: bytes) -> Callable[[FailingProxy], None]:
    return lambda name: name.garble(1, lambda _: reply)


@pytest.mark.parametrize(
    "reply",
    [
        lose_reply,
        reply_with(b"-ERR of its own\r\n"),
        reply_with(b"-OOM command not allowed\r\n"),
        reply_with(b"\x00\xff\r\n\r\n"),
        reply_with(b"*2\r\n$8\r\nanothers\r\n$-1\r\n"),
    ],
)
def test_a_worker_whose_clearing_has_no_valid_reply_voids_its_write(
    start: Start, first: ValkeyServer, name: FailingProxy, reply: Callable[[FailingProxy], None]
) -> None:
    fleet = start(url_of(name))
    assert fleet.read("writer") == "miss"
    fleet.write("writer")
    assert fleet.read("writer") == "miss"
    fleet.url = first.url  # the writer alone is behind the proxy

    fleet.write("writer", at_commit=lambda: reply(name))
    until(lambda: fleet.read("other") == "hit")  # the clearing has arrived
    assert [fleet.read("writer"), fleet.read("other")] == ["miss", "hit"]


def test_a_clearing_that_is_lost_with_its_connection_leaves_the_fence(
    start: Start, first: ValkeyServer, name: FailingProxy
) -> None:
    fleet = start(url_of(name))
    fleet.read("writer")
    fleet.url = first.url
    losing = partial(name.when_client_sends, CLEARING, Failure.BLACKHOLE, once=True)
    fleet.write("writer", at_commit=losing)

    assert [fleet.read_in_quarantine("other"), fleet.read("other")] == ["miss", "hit"]
    assert fleet.read("writer") == "miss"


def test_a_clearing_on_its_way_while_redis_fails_over_voids_nothing_too_late(
    start: Start, first: ValkeyServer, second: ValkeyServer, name: FailingProxy
) -> None:
    """Fence and page are replicated, and the clearing is not."""
    fleet = start(url_of(name))
    assert [fleet.read("reader"), fleet.read("writer")] == ["miss", "hit"]

    def fail_over() -> None:
        until(lambda: caught_up(first, second))
        first.demote()
        second.promote()
        name.server_path = second.socket

    fleet.write("writer", at_commit=fail_over)
    assert [fleet.read_in_quarantine("reader"), fleet.read("reader")] == ["miss", "hit"]
    assert fleet.read("writer") == "miss"


@pytest.mark.parametrize("larger", [0, 1])
def test_a_command_that_is_not_awaited_is_sent_completely(worker: Worker, larger: int) -> None:
    """To a server that reads nothing; what is larger is awaited, so its environment is not
    frozen."""
    failures: list[None] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"redis://127.0.0.1:{server.getsockname()[1]}/0"
        connection = redis_connection.RedisConnection(url, POLL_SECONDS)
        connection.connect_timeout_seconds = TIMEOUT_SECONDS
        script = Script("")
        empty = Call(script, [], [b""]).eval(bytes(redis_connection.TAG_BYTES))
        size = redis_connection.POSTED_BYTES - sum(map(redis_connection._size, empty)) + larger
        call = Call(script, [], [b"p" * size])
        with pytest.raises(TimeoutError) if larger else nullcontext():
            worker.run(connection.post(call, failed=lambda: failures.append(None)))
        received, _ = server.accept()
        with received:
            received.settimeout(TIMEOUT_SECONDS)
            if not larger:
                assert b"p" * size in read_until(received, b"p\r\n$8\r\n")
        worker.run(connection.close())
    assert failures == ([] if larger else [None])


def read_until(connection: socket.socket, end: bytes) -> bytes:
    found = b""
    while end not in found:
        found += connection.recv(1024 * 1024)
    return found
