"""docs/api.md shows every operation and every error; its requests get the responses it shows."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from local.generate.api_page import FIELDS, ROUTES, with_tables
from local.generate.http_semantics import resolved
from shared.errors import concrete_errors
from tests.auth.claims import REQUIRED, claims_of
from tests.conftest import Worker
from tests.documentation.curl import blocks, send
from tests.in_process import client_of
from tests.resources import FUNCTIONS, ROOT

PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
CREATED_AT = re.compile(r'("created_at": ?)"[^"]+"')


@pytest.fixture
def api(worker: Worker, emptied: None, cache: object) -> Iterator[httpx.Client]:
    """The API for an administrator, as `make run` serves it."""
    worker.restart(**REQUIRED)
    with client_of(claims=claims_of("admin")) as client:
        yield client


def test_the_responses_are_those_that_it_shows(api: httpx.Client) -> None:
    requests, responses = blocks(PAGE, "sh"), blocks(PAGE, "http")
    assert len(requests) == len(responses)
    assert requests
    for request, shown in zip(requests, responses, strict=True):
        head, _, body = shown.partition("\n\n")
        status_line, *headers = head.strip().split("\n")
        response = send(api, request)
        assert response.status_code == int(status_line.split()[1]), f"{request}{response.text}"
        for header in headers:
            name, _, value = header.partition(": ")
            assert response.headers[name] == value, request
        assert _content(response.text) == _content(body), request


def test_every_operation_of_a_section_is_shown() -> None:
    document = json.loads((FUNCTIONS / "meta" / "openapi.json").read_text(encoding="utf-8"))
    sections = set(re.findall(r"^## (.*)$", PAGE, re.MULTILINE))
    assert "Meta" in sections
    operations = {
        f"{method.upper()} {path}"
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if operation["tags"][0].capitalize() in sections
    }
    assert set(re.findall(r"^### (.*)$", PAGE, re.MULTILINE)) == operations


def test_every_error_is_in_the_table() -> None:
    rows = [
        f"| {error.status} | `{error.code}` | {error.description} |" for error in concrete_errors()
    ]
    assert "\n".join(sorted(rows)) in PAGE


def test_its_tables_are_current() -> None:
    assert with_tables(PAGE) == PAGE


def test_its_tables_have_every_route_and_every_field_of_a_body() -> None:
    document = json.loads((FUNCTIONS / "meta" / "openapi.json").read_text(encoding="utf-8"))
    assert len(rows_below(ROUTES)) == sum(map(len, document["paths"].values()))
    bodies = (
        item["post"]["requestBody"]["content"]["application/json"]["schema"]
        for item in document["paths"].values()
        if "requestBody" in item.get("post", {})
    )
    fields = [field for body in bodies for field in resolved(document, body)["properties"]]
    assert [row.split("|")[2].strip(" `") for row in rows_below(FIELDS)] == fields


def rows_below(header: str) -> list[str]:
    """The rows of the table with this header."""
    return PAGE.partition(header)[2].partition("\n\n")[0].splitlines()[1:]


def _content(body: str) -> Any:
    return json.loads(CREATED_AT.sub(r'\1"any time"', body)) if body.strip() else None
