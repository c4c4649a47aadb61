"""Every list while rows are written."""

from typing import Any

import httpx
import psycopg
import pytest

from tests.every_resource.conftest import ROWS
from tests.every_resource.document import LISTS, PaginatedList, by_letters, follow
from tests.resources import delete_referring, insert_rows

Database = psycopg.Connection[Any]

every_list = pytest.mark.parametrize("listed", LISTS, ids=str)


@every_list
def test_a_list_without_rows_is_an_empty_page(api: httpx.Client, listed: PaginatedList) -> None:
    response = api.get(listed.url())
    page: dict[str, Any] = {"data": [], "limit": 10, "next": None}
    if listed.has_offsets:
        page |= {"total": 0, "page": 1, "totalpages": 0}

    assert response.status_code == 200
    assert by_letters(response.json()) == page
    assert "link" not in response.headers


@every_list
def test_following_next_repeats_and_loses_no_item_while_others_are_written(
    api: httpx.Client, database: Database, listed: PaginatedList
) -> None:
    insert_rows(database, 1, ROWS)
    pages = follow(api, listed.url(limit=listed.max_limit))
    there_before = {key for page in pages for key in listed.keys(page)}
    deletion = f"DELETE FROM {listed.table} WHERE {listed.column}::text = ANY(%s)".encode()
    met: list[Any] = []
    next_url, written = listed.url(limit=3), ROWS
    while next_url:
        response = api.get(next_url)
        keys = listed.keys(response)
        met += keys
        next_url = response.json()["next"]
        if written < ROWS + 4:
            written += 1
            insert_rows(database, written, written)
            delete_referring(database, listed.table)
            seen = [str(key) for key in keys[1:]]  # the row that the cursor names is the last
            database.execute(deletion, [seen])

    assert len(met) == len(set(met))
    assert set(met) >= there_before
    if met[0] < met[-1]:
        assert max(met) > max(there_before)
    else:
        assert set(met) == there_before
