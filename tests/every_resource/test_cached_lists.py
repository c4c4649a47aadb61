"""Every cached list: what is kept, and what a write invalidates."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
from blog.cache.lists import cached_lists

from tests.conftest import token_of
from tests.every_resource.conftest import ROWS
from tests.every_resource.document import LISTS, WRITES, PaginatedList, Write
from tests.resources import insert_rows

Database = psycopg.Connection[Any]

DELETED_WITH = {cached.name: cached.deleted_with for cached in cached_lists()}
CACHED = [
    listed for listed in LISTS if listed.table in DELETED_WITH and listed.path == f"/{listed.table}"
]
cached_list = pytest.mark.parametrize("listed", CACHED, ids=str)


def _invalidations() -> Iterator[tuple[PaginatedList, Write]]:
    for listed in CACHED:
        for write in WRITES:
            deletes_parent = write.method == "DELETE" and write.table in DELETED_WITH[listed.table]
            if write.table == listed.table or deletes_parent:
                yield listed, write


def generation_of(listed: PaginatedList, cache: Any) -> bytes | None:
    generation: bytes | None = cache.get(f"{listed.table}:generation")
    return generation


def pages(listed: PaginatedList, cache: Any) -> set[bytes]:
    """The keys of the list's cached pages."""
    return set(cache.keys()) - {f"{listed.table}:generation".encode()}


def test_every_cached_list_has_a_path() -> None:
    assert {listed.table for listed in CACHED} == set(DELETED_WITH)


@cached_list
def test_a_page_is_cached_after_its_token_and_link(
    api: httpx.Client, database: Database, cache: Any, listed: PaginatedList
) -> None:
    insert_rows(database, 1, ROWS)
    response = api.get(listed.url(page=2, limit=5))
    [key] = pages(listed, cache)
    link = response.links["next"]["url"].encode()

    assert re.fullmatch(rf"{listed.table}:.*\b2:5", key.decode())
    assert cache.get(key) == token_of(listed.table, cache) + link + b"\n" + response.content
    assert 55 <= cache.ttl(key) <= 60
    assert cache.ttl(f"{listed.table}:generation") == -1

    api.get(listed.url(skip=5, limit=5))
    assert pages(listed, cache) == {key}


def test_lists_share_no_page(api: httpx.Client, database: Database, cache: Any) -> None:
    insert_rows(database, 1, ROWS)
    bodies = {api.get(listed.url()).content for listed in CACHED}
    assert {api.get(listed.url()).content for listed in CACHED} == bodies
    assert len([key for key in cache.scan_iter() if b":generation" not in key]) == len(bodies)


@cached_list
def test_a_cached_page_is_served_without_the_database(
    api: httpx.Client, database: Database, listed: PaginatedList
) -> None:
    insert_rows(database, 1, ROWS)
    first = api.get(listed.url(limit=5))
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
    for url, status in ((listed.url(skip=3), 200), (next_url, 200), (listed.url(limit=0), 422)):
        assert api.get(url).status_code == status
        assert cache.keys() == []


@cached_list
@pytest.mark.parametrize("page", [2, 10**6])
def test_a_page_past_the_end_is_cached_for_a_second(
    api: httpx.Client, cache: Any, few_rows: None, listed: PaginatedList, page: int
) -> None:
    assert listed.keys(api.get(listed.url(page=page))) == []
    [key] = pages(listed, cache)
    assert 0 < cache.pttl(key) <= 1000


@pytest.mark.parametrize(("listed", "write"), list(_invalidations()), ids=str)
def test_a_page_cached_before_a_write_is_not_served_after_it(
    api: httpx.Client, cache: Any, few_rows: None, listed: PaginatedList, write: Write
) -> None:
    before = api.get(listed.url()).json()
    assert api.get(listed.url()).json() == before
    assert write.send(api).is_success
    assert not cache.exists(f"{listed.table}:fence", f"{listed.table}:generation")
    after = api.get(listed.url()).json()

    assert after["data"] != before["data"]
    assert api.get(listed.url(page=1, limit=10)).json() == after


@pytest.mark.parametrize("write", WRITES, ids=str)
def test_a_write_that_changes_nothing_keeps_the_pages(
    api: httpx.Client, cache: Any, few_rows: None, write: Write
) -> None:
    kept = [listed for listed in CACHED if not listed.filters]
    for listed in kept:
        api.get(listed.url())
    generations = [generation_of(listed, cache) for listed in kept]
    rejected = []
    if write.body is not None:
        rejected.append(api.request(write.method, write.path, json=[]))
    if write.method != "POST":
        rejected.append(write.send(api, write.path.replace("/1", "/99")))
    if write.method == "PATCH":
        assert api.patch(write.path, json={}).is_success

    assert {response.status_code for response in rejected} <= {404, 422}
    assert rejected
    assert [generation_of(listed, cache) for listed in kept] == generations
    assert not [key for key in cache.scan_iter() if b":fence" in key]


@pytest.mark.parametrize("write", [write for write in WRITES if write.method != "DELETE"], ids=str)
def test_a_write_keeps_the_pages_of_other_tables(
    api: httpx.Client, cache: Any, few_rows: None, write: Write
) -> None:
    others = [listed for listed in CACHED if listed.table != write.table and not listed.filters]
    for listed in others:
        api.get(listed.url())
    generations = [generation_of(listed, cache) for listed in others]
    assert write.send(api).is_success
    assert None not in generations
    assert [generation_of(listed, cache) for listed in others] == generations
