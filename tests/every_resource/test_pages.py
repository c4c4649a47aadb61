"""Pages of every list: by skip, by page, and by following next."""

import re
from collections.abc import Iterator
from itertools import product
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest

from local.services import Services
from shared.database.models import METADATA
from shared.http.fields import MAX_ID
from shared.http.pagination import MAX_LIMIT, decode_cursor
from shared.page import OrderedKey
from tests.every_resource.conftest import ROWS
from tests.every_resource.document import (
    LISTS,
    READABLE,
    WHOLE_LISTS,
    PaginatedList,
    array_in,
    by_letters,
    follow,
    query_schemas,
)
from tests.resources import (
    RESOURCE_OF,
    key_for,
)

pytestmark = pytest.mark.usefixtures("filled_api")

every_list = pytest.mark.parametrize("listed", LISTS, ids=str)
whole_list = pytest.mark.parametrize("listed", WHOLE_LISTS, ids=str)
offset_list = pytest.mark.parametrize(
    "listed", [listed for listed in LISTS if listed.has_offsets], ids=str
)
whole_offset_list = pytest.mark.parametrize(
    "listed", [listed for listed in WHOLE_LISTS if listed.has_offsets], ids=str
)


@pytest.fixture(autouse=True)
def _no_cached_page(cache: object) -> None:
    """Pages of other rows may be in the cache."""


UNMATCHED = (
    "Too few rows of tests/resources.py match the filter: give it an example that they match,"
    " Field(examples=[…]), or its column a value that they have, info={ROW_VALUE: …}."
)


def all_keys(api: httpx.Client, listed: PaginatedList) -> list[Any]:
    pages = follow(api, listed.url(limit=listed.max_limit))
    keys = [key for page in pages for key in listed.keys(page)]
    assert len(keys) > 10, UNMATCHED
    return keys


def errors_of(response: httpx.Response) -> list[str]:
    """The rejected parameters."""
    assert response.status_code == 422, response.url
    assert {error["in"] for error in response.json()["errors"]} == {"query"}
    return sorted(error["field"] for error in response.json()["errors"])


@whole_list
def test_a_list_shows_every_row(
    filled_api: httpx.Client, services: Services, listed: PaginatedList
) -> None:
    statement = f"SELECT DISTINCT {listed.column} FROM {listed.table}"
    with psycopg.connect(services.database_url) as database:
        found = {json_key(key) for (key,) in database.execute(statement.encode())}
    assert set(all_keys(filled_api, listed)) == found


@every_list
def test_a_list_is_in_the_order_of_its_key_or_of_a_column(
    filled_api: httpx.Client, services: Services, listed: PaginatedList
) -> None:
    keys = all_keys(filled_api, listed)
    with psycopg.connect(services.database_url) as database:
        assert any(
            [json_key(key) for (key,) in database.execute(order) if json_key(key) in keys] == keys
            for order in orders_of(listed)
        )


def orders_of(listed: PaginatedList) -> Iterator[bytes]:
    """Queries of the keys of the list's table, in each order that a list may have."""
    columns = [one.name for one in METADATA.tables[listed.table].c if not one.nullable]
    for column, direction in product(columns, ("ASC", "DESC")):
        yield (
            "SELECT key FROM"
            f" (SELECT DISTINCT ON (1) {listed.column}, {column} FROM {listed.table})"
            f" AS rows (key, value) ORDER BY value {direction}, key {direction}"
        ).encode()


def json_key(key: object) -> object:
    return str(key) if isinstance(key, UUID) else key


@every_list
def test_an_item_of_a_page_equals_the_response_at_its_own_path(
    filled_api: httpx.Client, listed: PaginatedList
) -> None:
    """An item that is a summary has the same value in each field that both have."""
    items = filled_api.get(listed.url(limit=2)).json()["data"]
    assert len(items) == 2, UNMATCHED
    if listed.table in READABLE and RESOURCE_OF[listed.table].key == listed.column:
        for item in items:
            own = filled_api.get(f"/{listed.table}/{item[listed.key]}").json()
            both = item.keys() & own.keys()
            assert {name: item[name] for name in both} == {name: own[name] for name in both}


@every_list
@pytest.mark.parametrize("limit", [1, 4, 10])
def test_following_next_meets_every_item_once(
    filled_api: httpx.Client, listed: PaginatedList, limit: int
) -> None:
    pages = [listed.keys(page) for page in follow(filled_api, listed.url(limit=limit))]
    keys = [key for page in pages for key in page]

    assert keys == all_keys(filled_api, listed)
    assert len(keys) == len(set(keys))
    assert {len(page) for page in pages[:-1]} <= {limit}
    assert 1 <= len(pages[-1]) <= limit


@every_list
def test_a_page_has_ten_items_by_default(filled_api: httpx.Client, listed: PaginatedList) -> None:
    response = filled_api.get(listed.url())
    assert listed.keys(response) == all_keys(filled_api, listed)[:10]
    assert response.json()["limit"] == 10


@every_list
def test_next_is_a_path_that_keeps_limit_and_filters(
    filled_api: httpx.Client, listed: PaginatedList
) -> None:
    for _ in range(2):  # a page of the database, and of the cache where there is one
        next_url = httpx.URL(filled_api.get(listed.url(limit=4)).json()["next"])
        assert (next_url.scheme, next_url.host, next_url.path) == ("", "", listed.path)
        assert next_url.params["limit"] == "4"
        for name, value in listed.filters:
            assert next_url.params[name].startswith(value)


@offset_list
@pytest.mark.parametrize(
    ("skip", "limit"),
    [(0, 10), (10, 10), (20, 10), (3, 5), (5, 5), (22, 9), (ROWS, 10), (MAX_ID, 10), (MAX_ID, 1)],
)
def test_a_page_begins_after_the_items_that_are_skipped(
    filled_api: httpx.Client, listed: PaginatedList, skip: int, limit: int
) -> None:
    keys = all_keys(filled_api, listed)
    response = filled_api.get(listed.url(skip=skip, limit=limit))
    page = response.json()

    assert listed.keys(response) == keys[skip : skip + limit]
    assert page["page"] == (None if skip % limit else skip // limit + 1)
    assert (page["total"], page["limit"]) == (len(keys), limit)
    assert by_letters(page)["totalpages"] == (len(keys) + limit - 1) // limit
    assert (page["next"] is None) == (skip + limit >= len(keys))
    if page["next"]:
        following = keys[skip + limit : skip + 2 * limit]
        assert listed.keys(filled_api.get(page["next"])) == following
    if page["page"] is not None and skip < MAX_ID:
        assert filled_api.get(listed.url(page=page["page"], limit=limit)).json() == page


@offset_list
def test_a_page_after_a_cursor_has_no_number(
    filled_api: httpx.Client, listed: PaginatedList
) -> None:
    first, second, *_ = (page.json() for page in follow(filled_api, listed.url(limit=4)))
    assert (first["page"], second["page"]) == (1, None)
    assert second["total"] == first["total"]
    assert by_letters(second)["totalpages"] == by_letters(first)["totalpages"]


@whole_offset_list
def test_the_last_full_page_has_no_next(filled_api: httpx.Client, listed: PaginatedList) -> None:
    response = filled_api.get(listed.url(skip=ROWS - 10, limit=10))
    assert len(listed.keys(response)) == 10
    assert response.json()["next"] is None


@whole_offset_list
def test_zeros_may_lead_and_the_largest_numbers_are_taken(
    filled_api: httpx.Client, listed: PaginatedList
) -> None:
    assert filled_api.get(listed.url(limit="0010", skip="00")).json()["page"] == 1
    last_page = MAX_ID // MAX_LIMIT
    page = filled_api.get(listed.url(page=last_page, limit=listed.max_limit)).json()
    assert (page["data"], page["page"], page["next"]) == ([], last_page, None)


LAX = (
    "No filter takes what is no value of its type, as pydantic does: take the types of"
    " shared.http.fields, such as IdParameter, FloatParameter and BoolParameter."
)
NO_INTEGERS = ["", "x", "ten", "null", "true", "-1", "-0", "+1", "1.0", "1.5", "1e1", "0x1", "1_0"]
NO_INTEGERS += [" 1 ", "1\n", "\u0663", str(2**63), str(2**64), "9" * 5000]
NO_NUMBERS = [
    "",
    "x",
    "nan",
    "inf",
    "Infinity",
    "+1",
    " 1",
    "1_0",
    ".5",
    "5.",
    "01",
    "0x1",
    "1e999",
]
NO_BOOLEANS = ["", "yes", "on", "1", "t", "True", "TRUE", " true"]
INVALID = {
    "limit": [*NO_INTEGERS, "0"],
    "skip": NO_INTEGERS,
    "page": [*NO_INTEGERS, "0", str(MAX_ID // MAX_LIMIT + 1)],
    "cursor": ["", "A", "5", "\x00", "ü", "!!!!", "nonsense", "A" * 22, "A" * 65, "A" * 5000],
}


@whole_list
@pytest.mark.parametrize("name", INVALID)
def test_an_invalid_parameter_is_named(
    filled_api: httpx.Client, listed: PaginatedList, name: str
) -> None:
    expected = [name if name in listed.parameters else "query"]
    above = [str(listed.max_limit + 1)] if name == "limit" else []
    for value in (*INVALID[name], *above):
        assert errors_of(filled_api.get(listed.path, params={name: value})) == expected, value


@pytest.mark.parametrize(
    ("listed", "name", "value"),
    {(one.template, *given): (one, *given) for one in LISTS for given in one.filters}.values(),
    ids=str,
)
def test_an_invalid_filter_is_named(
    filled_api: httpx.Client, listed: PaginatedList, name: str, value: str
) -> None:
    schema = query_schemas(listed.template)[name]
    invalid = [f"{value}\x00", f"{value}\n"]
    if schema.get("type") == "integer":
        invalid += [one for one in (*NO_INTEGERS, "0") if not is_within(one, schema)]
    invalid += {"number": NO_NUMBERS, "boolean": NO_BOOLEANS}.get(schema.get("type", ""), [])
    if {"date", "date-time"} & {one.get("format") for one in schema.get("anyOf", [schema])}:
        invalid += ["0", "1769904000"]  # times of Unix, to pydantic
    for text in invalid:
        fields = errors_of(filled_api.get(listed.url(**{name: text})))
        assert fields == [name if array_in(schema) is None else f"{name}.0"], f"{text} {LAX}"


def is_within(text: str, schema: dict[str, Any]) -> bool:
    """Whether the text is an integer within the schema's bounds."""
    is_integer = re.fullmatch(r"-?[1-9][0-9]{0,18}|0", text) is not None
    return is_integer and schema["minimum"] <= int(text) <= schema["maximum"]


@whole_list
@pytest.mark.parametrize("name", ["offset", "Limit", "limi", "q", "\x00", "skip", "page"])
def test_an_unknown_parameter_is_rejected_with_the_names_of_those_that_are_known(
    filled_api: httpx.Client, listed: PaginatedList, name: str
) -> None:
    if name not in listed.parameters:
        response = filled_api.get(listed.path, params={name: "1"})
        assert errors_of(response) == ["query"]
        assert all(known in response.json()["detail"] for known in listed.parameters)


@whole_list
def test_every_invalid_parameter_is_named(filled_api: httpx.Client, listed: PaginatedList) -> None:
    response = filled_api.get(listed.path, params={"limit": "0", "cursor": ""})
    assert errors_of(response) == ["cursor", "limit"]
    assert filled_api.get(f"{listed.path}?%ED%A0%80=1").status_code == 422


@whole_offset_list
@pytest.mark.parametrize(
    ("ways", "rejected"),
    [
        (("skip", "page"), "page"),
        (("skip", "cursor"), "cursor"),
        (("page", "cursor"), "cursor"),
        (("skip", "page", "cursor"), "page"),
    ],
)
def test_a_page_begins_in_one_way(
    filled_api: httpx.Client, listed: PaginatedList, ways: tuple[str, ...], rejected: str
) -> None:
    positions = {"skip": "0", "page": "1", "cursor": cursor_of(filled_api, listed)}
    response = filled_api.get(listed.path, params={name: positions[name] for name in ways})
    assert errors_of(response) == [rejected]


def cursor_of(api: httpx.Client, listed: PaginatedList) -> str:
    return str(httpx.URL(api.get(listed.url(limit=1)).json()["next"]).params["cursor"])


@every_list
def test_a_malformed_cursor_is_rejected(filled_api: httpx.Client, listed: PaginatedList) -> None:
    cursor = cursor_of(filled_api, listed)
    malformed = [f"{cursor}A", f"{cursor}=", cursor[:8], f"_{cursor[1:]}"]
    if not isinstance(decode_cursor(cursor), OrderedKey):  # in which a shorter text is another's
        malformed += [cursor[:-1], f"{cursor[:-1]}B"]
    for text in malformed:
        assert errors_of(filled_api.get(listed.url(cursor=text))) == ["cursor"], text


lists_of_a_row = pytest.mark.parametrize(
    ("listed", "name"), [(listed, name) for listed in LISTS for name in listed.references], ids=str
)


@lists_of_a_row
def test_a_list_of_a_row_shows_only_what_belongs_to_it(
    filled_api: httpx.Client, listed: PaginatedList, name: str
) -> None:
    pages = follow(filled_api, listed.url(limit=listed.max_limit))
    items = [item for page in pages for item in page.json()["data"]]
    first = key_for(name, 1)
    assert {item.get(name, first) for item in items} == {first}
    assert len(items) == ROWS // 2 + 1  # row 1 itself, and every other one


@lists_of_a_row
@pytest.mark.parametrize("row", [99, MAX_ID])
def test_a_list_of_an_unknown_row_is_empty(
    filled_api: httpx.Client, listed: PaginatedList, name: str, row: int
) -> None:
    unknown = row if isinstance(key_for(name, 1), int) else key_for(name, 99)
    page = by_letters(filled_api.get(listed.url(**{name: unknown})).json())
    assert (page["data"], page["total"], page["totalpages"]) == ([], 0, 0)
