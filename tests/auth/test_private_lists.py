"""Lists of what is each caller's own, if the OpenAPI document has any (`x-private`)."""

import re
from typing import Any

import httpx
import psycopg
import pytest

from tests.auth.claims import ISSUER
from tests.conftest import ApiOf
from tests.every_resource.conftest import ROWS
from tests.every_resource.document import ALL_WRITES, DOCUMENT, PRIVATE_LISTS, Write
from tests.resources import RESOURCE_OF, insert_rows, key_for
from tests.valkey import empty

Database = psycopg.Connection[Any]
OWN = "INSERT INTO identities (issuer, subject, user_id) VALUES (%s, %s, %s)"
private_list = pytest.mark.parametrize("path", PRIVATE_LISTS)


@pytest.fixture
def callers(api_of: ApiOf, database: Database) -> list[httpx.Client]:
    """Authors who are user 1, whose are every other row and row 1, and user 3; and a stranger."""
    insert_rows(database, 1, ROWS)
    for subject, user_id in (("ada", 1), ("bob", 3)):
        database.execute(OWN, [ISSUER, subject, user_id])
    return [api_of("author", subject=subject) for subject in ("ada", "bob", "stranger")]


def rows(api: httpx.Client, path: str) -> list[dict[str, Any]]:
    """The rows of all pages."""
    found: list[dict[str, Any]] = []
    of_items = re.sub(r"{(\w+)}", lambda name: str(key_for(name[1], 1)), path)
    next_url: str | None = f"{of_items}?limit=5"
    while next_url:
        page = api.get(next_url).raise_for_status().json()
        found += page["data"]
        next_url = page["next"]
    return found


@private_list
def test_callers_are_shown_their_own_rows_from_the_cache_too(
    callers: list[httpx.Client], path: str
) -> None:
    shown = [rows(api, path) for api in callers]
    assert [rows(api, path) for api in callers] == shown
    assert shown[0]
    assert not shown[2]
    assert not [row for row in shown[1] if row in shown[0]]


@private_list
def test_a_change_is_shown(callers: list[httpx.Client], api_of: ApiOf, path: str) -> None:
    ada = callers[0]
    first, *others = rows(ada, path)
    table = DOCUMENT["paths"][path]["get"]["tags"][0]
    key = first[RESOURCE_OF[table].key]
    assert api_of("admin").delete(f"/{table}/{key}").status_code == 204
    assert rows(ada, path) == others


@private_list
@pytest.mark.parametrize("write", ALL_WRITES, ids=str)
def test_a_page_cached_before_a_write_is_not_served_after_it(
    callers: list[httpx.Client], api_of: ApiOf, cache: Any, path: str, write: Write
) -> None:
    for api in callers:
        assert rows(api, path) == rows(api, path)
    write.send(api_of("admin"))
    after = [rows(api, path) for api in callers]
    empty(cache)
    assert [rows(api, path) for api in callers] == after


@private_list
def test_without_a_token_there_is_nothing(
    callers: list[httpx.Client], api: httpx.Client, path: str
) -> None:
    assert api.get(path).status_code == 401
