"""The cache's protocol, step by step, on a real Redis."""

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Set
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from pydantic import BaseModel

from local.services import Services
from local.services.valkey import end_quarantine
from shared.cache import pages as protocol
from shared.cache.fences import Fences
from shared.cache.health import check_redis
from shared.cache.pages import MAX_PAGE_BYTES, Loaded, PageCache
from shared.cache.redis_connection import Call, RedisConnection, Script
from shared.cache.scripts import FENCE_SECONDS, redis_scripts
from shared.request import Record
from tests.conftest import Worker
from tests.transactions import REQUEST
from tests.valkey import ValkeyServer

OWN_SERVERS = Path(__file__).parents[2] / "docs" / "own-servers.md"
NO_REDIS = "redis://127.0.0.1:1/0"
PAGE = "1:10"
THINGS_AT_ALL = {"things": ""}
KEY = "things:1:10"
LEASE = "things:1:10:lease"

Client = Any


class Things(BaseModel):
    data: list[int]


THINGS = PageCache("things", Things)


class Database:
    """The source of pages; counts how often they are loaded."""

    def __init__(
        self,
        content: bytes = b"from the database",
        depends_on: Mapping[str, str] = THINGS_AT_ALL,
    ) -> None:
        self.content = content
        self.depends_on = depends_on
        self.loads = 0

    async def load(self) -> Loaded:
        self.loads += 1
        loaded = Loaded(self.content, self.depends_on)
        await asyncio.sleep(0)
        return loaded


@pytest.fixture
def fetch(worker: Worker, cache: Client) -> Callable[[Database], bytes]:
    """Fetches the page in this worker."""
    return lambda database: worker.run(THINGS.fetch(REQUEST, PAGE, database.load))


Fetch = Callable[[Database], bytes]


def outcome(record: Record) -> str | None:
    return record.cache


def server_milliseconds(cache: Client) -> int:
    seconds, microseconds = cache.time()
    return int(seconds * 1000 + microseconds // 1000)


Changes = Mapping[str, Set[str] | None]
"""The scopes that change of each table; None for all of it."""


async def write(
    changes: Changes = {"things": None},  # noqa: B006 - it is not changed
    while_fenced: Callable[[], Awaitable[Any]] | None = None,
) -> None:
    fences = Fences(REQUEST)
    fences.start(dict.fromkeys(changes))
    await fences.ready(changes)
    try:
        if while_fenced is not None:
            await while_fenced()
    except LookupError:
        await fences.rolled_back()
        raise
    await fences.committed(changes)


async def arrived() -> None:
    """Return when what was sent without awaiting it has been executed."""
    await redis_scripts().connection.run(Call(Script(""), []))


def tokens(cache: Client) -> dict[str, str]:
    found: dict[bytes, bytes] = cache.hgetall("generations")
    return {name.decode(): token.decode() for name, token in found.items() if name != b"|epoch"}


def test_a_miss_stores_the_page_after_its_dependencies(
    fetch: Fetch, cache: Client, record: Record
) -> None:
    assert fetch(Database(b"page")) == b"page"

    found = tokens(cache)
    header = f"{THINGS.digest};things@={found['things']}+{found['things|all']}"
    assert cache.ttl("generations") == -1
    assert cache.get(KEY) == header.encode() + b"\npage"
    assert 55 <= cache.ttl(KEY) <= 60
    assert not cache.exists(LEASE)
    assert outcome(record) == "miss"


def test_a_hit_is_served_without_the_database(fetch: Fetch, record: Record) -> None:
    fetch(Database(b"page"))
    database = Database(b"other")

    assert fetch(database) == b"page"
    assert database.loads == 0
    assert outcome(record) == "hit"


def look_ups(cache: Client) -> int:
    return int(cache.info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"])


def test_a_hit_is_one_command(fetch: Fetch, cache: Client) -> None:
    fetch(Database())
    before = look_ups(cache)
    fetch(Database())
    assert look_ups(cache) - before == 1


@pytest.mark.parametrize("name", ["epoch", "fences", "generations", "health", "limit", "scope"])
def test_a_table_may_have_a_name_that_the_protocol_uses(
    worker: Worker, cache: Client, name: str
) -> None:
    pages = PageCache(name, BaseModel)

    def fetched(content: bytes) -> bytes:
        return worker.run(pages.fetch(REQUEST, PAGE, Database(content, {name: ""}).load))

    assert fetched(b"old") == b"old"
    worker.run(check_redis())
    assert fetched(b"new") == b"old"
    worker.run(write({name: None}))
    assert fetched(b"new") == b"new"
    assert fetched(b"newer") == b"new"


@pytest.mark.parametrize("content", [b"\x00\xff", b"\n;things@=1+1", b"x" * MAX_PAGE_BYTES])
def test_content_is_cached_byte_by_byte(fetch: Fetch, content: bytes) -> None:
    fetch(Database(content))
    assert fetch(Database(b"other")) == content


def test_a_page_above_the_maximum_size_is_not_cached_and_its_readers_do_not_wait(
    worker: Worker, fetch: Fetch, cache: Client, record: Record
) -> None:
    large = Database(b"x" * (MAX_PAGE_BYTES + 1))
    assert fetch(large) == large.content
    assert outcome(record) == "miss"
    worker.run(arrived())
    assert cache.strlen(KEY) < 100
    assert 55 <= cache.ttl(KEY) <= 60
    assert fetch(large) == large.content
    assert outcome(record) == "bypass"
    assert large.loads == 2
    assert not cache.exists(LEASE)
    worker.run(write())
    assert fetch(Database(b"small")) == b"small"
    assert fetch(large) == b"small"


def test_the_time_to_live_is_a_setting(worker: Worker, cache: Client) -> None:
    worker.restart(CACHE_TTL_SECONDS="7")
    worker.run(THINGS.fetch(REQUEST, PAGE, Database().load))
    assert 5 <= cache.ttl(KEY) <= 7


@pytest.mark.parametrize("field", ["things", "things|all"])
def test_a_page_with_another_token_is_not_served(fetch: Fetch, cache: Client, field: str) -> None:
    fetch(Database(b"old"))
    cache.hset("generations", field, "0123456789abcdef")
    assert fetch(Database(b"new")) == b"new"


def test_a_page_of_another_form_is_not_served_either_way(worker: Worker, cache: Client) -> None:
    class OtherThings(BaseModel):
        data: list[str]

    other = PageCache("things", OtherThings)
    worker.run(THINGS.fetch(REQUEST, PAGE, Database(b"of the release before").load))
    assert (
        worker.run(other.fetch(REQUEST, PAGE, Database(b"of the canary").load)) == b"of the canary"
    )
    assert worker.run(THINGS.fetch(REQUEST, PAGE, Database(b"again").load)) == b"again"


def test_a_page_without_a_key_is_not_cached(worker: Worker, cache: Client, record: Record) -> None:
    database = Database()
    for _ in range(2):
        worker.run(THINGS.fetch(REQUEST, None, database.load))

    assert (database.loads, record.cache) == (2, "bypass")
    assert cache.keys() == [b"generations"]


@pytest.mark.parametrize("prefix", [None, "staging:"])
def test_every_key_has_the_prefix(worker: Worker, cache: Client, prefix: str | None) -> None:
    seen: set[bytes] = set()

    async def look() -> None:
        seen.update(cache.keys())

    async def load() -> Loaded:
        await look()
        return Loaded(b"page", {"things": "7"})

    worker.restart(CACHE_KEY_PREFIX=prefix)
    cache.flushdb()
    end_quarantine(cache, prefix or "")
    worker.run(THINGS.fetch(REQUEST, PAGE, load, scope="7"))
    worker.run(arrived())
    worker.run(look())
    worker.run(write(while_fenced=look))
    keys = ("generations", "fences", "scope:things:7", "things:1:10", "things:1:10:lease")
    assert seen == {f"{prefix or ''}{key}".encode() for key in keys}


def test_deployments_with_prefixes_of_their_own_share_a_redis(
    worker: Worker, cache: Client
) -> None:
    prefixes = ("", "staging:", "test:")
    for prefix in prefixes:
        end_quarantine(cache, prefix)
        worker.restart(CACHE_KEY_PREFIX=prefix)
        worker.run(THINGS.fetch(REQUEST, PAGE, Database(f"of {prefix}".encode()).load))
    for prefix in prefixes:
        worker.restart(CACHE_KEY_PREFIX=prefix)
        assert worker.run(THINGS.fetch(REQUEST, PAGE, Database().load)) == f"of {prefix}".encode()

    worker.run(write())
    assert worker.run(THINGS.fetch(REQUEST, PAGE, Database(b"new").load)) == b"new"
    worker.restart(CACHE_KEY_PREFIX="staging:")
    assert worker.run(THINGS.fetch(REQUEST, PAGE, Database().load)) == b"of staging:"


def test_an_empty_page_lives_no_longer_than_a_lease(
    worker: Worker, cache: Client, record: Record
) -> None:
    async def load() -> Loaded:
        return Loaded(b"[]", THINGS_AT_ALL, is_empty=True)

    assert worker.run(THINGS.fetch(REQUEST, PAGE, load)) == b"[]"
    assert 0 < cache.pttl(KEY) <= protocol.LEASE_SECONDS * 1000
    assert worker.run(THINGS.fetch(REQUEST, PAGE, load)) == b"[]"
    assert outcome(record) == "hit"


def test_a_user_with_the_rights_that_the_docs_name_is_enough(
    worker: Worker, tmp_path: Path, record: Record
) -> None:
    [rights] = re.findall(r"`(\+select .*?)`", OWN_SERVERS.read_text(encoding="utf-8"), re.DOTALL)
    with ValkeyServer(tmp_path / "valkey") as server:
        server.command("ACL", "SETUSER", "app", "on", ">secret", "~prod:*", *rights.split())
        url = f"redis://app:secret@127.0.0.1:{server.port}/1"
        worker.restart(REDIS_URL=url, CACHE_KEY_PREFIX="prod:")
        outcomes: list[str | None] = []
        with redis.Redis(port=server.port, db=1) as client:
            end_quarantine(client, "prod:")
        for content in (b"before", b"after"):
            worker.run(write())
            for _ in range(2):
                record.cache = None
                assert worker.run(THINGS.fetch(REQUEST, PAGE, Database(content).load)) == content
                outcomes.append(record.cache)
        worker.run(check_redis())
        worker.close()
    assert outcomes == ["miss", "hit"] * 2


def test_lists_share_no_page(worker: Worker, cache: Client) -> None:
    wanted = {("a", "1:10"): b"1", ("a", "2:10"): b"2", ("b", "1:10"): b"3"}
    for (name, page), content in wanted.items():
        worker.run(PageCache(name, Things).fetch(REQUEST, page, Database(content).load))
    for (name, page), content in wanted.items():
        assert worker.run(PageCache(name, Things).fetch(REQUEST, page, Database().load)) == content


ALL = PageCache("articles", Things)
PAGES = {
    "articles of 7": {"articles": "7"},
    "articles of 8": {"articles": "8"},
    "all articles": {"articles": ""},
    "articles of 7 with authors": {"articles": "7", "writers": ""},
    "writers": {"writers": ""},
}
VOIDED = [
    pytest.param(
        {"articles": {"7"}}, {"articles of 7", "all articles", "articles of 7 with authors"}, id="7"
    ),
    pytest.param(
        {"articles": {"7", "8"}},
        {"articles of 7", "articles of 8", "all articles", "articles of 7 with authors"},
        id="a move",
    ),
    pytest.param({"articles": set()}, {"all articles"}, id="no scope"),
    pytest.param({"articles": None}, set(PAGES) - {"writers"}, id="the whole table"),
    pytest.param({"writers": None}, {"writers", "articles of 7 with authors"}, id="a joined table"),
    pytest.param(
        {"writers": set()}, {"writers", "articles of 7 with authors"}, id="a table unscoped"
    ),
    pytest.param({"tags": None}, set(), id="another table"),
]


async def fetch_of(name: str, content: bytes) -> bytes:
    depends_on = PAGES[name]
    load = Database(content, depends_on).load
    return await ALL.fetch(REQUEST, f"{name}:1:10", load, scope=depends_on.get("articles", ""))


@pytest.mark.parametrize(("changes", "voided"), VOIDED)
def test_a_write_voids_the_pages_that_depend_on_its_changes(
    worker: Worker, cache: Client, changes: Changes, voided: set[str]
) -> None:
    for name in PAGES:
        assert worker.run(fetch_of(name, b"old")) == b"old"
    for name in PAGES:
        assert worker.run(fetch_of(name, b"new")) == b"old"
    worker.run(write(changes))

    found = {name for name in PAGES if worker.run(fetch_of(name, b"new")) == b"new"}
    assert found == voided


def served_during(worker: Worker, changes: Changes) -> dict[str, bytes]:
    """The pages as they are read, in a database that has changed, while a write is fenced."""
    served = {}

    async def read() -> None:
        for name in PAGES:
            served[name] = await fetch_of(name, b"during")

    for name in PAGES:
        worker.run(fetch_of(name, b"old"))
    worker.run(write(changes, while_fenced=read))
    return served


@pytest.mark.parametrize(("changes", "voided"), VOIDED)
def test_no_page_that_a_write_may_change_is_served_before_it_is_voided(
    worker: Worker, cache: Client, changes: Changes, voided: set[str]
) -> None:
    served = served_during(worker, changes)
    assert {served[name] for name in voided} <= {b"during"}


@pytest.mark.parametrize(("changes", "voided"), VOIDED[:2])
def test_a_write_whose_scopes_are_known_keeps_readers_from_no_other_page(
    worker: Worker, cache: Client, changes: Changes, voided: set[str]
) -> None:
    served = served_during(worker, changes)
    assert {name for name in PAGES if served[name] == b"during"} == voided
    assert not cache.exists("fences")


def test_a_page_is_populated_while_it_is_not_known_which_scope_changes(
    worker: Worker, cache: Client
) -> None:
    async def change_an_article_of_7() -> None:
        fences = Fences(REQUEST)
        fences.start({"articles": None})
        await check_redis()
        for name in ("articles of 7", "articles of 8"):
            assert await fetch_of(name, b"during") == b"during"
        await fences.ready({"articles": {"7"}})
        await fences.committed({"articles": {"7"}})

    worker.run(change_an_article_of_7())
    assert worker.run(fetch_of("articles of 8", b"after")) == b"during"
    assert worker.run(fetch_of("articles of 7", b"after")) == b"after"


@pytest.mark.parametrize(("narrows", "found"), [(True, b"old"), (False, b"new")])
def test_a_reader_waits_for_a_tables_fence_to_be_narrowed_but_not_for_long(
    worker: Worker,
    cache: Client,
    record: Record,
    monkeypatch: pytest.MonkeyPatch,
    narrows: bool,
    found: bytes,
) -> None:
    monkeypatch.setattr(protocol, "LEASE_POLL_SECONDS", 0.1)
    monkeypatch.setattr(protocol, "LEASE_WAIT_SECONDS", 60)

    async def change_an_article_of_7() -> bytes:
        fences = Fences(REQUEST)
        fences.start({"articles": None})
        await check_redis()
        reading = asyncio.create_task(fetch_of("articles of 8", b"new"))
        await asyncio.sleep(0.01)
        if narrows:
            await fences.ready({"articles": {"7"}})
        async with asyncio.timeout(10):
            content = await reading
        await fences.committed({"articles": {"7"}})
        return content

    worker.run(fetch_of("articles of 8", b"old"))
    assert worker.run(change_an_article_of_7()) == found
    assert outcome(record) == ("hit" if narrows else "bypass")


def test_no_page_of_the_scope_before_is_served_before_it_is_voided(
    worker: Worker, cache: Client
) -> None:
    """An article was likely to stay with writer 8, and has moved there from 7."""

    async def move() -> None:
        fences = Fences(REQUEST)
        fences.start({"articles": "8"})
        await fences.ready({"articles": {"7", "8"}})
        fenced = {fence.partition(b"|")[0] for fence in cache.zrange("fences", 0, -1)}
        assert fenced == {b"articles@7", b"articles@8"}
        for name in ("articles of 7", "articles of 8", "all articles"):
            assert await fetch_of(name, b"during") == b"during"
        await fences.committed({"articles": {"7", "8"}})

    for name in PAGES:
        worker.run(fetch_of(name, b"old"))
    worker.run(move())
    assert not cache.exists("fences")
    for name in ("articles of 7", "articles of 8", "all articles"):
        assert worker.run(fetch_of(name, b"after")) == b"after"


def test_a_write_whose_other_fence_was_rejected_awaits_its_clearing(
    worker: Worker, cache: Client
) -> None:
    async def move() -> None:
        fences = Fences(REQUEST)
        fences.start({"articles": "8"})
        await check_redis()
        cache.execute_command("ACL", "SETUSER", "default", "-eval", "-evalsha")
        try:
            await fences.ready({"articles": {"7", "8"}})
        finally:
            cache.execute_command("ACL", "SETUSER", "default", "+eval", "+evalsha")
        await fences.committed({"articles": {"7", "8"}})
        assert tokens(cache)["articles|all"] != before["articles|all"]

    worker.run(fetch_of("articles of 7", b"old"))
    worker.run(fetch_of("all articles", b"old"))
    worker.run(arrived())
    before = tokens(cache)
    worker.run(move())
    assert worker.run(fetch_of("articles of 7", b"after")) == b"after"


@pytest.mark.parametrize(
    ("likely", "changed", "frozen", "sent"),
    [
        pytest.param("7", {"7"}, False, ["run", "post"], id="as it was likely"),
        pytest.param(None, None, False, ["run", "post"], id="the whole table"),
        pytest.param(None, {"7"}, False, ["run", "post", "post"], id="narrowed"),
        pytest.param("8", {"7", "8"}, False, ["run", "run", "post"], id="a move"),
        pytest.param("7", {"7"}, True, ["run", "run"], id="frozen"),
    ],
)
def test_a_write_awaits_its_clearing_only_if_its_fences_may_be_gone(
    worker: Worker,
    cache: Client,
    monkeypatch: pytest.MonkeyPatch,
    likely: str | None,
    changed: set[str] | None,
    frozen: bool,
    sent: list[str],
) -> None:
    calls = []

    def watched(name: str) -> None:
        original = getattr(RedisConnection, name)

        async def call(*arguments: Any, **named: Any) -> Any:
            calls.append(name)
            return await original(*arguments, **named)

        monkeypatch.setattr(RedisConnection, name, call)

    async def change() -> None:
        fences = Fences(REQUEST)
        fences.start({"articles": likely})
        await fences.ready({"articles": changed})
        if frozen:
            later = time.monotonic() + FENCE_SECONDS
            monkeypatch.setattr("shared.cache.fences.monotonic", lambda: later)
        await fences.committed({"articles": changed})

    watched("run")
    watched("post")
    worker.run(change())
    assert calls == sent
    worker.run(arrived())
    assert not cache.exists("fences")


def test_a_clearing_that_was_lost_voids_its_tables_before_redis_is_used_again(
    worker: Worker, cache: Client
) -> None:
    async def change_an_article_of_7() -> None:
        fences = Fences(REQUEST)
        fences.start({"articles": "7"})
        await fences.ready({"articles": {"7"}})
        cache.client_pause(10_000, all=False)
        await fences.committed({"articles": {"7"}})

    worker.run(fetch_of("articles of 7", b"old"))
    worker.run(arrived())
    before = tokens(cache)
    worker.run(change_an_article_of_7())
    cache.client_kill_filter(_type="normal", skipme=True)
    cache.client_unpause()
    assert tokens(cache) == before
    worker.run(fetch_of("articles of 7", b"new"))
    assert tokens(cache)["articles"] != before["articles"]


def test_a_rejected_command_voids_all_tables_before_redis_is_used_again(
    worker: Worker, cache: Client
) -> None:
    """Another worker's invalidation may have been rejected as well."""
    for name in PAGES:
        worker.run(fetch_of(name, b"old"))
    worker.run(arrived())
    before, epoch = tokens(cache), cache.hget("generations", "|epoch")
    redis_scripts().breaker.pause_seconds = 0
    cache.execute_command("ACL", "SETUSER", "default", "-eval", "-evalsha")
    try:
        worker.run(fetch_of("writers", b"while it is rejected"))
    finally:
        cache.execute_command("ACL", "SETUSER", "default", "+eval", "+evalsha")
    assert worker.run(fetch_of("writers", b"new")) == b"new"
    worker.run(arrived())
    after = tokens(cache)
    assert after.keys() == before.keys()
    assert not [name for name in before if after[name] == before[name]]
    assert cache.hget("generations", "|epoch") == epoch


def test_a_write_sets_its_fences_also_while_readers_do_not_ask_redis(
    worker: Worker, cache: Client
) -> None:
    """They do elsewhere: another worker's circuit is closed."""
    fenced = []

    async def look() -> None:
        fenced.append(cache.zcard("fences"))

    worker.run(arrived())
    redis_scripts().breaker.failed()
    worker.run(write(while_fenced=look))
    assert fenced == [1]


def test_a_write_that_fails_at_once_leaves_no_fence(worker: Worker, cache: Client) -> None:
    async def fail() -> None:
        fences = Fences(REQUEST)
        fences.start({"things": None})
        await fences.rolled_back()

    worker.run(fail())
    worker.run(arrived())
    assert not cache.exists("fences")


def test_a_scope_that_is_not_the_statements_is_not_trusted(worker: Worker, cache: Client) -> None:
    """The page depends on the whole table, whatever the route says."""
    depends_on = {"articles": ""}
    worker.run(ALL.fetch(REQUEST, PAGE, Database(b"old", depends_on).load, scope="7"))
    assert (
        worker.run(ALL.fetch(REQUEST, PAGE, Database(b"new", depends_on).load, scope="7")) == b"old"
    )
    worker.run(write({"articles": {"8"}}))
    assert (
        worker.run(ALL.fetch(REQUEST, PAGE, Database(b"new", depends_on).load, scope="7")) == b"new"
    )


def test_a_page_that_depends_on_nothing_is_not_stored(worker: Worker, cache: Client) -> None:
    worker.run(THINGS.fetch(REQUEST, PAGE, Database(b"page", {}).load))
    worker.run(arrived())
    assert not cache.exists(KEY, LEASE)


def test_tokens_of_scopes_expire_after_their_pages(worker: Worker, cache: Client) -> None:
    """Also where an earlier page made the token, which is about to expire."""

    async def load() -> Loaded:
        cache.expire("scope:articles:7", 5)
        return Loaded(b"page", {"articles": "7"})

    worker.run(ALL.fetch(REQUEST, PAGE, load, scope="7"))
    worker.run(arrived())
    assert cache.ttl("scope:articles:7") > cache.ttl(f"articles:{PAGE}") > 0
    cache.delete("scope:articles:7")
    assert worker.run(ALL.fetch(REQUEST, PAGE, Database(b"new").load, scope="7")) == b"new"


def test_while_a_fence_is_set_no_page_is_served_or_populated(
    worker: Worker, fetch: Fetch, cache: Client, record: Record
) -> None:
    fetch(Database(b"before"))
    responses = []

    async def read() -> None:
        assert cache.zcard("fences") == 1
        responses.append(await THINGS.fetch(REQUEST, PAGE, Database(b"during").load))
        assert not cache.exists(LEASE)

    worker.run(write(while_fenced=read))

    assert responses == [b"during"]
    assert outcome(record) == "bypass"
    assert fetch(Database(b"after")) == b"after"
    assert fetch(Database(b"later")) == b"after"


def test_a_reader_does_not_wait_for_a_fence(
    worker: Worker, cache: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "LEASE_POLL_SECONDS", 60)

    async def read() -> None:
        async with asyncio.timeout(10):
            assert await fetch_of("articles of 7", b"during") == b"during"

    worker.run(write({"articles": {"7"}}, while_fenced=read))


@pytest.mark.parametrize("known", [False, True])
def test_a_reader_from_before_a_write_populates_no_page_after_it(
    worker: Worker, cache: Client, known: bool
) -> None:
    """Whether the table has tokens already, or that page makes them."""

    async def overtaken_load() -> Loaded:
        await write()
        return Loaded(b"before", THINGS_AT_ALL)

    if known:
        worker.run(THINGS.fetch(REQUEST, "2:10", Database().load))
        worker.run(arrived())
    assert worker.run(THINGS.fetch(REQUEST, PAGE, overtaken_load)) == b"before"
    worker.run(arrived())
    assert not cache.exists(KEY)
    assert worker.run(THINGS.fetch(REQUEST, PAGE, Database(b"after").load)) == b"after"


def test_a_reader_of_the_earlier_generation_does_not_overwrite_a_page_of_the_next(
    worker: Worker, cache: Client
) -> None:
    async def overtaken_load() -> Loaded:
        await write()
        cache.delete(LEASE)
        await THINGS.fetch(REQUEST, PAGE, Database(b"after").load)
        return Loaded(b"before", THINGS_AT_ALL)

    worker.run(THINGS.fetch(REQUEST, PAGE, overtaken_load))
    assert worker.run(THINGS.fetch(REQUEST, PAGE, Database().load)) == b"after"


def test_a_writer_clears_only_its_own_fence(worker: Worker, fetch: Fetch, cache: Client) -> None:
    async def other_write() -> None:
        await write()
        assert cache.zcard("fences") == 1
        await THINGS.fetch(REQUEST, PAGE, Database(b"before").load)
        assert not cache.exists(KEY)

    worker.run(write(while_fenced=other_write))
    assert not cache.exists("fences")


def test_a_page_from_before_a_write_is_stale_after_it_even_when_its_fence_was_lost(
    worker: Worker, fetch: Fetch, cache: Client
) -> None:
    async def lose_fence_and_fill() -> None:
        cache.delete("fences")
        await THINGS.fetch(REQUEST, PAGE, Database(b"before").load)
        assert cache.exists(KEY)

    worker.run(write(while_fenced=lose_fence_and_fill))
    assert fetch(Database(b"after")) == b"after"


def test_a_failed_write_clears_its_fence(worker: Worker, cache: Client) -> None:
    async def fail() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        worker.run(write(while_fenced=fail))
    assert not cache.exists("fences")


async def set_fences() -> None:
    crashed = Fences(REQUEST)
    crashed.start({"things": None})
    await crashed.ready({"things": None})


def test_a_crashed_writers_fence_expires(
    worker: Worker, fetch: Fetch, cache: Client, record: Record
) -> None:
    fetch(Database(b"before"))
    worker.run(set_fences())
    (deadline,) = [score for _, score in cache.zrange("fences", 0, -1, withscores=True)]
    seconds_left = (deadline - server_milliseconds(cache)) / 1000
    assert FENCE_SECONDS - 1 < seconds_left <= FENCE_SECONDS

    assert fetch(Database(b"committed or not")) == b"committed or not"
    assert outcome(record) == "bypass"
    [member] = cache.zrange("fences", 0, -1)
    cache.zadd("fences", {member: server_milliseconds(cache) - 1})
    assert fetch(Database(b"after")) == b"after"
    assert outcome(record) == "miss"
    assert not cache.exists("fences")


def test_a_lease_lets_one_reader_populate_the_page_while_others_wait(
    worker: Worker, cache: Client
) -> None:
    database = Database(b"page")

    async def slow_load() -> Loaded:
        await asyncio.sleep(0.05)
        return await database.load()

    async def readers() -> list[bytes]:
        return await asyncio.gather(*(THINGS.fetch(REQUEST, PAGE, slow_load) for _ in range(8)))

    assert worker.run(readers()) == [b"page"] * 8
    assert database.loads == 1


def test_a_reader_waits_for_a_lease_only_so_long(
    fetch: Fetch, cache: Client, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "LEASE_WAIT_SECONDS", 0.05)
    cache.set(LEASE, b"another reader")

    assert fetch(Database(b"page")) == b"page"
    assert outcome(record) == "bypass"
    assert not cache.exists(KEY)
    assert cache.get(LEASE) == b"another reader"


def test_a_repeated_look_up_keeps_the_lease_of_its_first_attempt(
    fetch: Fetch, cache: Client, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The response to the first was lost."""
    monkeypatch.setattr(protocol, "new_token", lambda: "0123456789abcdef")
    cache.set(LEASE, b"0123456789abcdef")
    fetch(Database())
    assert outcome(record) == "miss"


def test_a_reader_asks_less_and_less_often_while_it_waits(
    fetch: Fetch, cache: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "LEASE_WAIT_SECONDS", 0.3)
    cache.set(LEASE, b"another reader")
    before = look_ups(cache)
    fetch(Database())
    assert 2 < look_ups(cache) - before < 20  # 60 at the first pace


def test_a_lease_ends_with_its_holder(worker: Worker, cache: Client) -> None:
    lifetimes = []

    async def load() -> Loaded:
        lifetimes.append(cache.pttl(LEASE))
        cache.set(LEASE, b"taken by another since")
        return Loaded(b"page", THINGS_AT_ALL)

    worker.run(THINGS.fetch(REQUEST, PAGE, load))
    assert 0 < lifetimes[0] <= protocol.LEASE_SECONDS * 1000
    assert cache.get(LEASE) == b"taken by another since"


def test_a_restarted_redis_is_used_at_once(fetch: Fetch, cache: Client, record: Record) -> None:
    fetch(Database(b"before"))
    cache.flushall()
    end_quarantine(cache)
    cache.script_flush()
    cache.client_kill_filter(_type="normal", skipme=True)

    assert fetch(Database(b"after")) == b"after"
    assert outcome(record) == "miss"
    assert fetch(Database()) == b"after"
    assert outcome(record) == "hit"


def test_a_redis_that_forgot_is_in_quarantine_until_the_writes_that_it_forgot_are_over(
    fetch: Fetch, cache: Client, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "FENCE_SECONDS", 0.3)
    fetch(Database(b"before"))
    cache.flushall()
    ends_at = time.monotonic() + 0.3
    for _ in range(2):
        assert fetch(Database(b"during")) == b"during"
        assert record.cache == "bypass"
    assert not cache.exists(KEY)
    while fetch(Database(b"after")) and record.cache == "bypass":
        assert time.monotonic() < ends_at + 1
    assert time.monotonic() > ends_at - 0.01  # Redis has another clock
    assert record.cache == "miss"


@pytest.mark.parametrize("begins", ["a page", "the health check"])
def test_the_quarantine_is_as_long_as_a_fence(
    worker: Worker, fetch: Fetch, cache: Client, begins: str
) -> None:
    cache.flushall()
    if begins == "a page":
        fetch(Database())
    else:
        worker.run(check_redis())
    server, ends_at = cache.hget("generations", "|epoch").decode().split(":")
    assert server == cache.info("replication")["master_replid"]
    seconds = (int(ends_at) - server_milliseconds(cache)) / 1000
    assert FENCE_SECONDS - 1 < seconds <= FENCE_SECONDS


def test_an_error_of_load_is_raised_and_nothing_is_cached(worker: Worker, cache: Client) -> None:
    async def load() -> Loaded:
        raise LookupError

    with pytest.raises(LookupError):
        worker.run(THINGS.fetch(REQUEST, PAGE, load))
    worker.run(arrived())
    assert not cache.exists(KEY, LEASE)


def test_without_a_redis_every_request_uses_the_database(worker: Worker, record: Record) -> None:
    worker.restart(REDIS_URL=None)
    database = Database()
    worker.run(THINGS.fetch(REQUEST, PAGE, database.load))
    worker.run(write())

    assert database.loads == 1
    assert outcome(record) == "bypass"


def test_an_unavailable_redis_is_an_error_and_then_skipped(
    worker: Worker, record: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    worker.restart(REDIS_URL=NO_REDIS)
    assert worker.run(THINGS.fetch(REQUEST, PAGE, Database(b"page").load)) == b"page"
    assert outcome(record) == "error"

    record.cache = None
    assert worker.run(THINGS.fetch(REQUEST, PAGE, Database(b"page").load)) == b"page"
    assert outcome(record) == "bypass"
    worker.run(write())
    assert outcome(record) == "error"  # as writes ask it every time
    [logged] = map(json.loads, capsys.readouterr().out.splitlines())
    assert (logged["message"], logged["error"]) == ("redis error", "ConnectionError")
    assert "127.0.0.1:1" in logged["reason"]


def test_a_write_succeeds_without_redis(worker: Worker, record: Record) -> None:
    worker.restart(REDIS_URL=NO_REDIS)
    written = []

    async def commit() -> None:
        written.append(1)

    worker.run(write(while_fenced=commit))
    assert written == [1]
    assert outcome(record) == "error"


def test_the_circuit_closes_when_redis_has_recovered(
    worker: Worker,
    services: Services,
    cache: Client,
    record: Record,
    tmp_path: Path,
) -> None:
    path = tmp_path / "redis"
    worker.restart(REDIS_URL=f"unix://{path}?db=0")
    redis_scripts().breaker.pause_seconds = 0.05
    worker.run(THINGS.fetch(REQUEST, PAGE, Database().load))
    assert (record.cache, redis_scripts().breaker.is_open) == ("error", True)

    path.symlink_to(urlsplit(services.redis_url).path)
    worker.run(asyncio.sleep(0.06))
    record.cache = None
    worker.run(THINGS.fetch(REQUEST, PAGE, Database(b"page").load))
    assert outcome(record) == "miss"
    assert cache.get(KEY).endswith(b"page")


def test_an_error_of_the_script_does_not_fail_the_reader(
    fetch: Fetch, cache: Client, record: Record
) -> None:
    cache.delete("generations")
    cache.lpush("generations", "of a wrong type")
    assert fetch(Database(b"page")) == b"page"
    assert outcome(record) == "error"


def test_a_fence_cannot_be_evicted_by_a_volatile_policy(worker: Worker, cache: Client) -> None:
    async def look() -> None:
        assert cache.ttl("fences") == -1

    worker.run(write(while_fenced=look))
