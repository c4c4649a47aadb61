"""The cache's protocol, step by step, on a real Redis."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from blog.cache import pages as protocol
from blog.cache.fences import FENCE_SECONDS, Fences
from blog.cache.health import check_redis
from blog.cache.pages import MAX_PAGE_BYTES, Loaded, PageCache
from blog.cache.scripts import TOKEN_BYTES, redis_scripts
from blog.observability import RequestRecord, current_request
from local.services import Services
from tests.conftest import Worker
from tests.valkey import ValkeyServer

DEPLOYMENT = Path(__file__).parents[2] / "docs" / "deployment.md"
NO_REDIS = "redis://127.0.0.1:1/0"
THINGS = PageCache("things")
PAGE = "1:10"
KEY = "things:1:10"
LEASE = "things:1:10:lease"

Client = Any


class Database:
    """What pages are loaded from; counts how often."""

    def __init__(self, content: bytes = b"from the database") -> None:
        self.content = content
        self.loads = 0

    async def load(self) -> Loaded:
        self.loads += 1
        loaded = Loaded(self.content)
        await asyncio.sleep(0)
        return loaded


@pytest.fixture
def record() -> Iterator[RequestRecord]:
    """What the request in progress records."""
    new = RequestRecord("GET", "gateway", None, cold_start=False)
    token = current_request.set(new)
    yield new
    current_request.reset(token)


@pytest.fixture
def fetch(worker: Worker, cache: Client) -> Callable[[Database], bytes]:
    """Fetches the page in this worker."""
    return lambda database: worker.run(THINGS.fetch(PAGE, database.load))


Fetch = Callable[[Database], bytes]


def outcome(record: RequestRecord) -> str | None:
    return record.cache


def server_milliseconds(cache: Client) -> int:
    seconds, microseconds = cache.time()
    return int(seconds * 1000 + microseconds // 1000)


async def write(
    *caches: PageCache, while_fenced: Callable[[], Awaitable[Any]] | None = None
) -> None:
    fences = Fences(*caches)
    fences.start()
    await fences.ready()
    try:
        if while_fenced is not None:
            await while_fenced()
    except LookupError:
        await fences.rolled_back()
        raise
    await fences.committed()


def test_a_miss_populates_the_page_after_its_generation(
    fetch: Fetch, cache: Client, record: RequestRecord
) -> None:
    assert fetch(Database(b"page")) == b"page"

    generation = cache.get("things:generation")
    token, server = generation[:TOKEN_BYTES], generation[TOKEN_BYTES:]
    assert server.decode() == cache.info("replication")["master_replid"]
    assert cache.ttl("things:generation") == -1
    assert cache.get(KEY) == token + b"page"
    assert 55 <= cache.ttl(KEY) <= 60
    assert not cache.exists(LEASE)
    assert outcome(record) == "miss"


def test_a_hit_is_served_without_the_database(fetch: Fetch, record: RequestRecord) -> None:
    fetch(Database(b"page"))
    database = Database(b"other")

    assert fetch(database) == b"page"
    assert database.loads == 0
    assert outcome(record) == "hit"


def test_a_hit_is_one_command(fetch: Fetch, cache: Client) -> None:
    fetch(Database())
    before = cache.info("commandstats")
    fetch(Database())
    after = cache.info("commandstats")

    def calls(stats: dict[str, Any]) -> int:
        return int(stats.get("cmdstat_evalsha", {"calls": 0})["calls"])

    assert calls(after) - calls(before) == 1


@pytest.mark.parametrize("content", [b"\x00\xff", b"x" * MAX_PAGE_BYTES])
def test_content_is_cached_byte_by_byte(fetch: Fetch, content: bytes) -> None:
    fetch(Database(content))
    assert fetch(Database(b"other")) == content


def test_a_page_above_the_maximum_size_is_not_cached_and_its_readers_do_not_wait(
    worker: Worker, fetch: Fetch, cache: Client, record: RequestRecord
) -> None:
    large = Database(b"x" * (MAX_PAGE_BYTES + 1))
    assert fetch(large) == large.content
    assert outcome(record) == "miss"
    assert cache.strlen(KEY) == TOKEN_BYTES
    assert 55 <= cache.ttl(KEY) <= 60
    assert fetch(large) == large.content
    assert outcome(record) == "bypass"
    assert large.loads == 2
    assert not cache.exists(LEASE)
    worker.run(write(THINGS))
    assert fetch(Database(b"small")) == b"small"
    assert fetch(large) == b"small"


def test_the_time_to_live_is_a_setting(worker: Worker, cache: Client) -> None:
    worker.restart(CACHE_TTL_SECONDS="7")
    worker.run(THINGS.fetch(PAGE, Database().load))
    assert 5 <= cache.ttl(KEY) <= 7


def test_a_page_of_another_generation_is_not_served(fetch: Fetch, cache: Client) -> None:
    fetch(Database(b"old"))
    cache.set("things:generation", b"another token...")
    assert fetch(Database(b"new")) == b"new"


def test_a_lost_generation_makes_every_page_a_miss(fetch: Fetch, cache: Client) -> None:
    fetch(Database(b"old"))
    lost = cache.getdel("things:generation")

    assert fetch(Database(b"new")) == b"new"
    assert cache.get("things:generation") not in (None, lost)


def test_a_page_without_a_key_is_not_cached(
    worker: Worker, cache: Client, record: RequestRecord
) -> None:
    database = Database()
    for _ in range(2):
        worker.run(THINGS.fetch(None, database.load))

    assert (database.loads, cache.keys(), record.cache) == (2, [], "bypass")


@pytest.mark.parametrize(
    ("prefix", "first_key"), [(None, b"things:"), ("staging:", b"staging:things:")]
)
def test_every_key_has_the_prefix(
    worker: Worker, cache: Client, prefix: str | None, first_key: bytes
) -> None:
    seen: set[bytes] = set()

    async def look() -> None:
        seen.update(cache.keys())

    async def load() -> Loaded:
        await look()
        return Loaded(b"page")

    worker.restart(CACHE_KEY_PREFIX=prefix)
    worker.run(THINGS.fetch(PAGE, load))
    worker.run(look())
    worker.run(write(THINGS, while_fenced=look))
    kinds = (b"generation", b"fence", b"1:10", b"1:10:lease")
    assert seen == {first_key + kind for kind in kinds}


def test_deployments_with_prefixes_of_their_own_share_a_redis(
    worker: Worker, cache: Client
) -> None:
    prefixes = ("", "staging:", "test:")
    for prefix in prefixes:
        worker.restart(CACHE_KEY_PREFIX=prefix)
        worker.run(THINGS.fetch(PAGE, Database(f"of {prefix}".encode()).load))
    for prefix in prefixes:
        worker.restart(CACHE_KEY_PREFIX=prefix)
        assert worker.run(THINGS.fetch(PAGE, Database().load)) == f"of {prefix}".encode()

    worker.run(write(THINGS))
    assert worker.run(THINGS.fetch(PAGE, Database(b"new").load)) == b"new"
    worker.restart(CACHE_KEY_PREFIX="staging:")
    assert worker.run(THINGS.fetch(PAGE, Database().load)) == b"of staging:"


def test_an_empty_page_lives_no_longer_than_a_lease(
    worker: Worker, cache: Client, record: RequestRecord
) -> None:
    async def load() -> Loaded:
        return Loaded(b"[]", is_empty=True)

    assert worker.run(THINGS.fetch(PAGE, load)) == b"[]"
    assert 0 < cache.pttl(KEY) <= protocol.LEASE_SECONDS * 1000
    assert worker.run(THINGS.fetch(PAGE, load)) == b"[]"
    assert outcome(record) == "hit"


def test_a_user_with_the_rights_that_the_docs_name_is_enough(
    worker: Worker, tmp_path: Path, record: RequestRecord
) -> None:
    [rights] = re.findall(r"`(\+select .*?)`", DEPLOYMENT.read_text(encoding="utf-8"), re.DOTALL)
    with ValkeyServer(tmp_path / "valkey") as server:
        server.command("ACL", "SETUSER", "app", "on", ">secret", "~prod:*", *rights.split())
        url = f"redis://app:secret@127.0.0.1:{server.port}/1"
        worker.restart(REDIS_URL=url, CACHE_KEY_PREFIX="prod:")
        outcomes: list[str | None] = []
        for content in (b"before", b"after"):
            worker.run(write(THINGS))
            for _ in range(2):
                record.cache = None
                assert worker.run(THINGS.fetch(PAGE, Database(content).load)) == content
                outcomes.append(record.cache)
        worker.run(check_redis())
        worker.close()
    assert outcomes == ["miss", "hit"] * 2


def test_lists_share_no_page(worker: Worker, cache: Client) -> None:
    wanted = {("a", "1:10"): b"1", ("a", "2:10"): b"2", ("b", "1:10"): b"3"}
    for (name, page), content in wanted.items():
        worker.run(PageCache(name).fetch(page, Database(content).load))
    for (name, page), content in wanted.items():
        assert worker.run(PageCache(name).fetch(page, Database().load)) == content


def test_a_write_invalidates_only_the_pages_of_its_lists(worker: Worker, cache: Client) -> None:
    for name in ("a", "b", "c"):
        worker.run(PageCache(name).fetch(PAGE, Database(b"old").load))
    worker.run(write(PageCache("a"), PageCache("b")))

    found = [
        worker.run(PageCache(name).fetch(PAGE, Database(b"new").load)) for name in ("a", "b", "c")
    ]
    assert found == [b"new", b"new", b"old"]


def test_while_a_fence_is_set_no_page_is_served_or_populated(
    worker: Worker, fetch: Fetch, cache: Client, record: RequestRecord
) -> None:
    fetch(Database(b"before"))
    responses = []

    async def read() -> None:
        assert cache.zcard("things:fence") == 1
        responses.append(await THINGS.fetch(PAGE, Database(b"during").load))
        assert not cache.exists(LEASE)

    worker.run(write(THINGS, while_fenced=read))

    assert responses == [b"during"]
    assert outcome(record) == "bypass"
    assert fetch(Database(b"after")) == b"after"
    assert fetch(Database(b"later")) == b"after"


def test_a_reader_from_before_a_write_populates_no_page_after_it(
    worker: Worker, cache: Client
) -> None:
    async def overtaken_load() -> Loaded:
        await write(THINGS)
        return Loaded(b"before")

    assert worker.run(THINGS.fetch(PAGE, overtaken_load)) == b"before"
    assert not cache.exists(KEY)
    assert worker.run(THINGS.fetch(PAGE, Database(b"after").load)) == b"after"


def test_a_reader_of_the_earlier_generation_does_not_overwrite_a_page_of_the_next(
    worker: Worker, cache: Client
) -> None:
    async def overtaken_load() -> Loaded:
        await write(THINGS)
        cache.delete(LEASE)
        await THINGS.fetch(PAGE, Database(b"after").load)
        return Loaded(b"before")

    worker.run(THINGS.fetch(PAGE, overtaken_load))
    assert worker.run(THINGS.fetch(PAGE, Database().load)) == b"after"


def test_a_writer_clears_only_its_own_fence(worker: Worker, fetch: Fetch, cache: Client) -> None:
    async def other_write() -> None:
        await write(THINGS)
        assert cache.zcard("things:fence") == 1
        await THINGS.fetch(PAGE, Database(b"before").load)
        assert not cache.exists(KEY)

    worker.run(write(THINGS, while_fenced=other_write))
    assert not cache.exists("things:fence")


def test_a_page_from_before_a_write_is_stale_after_it_even_when_its_fence_was_lost(
    worker: Worker, fetch: Fetch, cache: Client
) -> None:
    async def lose_fence_and_fill() -> None:
        cache.delete("things:fence")
        await THINGS.fetch(PAGE, Database(b"before").load)
        assert cache.exists(KEY)

    worker.run(write(THINGS, while_fenced=lose_fence_and_fill))
    assert fetch(Database(b"after")) == b"after"


def test_a_failed_write_clears_its_fence(worker: Worker, cache: Client) -> None:
    async def fail() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        worker.run(write(THINGS, while_fenced=fail))
    assert not cache.exists("things:fence")


async def set_fences() -> None:
    crashed = Fences(THINGS)
    crashed.start()
    await crashed.ready()


def test_a_crashed_writers_fence_expires(
    worker: Worker, fetch: Fetch, cache: Client, record: RequestRecord
) -> None:
    fetch(Database(b"before"))
    worker.run(set_fences())
    (deadline,) = [score for _, score in cache.zrange("things:fence", 0, -1, withscores=True)]
    seconds_left = (deadline - server_milliseconds(cache)) / 1000
    assert FENCE_SECONDS - 1 < seconds_left <= FENCE_SECONDS

    assert fetch(Database(b"committed or not")) == b"committed or not"
    assert outcome(record) == "bypass"
    [member] = cache.zrange("things:fence", 0, -1)
    cache.zadd("things:fence", {member: server_milliseconds(cache) - 1})
    assert fetch(Database(b"after")) == b"after"
    assert outcome(record) == "miss"
    assert not cache.exists("things:fence")


def test_a_lease_lets_one_reader_populate_the_page_while_others_wait(
    worker: Worker, cache: Client
) -> None:
    database = Database(b"page")

    async def slow_load() -> Loaded:
        await asyncio.sleep(0.05)
        return await database.load()

    async def readers() -> list[bytes]:
        return await asyncio.gather(*(THINGS.fetch(PAGE, slow_load) for _ in range(8)))

    assert worker.run(readers()) == [b"page"] * 8
    assert database.loads == 1


def test_a_reader_waits_for_a_lease_only_so_long(
    fetch: Fetch, cache: Client, record: RequestRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "LEASE_WAIT_SECONDS", 0.05)
    cache.set(LEASE, b"another reader")

    assert fetch(Database(b"page")) == b"page"
    assert outcome(record) == "bypass"
    assert not cache.exists(KEY)
    assert cache.get(LEASE) == b"another reader"


def test_a_lease_ends_with_its_holder(worker: Worker, cache: Client) -> None:
    lifetimes = []

    async def load() -> Loaded:
        lifetimes.append(cache.pttl(LEASE))
        cache.set(LEASE, b"taken by another since")
        return Loaded(b"page")

    worker.run(THINGS.fetch(PAGE, load))
    assert 0 < lifetimes[0] <= protocol.LEASE_SECONDS * 1000
    assert cache.get(LEASE) == b"taken by another since"


def test_a_restarted_redis_is_used_at_once(
    fetch: Fetch, cache: Client, record: RequestRecord
) -> None:
    fetch(Database(b"before"))
    cache.flushall()
    cache.script_flush()
    cache.client_kill_filter(_type="normal", skipme=True)

    assert fetch(Database(b"after")) == b"after"
    assert outcome(record) == "miss"
    assert fetch(Database()) == b"after"
    assert outcome(record) == "hit"


def test_what_load_raises_is_raised_and_nothing_cached(worker: Worker, cache: Client) -> None:
    async def load() -> Loaded:
        raise LookupError

    with pytest.raises(LookupError):
        worker.run(THINGS.fetch(PAGE, load))
    assert not cache.exists(KEY)


def test_without_a_redis_everything_goes_to_the_database(
    worker: Worker, record: RequestRecord
) -> None:
    worker.restart(REDIS_URL=None)
    database = Database()
    worker.run(THINGS.fetch(PAGE, database.load))
    worker.run(write(THINGS))

    assert database.loads == 1
    assert outcome(record) == "bypass"


def test_an_unavailable_redis_is_an_error_and_then_skipped(
    worker: Worker, record: RequestRecord
) -> None:
    worker.restart(REDIS_URL=NO_REDIS)
    assert worker.run(THINGS.fetch(PAGE, Database(b"page").load)) == b"page"
    assert outcome(record) == "error"

    record.cache = None
    assert worker.run(THINGS.fetch(PAGE, Database(b"page").load)) == b"page"
    assert outcome(record) == "bypass"


def test_a_write_goes_through_without_redis(worker: Worker, record: RequestRecord) -> None:
    worker.restart(REDIS_URL=NO_REDIS)
    written = []

    async def commit() -> None:
        written.append(1)

    worker.run(write(THINGS, while_fenced=commit))
    assert written == [1]
    assert outcome(record) == "error"


def test_the_circuit_closes_when_redis_has_recovered(
    worker: Worker,
    services: Services,
    cache: Client,
    record: RequestRecord,
    tmp_path: Path,
) -> None:
    path = tmp_path / "redis"
    worker.restart(REDIS_URL=f"unix://{path}?db=0")
    redis_scripts().breaker.pause_seconds = 0.05
    worker.run(THINGS.fetch(PAGE, Database().load))
    assert (record.cache, redis_scripts().breaker.is_open) == ("error", True)

    path.symlink_to(urlsplit(services.redis_url).path)
    worker.run(asyncio.sleep(0.06))
    record.cache = None
    worker.run(THINGS.fetch(PAGE, Database(b"page").load))
    assert outcome(record) == "miss"
    assert cache.get(KEY).endswith(b"page")


def test_an_error_of_the_script_does_not_fail_the_reader(
    fetch: Fetch, cache: Client, record: RequestRecord
) -> None:
    cache.lpush("things:generation", "of a wrong type")
    assert fetch(Database(b"page")) == b"page"
    assert outcome(record) == "error"


def test_a_fence_cannot_be_evicted_by_a_volatile_policy(worker: Worker, cache: Client) -> None:
    async def look() -> None:
        assert cache.ttl("things:fence") == -1

    worker.run(write(THINGS, while_fenced=look))
