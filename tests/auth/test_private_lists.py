"""Lists of what is each caller's own, if the OpenAPI document has any (`x-private`)."""

from typing import Any

import httpx
import psycopg
import pytest

from tests.auth.claims import ISSUER
from tests.conftest import ApiOf
from tests.every_resource.conftest import ROWS
from tests.every_resource.document import (
    ALL_WRITES,
    DELETED,
    PRIVATE_LISTS,
    PaginatedList,
    Write,
    follow,
)
from tests.resources import insert_rows
from tests.valkey import empty

Database = psycopg.Connection[Any]
OWN = "INSERT INTO identities (issuer, subject, user_id) VALUES (%s, %s, %s)"
private_list = pytest.mark.parametrize("listed", PRIVATE_LISTS, ids=str)


@pytest.fixture
def callers(api_of: ApiOf, database: Database) -> list[httpx.Client]:
    """Authors who are user 1, whose are every other row and row 1, and user 3; and a stranger."""
    insert_rows(database, 1, ROWS)
    for subject, user_id in (("ada", 1), ("bob", 3)):
        database.execute(OWN, [ISSUER, subject, user_id])
    return [api_of("author", subject=subject) for subject in ("ada", "bob", "stranger")]


def rows(api: httpx.Client, listed: PaginatedList) -> list[dict[str, Any]]:
    """The rows of all pages."""
    return [row for page in follow(api, listed.url(limit=5)) for row in page.json()["data"]]


@private_list
def test_callers_are_shown_their_own_rows_from_the_cache_too(
    callers: list[httpx.Client], listed: PaginatedList
) -> None:
    shown = [rows(api, listed) for api in callers]
    assert [rows(api, listed) for api in callers] == shown
    assert shown[0]
    assert not shown[2]
    assert not [row for row in shown[1] if row in shown[0]]


@private_list
def test_a_deletion_is_shown(
    callers: list[httpx.Client], api_of: ApiOf, listed: PaginatedList
) -> None:
    if listed.table not in DELETED:
        return
    ada = callers[0]
    first, *others = rows(ada, listed)
    path = f"/{listed.table}/{first[listed.key]}"
    assert api_of("admin").delete(path).status_code == 204
    assert rows(ada, listed) == others


@private_list
@pytest.mark.parametrize("write", ALL_WRITES, ids=str)
def test_a_page_cached_before_a_write_is_not_served_after_it(
    callers: list[httpx.Client], api_of: ApiOf, cache: Any, listed: PaginatedList, write: Write
) -> None:
    for api in callers:
        assert rows(api, listed) == rows(api, listed)
    write.send(api_of("admin"))
    after = [rows(api, listed) for api in callers]
    empty(cache)
    assert [rows(api, listed) for api in callers] == after


@private_list
def test_without_a_token_there_is_nothing(
    callers: list[httpx.Client], api: httpx.Client, listed: PaginatedList
) -> None:
    assert api.get(listed.url()).status_code == 401
