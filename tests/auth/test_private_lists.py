"""Lists of what is each caller's own, if the OpenAPI document has any (`x-private`)."""

from typing import Any

import httpx
import psycopg
import pytest

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
    for _ in range(2):
        shown = [rows(api, path) for api in callers]
        assert [len(own) for own in shown] == [ROWS // 2 + 1, 1, 0]
        assert not [row for row in shown[1] if row in shown[0]]


@private_list
def test_a_change_is_shown(callers: list[httpx.Client], database: Database, path: str) -> None:
    ada = callers[0]
    table = DOCUMENT["paths"][path]["get"]["tags"][0]
    first, *others = rows(ada, path)
    assert ada.delete(f"/{table}/{first['id']}").status_code == 204
    assert rows(ada, path) == others


@private_list
def test_without_a_token_there_is_nothing(
    callers: list[httpx.Client], api: httpx.Client, path: str
) -> None:
    assert api.get(path).status_code == 401
