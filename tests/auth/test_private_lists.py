"""Lists of what is each caller's own, if the OpenAPI document has any (`x-private`)."""

from typing import Any

import httpx
import psycopg
import pytest
from sqlalchemy import Table

from shared.database.models import METADATA, identities
from tests.auth.claims import ISSUER
from tests.conftest import ApiOf
from tests.every_resource.conftest import ROWS
from tests.every_resource.document import DOCUMENT, PRIVATE_LISTS
from tests.resources import insert_rows

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


def table_of(path: str) -> Table:
    return METADATA.tables[DOCUMENT["paths"][path]["get"]["tags"][0]]


def has_owner(path: str) -> bool:
    """Whether the rows refer to a user; otherwise a membership, say, makes them a caller's own."""
    users = {key.column for key in identities.c.user_id.foreign_keys}
    return any(key.column in users for key in table_of(path).foreign_keys)


def rows(api: httpx.Client, path: str) -> list[dict[str, Any]]:
    """The rows of all pages."""
    found: list[dict[str, Any]] = []
    next_url: str | None = f"{path}?limit=5"
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
    assert [bool(own) for own in shown] == [True, True, False]
    assert not [row for row in shown[1] if row in shown[0]]
    if has_owner(path):
        assert [len(own) for own in shown] == [ROWS // 2 + 1, 1, 0]


@private_list
def test_a_change_is_shown(callers: list[httpx.Client], api_of: ApiOf, path: str) -> None:
    ada = callers[0]
    first, *others = rows(ada, path)
    assert api_of("admin").delete(f"/{table_of(path).name}/{first['id']}").status_code == 204
    assert rows(ada, path) == others


@private_list
def test_without_a_token_there_is_nothing(
    callers: list[httpx.Client], api: httpx.Client, path: str
) -> None:
    assert api.get(path).status_code == 401
