"""Every cached list: what is kept, and what a write invalidates."""

import re
from typing import Any

import httpx
import psycopg
import pytest

from local.services.valkey import end_quarantine
from shared.database.dependencies import derived_from
from shared.database.models import METADATA
from tests.every_resource.conftest import ROWS
from tests.every_resource.document import (
    ALL_WRITES,
    LISTS,
    WRITES,
    PaginatedList,
    Write,
    of_kinds,
)
from tests.resources import delete_referring, insert_rows
from tests.valkey import empty

Database = psycopg.Connection[Any]

HEADER = rb"[0-9a-f]{16}(;\w+@[\w.~%-]*=[0-9a-f]{16}\+[0-9a-f]{16})+\n"
CACHED = [listed for listed in LISTS if listed.is_cached]
cached_list = pytest.mark.parametrize("listed", CACHED, ids=str)


def generations(listed: PaginatedList, cache: Any) -> dict[bytes, bytes]:
    """The tokens of the list's table."""
    return {
        name: token
        for name, token in cache.hgetall("generations").items()
        if name.partition(b"|")[0] == listed.table.encode()
    }


def pages(listed: PaginatedList, cache: Any) -> set[bytes]:
    """The keys of the cached pages of the list's resource."""
    of_resource = re.compile(rf"(?:^|/){listed.resource}[/:]".encode())
    return {key for key in cache.scan_iter() if of_resource.search(key)}


@cached_list
def test_a_page_is_cached_after_its_token_and_link(
    api: httpx.Client, database: Database, cache: Any, listed: PaginatedList
) -> None:
    insert_rows(database, 1, ROWS)
    response = api.get(listed.url(page=2, limit=5))
    assert pages(listed, cache), "not cached: it depends on the caller (private=True) or the time"
    [key] = pages(listed, cache)
    link = response.links["next"]["url"].encode()

    assert re.search(r"\b2:5$", key.decode())
    header = re.match(HEADER, cache.get(key))
    assert header
    assert f";{listed.table}@".encode() in header[0]
    assert cache.get(key) == header[0] + link + b"\n" + response.content
    assert 55 <= cache.ttl(key) <= 60
    assert cache.ttl("generations") == -1

    api.get(listed.url(skip=5, limit=5))
    assert pages(listed, cache) == {key}


@cached_list
def test_a_page_depends_on_the_scope_that_its_route_names(
    api: httpx.Client, cache: Any, few_rows: None, listed: PaginatedList
) -> None:
    """A scope that no statement selects would only cost hits. A page of what is
    derived from the table, such as a count, depends on all of it."""
    api.get(listed.url())
    [page] = pages(listed, cache)
    content = cache.get(page)
    read = {name.decode() for name in re.findall(rb";(\w+)@", content.partition(b"\n")[0])}
    derived = {source for name in read for source in derived_from(METADATA.tables[name])}
    for name in cache.scan_iter("scope:*"):
        _, table, scope = name.split(b":")
        assert table.decode() in derived or b";%b@%b=" % (table, scope) in content


def test_lists_share_no_page(api: httpx.Client, database: Database, cache: Any) -> None:
    insert_rows(database, 1, ROWS)
    bodies = {api.get(listed.url()).content for listed in CACHED}
    assert {api.get(listed.url()).content for listed in CACHED} == bodies
    found = {key for listed in CACHED for key in pages(listed, cache)}
    assert len(found) == len(bodies)


@cached_list
def test_a_cached_page_is_served_without_the_database(
    api: httpx.Client, database: Database, listed: PaginatedList
) -> None:
    insert_rows(database, 1, ROWS)
    first = api.get(listed.url(limit=5))
    delete_referring(database, listed.table)
    database.execute(f"DELETE FROM {listed.table}".encode())  # past the API
    second = api.get(listed.url(limit=5))

    assert second.content == first.content
    for name in ("link", "content-type"):
        assert second.headers[name] == first.headers[name]


@cached_list
def test_a_page_that_is_not_page_aligned_is_not_cached(
    api: httpx.Client, database: Database, cache: Any, listed: PaginatedList
) -> None:
    insert_rows(database, 1, ROWS)
    next_url = api.get(listed.url(limit=5)).json()["next"]
    cache.flushdb()
    end_quarantine(cache)
    for url, status in ((listed.url(skip=3), 200), (next_url, 200), (listed.url(limit=0), 422)):
        assert api.get(url).status_code == status
        assert cache.keys() == [b"generations"]


@cached_list
@pytest.mark.parametrize("page", [2, 10**6])
def test_a_page_past_the_end_is_cached_for_a_second(
    api: httpx.Client, cache: Any, few_rows: None, listed: PaginatedList, page: int
) -> None:
    assert listed.keys(api.get(listed.url(page=page))) == []
    [key] = pages(listed, cache)
    assert 0 < cache.pttl(key) <= 1000


@cached_list
@pytest.mark.parametrize("write", ALL_WRITES, ids=str)
def test_a_page_cached_before_a_write_is_not_served_after_it(
    api: httpx.Client, cache: Any, few_rows: None, listed: PaginatedList, write: Write
) -> None:
    before = api.get(listed.url()).json()
    assert api.get(listed.url()).json() == before
    response = write.send(api)
    assert write.is_done(response) or not write.kind
    after = api.get(listed.url()).json()

    assert api.get(listed.url(page=1, limit=10)).json() == after
    empty(cache)
    assert api.get(listed.url()).json() == after
    if must_show(listed, write) and response.is_success:
        is_known = write.body and any(write.body.items() <= row.items() for row in before["data"])
        assert is_known or after["data"] != before["data"]


def must_show(listed: PaginatedList, write: Write) -> bool:
    """Whether the list contains the written row or link, whatever its values."""
    if write.kind == "create" and any(
        listed.selects_values(name) or str((write.body or {}).get(name, value)) != value
        for name, value in listed.filters
    ):
        return False
    if "link" in write.kind:
        return write.path.rpartition("/")[0] == listed.path
    if write.kind in ("replace", "update", "action"):
        shows_all = listed.fields >= set(write.shown)
        if not shows_all or (write.body and not write.is_of_item):  # a summary, or a part
            return write.table == listed.table and bool(listed.fields & set(write.fields))
    return bool(write.kind) and write.table == listed.table


@pytest.mark.parametrize("write", WRITES, ids=str)
def test_a_write_that_changes_nothing_keeps_the_pages(
    api: httpx.Client, cache: Any, few_rows: None, write: Write
) -> None:
    kept = [listed for listed in CACHED if listed.is_whole]
    for listed in kept:
        api.get(listed.url())
    before = cache.hgetall("generations")
    rejected = []
    if write.body is not None:
        rejected.append(api.request(write.method, write.path, json=[]))
    if write.kind != "create":
        rejected.append(write.send(api, write.target_of(99)))

    assert {response.status_code for response in rejected} <= {404, 422}
    assert rejected
    after = cache.hgetall("generations")
    assert {name: after[name] for name in before} == before
    assert not cache.exists("fences")


@pytest.mark.parametrize("write", [one for one in of_kinds("update") if not one.required], ids=str)
def test_a_change_of_no_field_keeps_the_pages_unless_it_changes_the_row(
    api: httpx.Client, cache: Any, database: Database, few_rows: None, write: Write
) -> None:
    """A change of no field changes the row if every UPDATE sets one, such as `updated_at`."""
    for listed in CACHED:
        if listed.is_whole:
            api.get(listed.url())
    before, former = cache.hgetall("generations"), rows_of(database, write.table)
    assert api.patch(write.path, json={}).is_success

    after = cache.hgetall("generations")
    if rows_of(database, write.table) == former:
        assert {name: after[name] for name in before} == before
        assert not cache.exists("fences")


def rows_of(database: Database, table: str) -> list[Any]:
    return database.execute(f"SELECT * FROM {table} ORDER BY 1".encode()).fetchall()


@pytest.mark.parametrize("write", [write for write in WRITES if write.kind != "delete"], ids=str)
def test_a_write_keeps_the_pages_of_other_tables(
    api: httpx.Client, cache: Any, few_rows: None, changed: set[str], write: Write
) -> None:
    wholes = [listed for listed in CACHED if listed.is_whole]
    for listed in wholes:
        api.get(listed.url())
    before = {listed: generations(listed, cache) for listed in wholes}
    response = write.send(api)
    assert write.is_done(response)
    assert all(before.values())
    others = [listed for listed in wholes if listed.table not in changed or not response.is_success]
    assert {one: generations(one, cache) for one in others} == {one: before[one] for one in others}
