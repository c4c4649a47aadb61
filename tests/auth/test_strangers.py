"""Callers who own nothing: rows of others change nothing that they are shown.

For each read that a role is granted only for its own, of which the product may have none.
"""

from typing import Any

import httpx
import psycopg
import pytest

from tests.conftest import ApiOf
from tests.every_resource.document import OWN_READS, url_of
from tests.resources import insert_rows


def shown(api: httpx.Client, path: str) -> tuple[int, str]:
    response = api.get(url_of(path, 1))
    return response.status_code, response.text


@pytest.mark.parametrize(("role", "path"), OWN_READS)
def test_a_stranger_is_shown_nothing_of_others(
    api_of: ApiOf, database: psycopg.Connection[Any], role: str, path: str
) -> None:
    before = shown(api_of(role, subject="stranger"), path)
    assert before[0] in (200, 403, 404)  # 403 where the statement does not limit the rows
    insert_rows(database, 1, 3)
    assert shown(api_of(role, subject="another stranger"), path) == before
