"""The pages for people: documentation, problems, home."""

import gzip
import re
from typing import Any

import httpx
import pytest

from blog.errors import ApiError
from docs.pages import SWAGGER_UI_FILES
from tests.in_process import LambdaTransport

pytestmark = pytest.mark.usefixtures("services")


@pytest.fixture
def pages() -> httpx.Client:
    """The API; none of its pages needs the database."""
    return httpx.Client(transport=LambdaTransport(), base_url="http://api.test")


def codes_below(parent: type[ApiError]) -> dict[str, type[ApiError]]:
    found: dict[str, type[ApiError]] = {}
    for error in parent.__subclasses__():
        found |= {error.code: error} | codes_below(error)
    return found


def test_home_leads_to_the_docs(pages: httpx.Client) -> None:
    answer = pages.get("/")
    assert answer.status_code == 307
    assert answer.headers["location"] == "/docs"


def test_the_docs_page_loads_nothing_from_elsewhere(pages: httpx.Client) -> None:
    answer = pages.get("/docs")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    sources = re.findall(r'(?:src|href)="([^"]+)"', answer.text)
    assert {source for source in sources if source != "data:,"} == {
        f"/docs/{name}" for name in SWAGGER_UI_FILES
    }
    assert "//" not in re.sub(r"<!doctype.*?>", "", answer.text)
    assert 'url: "/openapi.json"' in answer.text


@pytest.mark.parametrize(("name", "media_type"), SWAGGER_UI_FILES.items())
def test_a_file_of_the_docs_page_is_served_compressed(
    pages: httpx.Client, name: str, media_type: str
) -> None:
    transport = LambdaTransport()
    answer = transport.handle_request(httpx.Request("GET", f"http://api.test/docs/{name}"))
    plain = pages.get(f"/docs/{name}")

    assert answer.status_code == 200
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["content-type"] == media_type
    assert "max-age" in answer.headers["cache-control"]
    assert "swagger" in plain.text
    assert len(gzip.compress(plain.content)) < 1_000_000


@pytest.mark.parametrize("name", ["other.js", "swagger-ui.css.map", "handler.py", "%00"])
def test_there_is_no_other_file(pages: httpx.Client, name: str) -> None:
    assert pages.get(f"/docs/{name}").status_code == 404


def test_the_problems_page_lists_every_error(pages: httpx.Client) -> None:
    answer = pages.get("/problems")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    listed = re.findall(r'<h2 id="([a-z-]+)">(\d{3}) ([^<]+)</h2>', answer.text)

    assert {code: (int(status), title) for code, status, title in listed} == {
        code: (error.status, error.title) for code, error in codes_below(ApiError).items()
    }
    assert len(listed) == len({code for code, _, _ in listed})


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/nix"), ("PUT", "/users"), ("GET", "/users?limit=0"), ("POST", "/users")],
)
def test_a_problems_type_leads_to_its_explanation(
    pages: httpx.Client, method: str, path: str
) -> None:
    problem: dict[str, Any] = pages.request(method, path).json()
    page, _, anchor = problem["type"].partition("#")
    assert f'<h2 id="{anchor}">{problem["status"]} {problem["title"]}</h2>' in pages.get(page).text
