"""The pages for people: documentation, problems, home."""

import inspect
import re
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import httpx
import pytest

from meta import pages
from meta.pages import SWAGGER_UI_FILES, swagger_ui_file
from shared.errors import ApiError
from tests.in_process import client_of

pytestmark = pytest.mark.usefixtures("services")


@pytest.fixture
def api() -> httpx.Client:
    """The API; none of its pages needs the database."""
    return client_of()


def codes_below(parent: type[ApiError]) -> dict[str, type[ApiError]]:
    found: dict[str, type[ApiError]] = {}
    for error in parent.__subclasses__():
        found |= {error.code: error} | codes_below(error)
    return found


def test_home_leads_to_the_docs(api: httpx.Client) -> None:
    response = api.get("/")
    assert response.status_code == 307
    assert response.headers["location"] == "/docs"


def assets(html: str) -> set[str]:
    return set(re.findall(r'(?:src|href)="([^"]+)"', html)) - {"data:,"}


def test_the_docs_page_loads_only_its_own_files(api: httpx.Client) -> None:
    response = api.get("/docs")

    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert {path.partition("?")[0] for path in assets(response.text)} == {
        f"docs/{name}" for name in SWAGGER_UI_FILES
    }
    assert "//" not in re.sub(r"<!doctype.*?>", "", response.text)
    assert 'url: "openapi.json"' in response.text


@pytest.mark.parametrize("page", [pages.swagger_ui_page, pages.problems_page])
def test_a_page_has_any_title(
    monkeypatch: pytest.MonkeyPatch, page: Callable[[], pages.Page]
) -> None:
    monkeypatch.setattr(pages, "TITLE", "Shop {v2} %s $x <API> & {0}")
    html = inspect.unwrap(page)().html
    assert "Shop {v2} %s $x &lt;API&gt; &amp; {0}</title>" in html


@pytest.mark.parametrize("path", ["/docs", "/problems"])
def test_a_page_allows_its_own_inline_code_and_no_other(api: httpx.Client, path: str) -> None:
    response = api.get(path)
    policy = response.headers["content-security-policy"]
    inline = re.findall(r"<(?:script|style)>(.+?)</", response.text, re.DOTALL)
    hashes = [b64encode(sha256(code.encode()).digest()).decode() for code in inline]

    assert re.findall(r"'sha256-(.+?)'", policy) == hashes
    assert len(hashes) == 1
    assert "unsafe" not in policy
    assert " style=" not in response.text
    for directive in ("default-src", "base-uri", "form-action", "frame-ancestors"):
        assert f"{directive} 'none'" in policy


@pytest.mark.parametrize("name", SWAGGER_UI_FILES)
@pytest.mark.parametrize(
    ("accept_encoding", "encoding"),
    [
        (None, None),
        ("", None),
        ("identity", None),
        ("gzip;q=0", None),
        ("gzip; q=0.000, br", None),
        ("*;q=0", None),
        ("*, gzip;q=0", None),
        ("br, deflate", None),
        ("gzip", "gzip"),
        ("gzip, deflate, br, zstd", "gzip"),
        ("br;q=1.0, GZIP;q=0.01", "gzip"),
        ("identity;q=0, *", "gzip"),
    ],
)
def test_a_file_of_the_docs_page_is_compressed_where_the_client_allows_it(
    api: httpx.Client, name: str, accept_encoding: str | None, encoding: str | None
) -> None:
    del api.headers["accept-encoding"]
    headers = {} if accept_encoding is None else {"Accept-Encoding": accept_encoding}
    response = api.get(f"/docs/{name}", headers=headers)

    assert response.status_code == 200
    assert response.headers.get("content-encoding") == encoding
    assert response.headers["vary"] == "Accept-Encoding"
    assert response.headers["content-type"] == SWAGGER_UI_FILES[name]
    assert response.content == swagger_ui_file(name)
    if encoding:
        assert int(response.headers["content-length"]) < len(response.content) / 3


def test_the_document_is_compressed_where_the_client_allows_it(api: httpx.Client) -> None:
    del api.headers["accept-encoding"]
    plain = api.get("/openapi.json")
    small = api.get("/openapi.json", headers={"Accept-Encoding": "gzip"})
    assert small.headers["content-encoding"] == "gzip"
    assert int(small.headers["content-length"]) < len(plain.content) / 5
    assert small.content == plain.content
    assert small.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"
    assert "content-encoding" not in plain.headers


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("name", SWAGGER_UI_FILES)
def test_each_encoding_of_a_file_has_a_tag_of_its_own(
    api: httpx.Client, name: str, method: str
) -> None:
    tags = {}
    for encoding in ("gzip", "identity"):
        accepted = {"Accept-Encoding": encoding}
        response = api.request(method, f"/docs/{name}", headers=accepted)
        tags[encoding] = tag = response.headers["etag"]
        assert re.fullmatch(r'"[!#-~]+"', tag)
        for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            conditional = accepted | {"If-None-Match": known}
            not_modified = api.request(method, f"/docs/{name}", headers=conditional)
            assert not_modified.status_code == 304
            assert not_modified.content == b""
            assert not_modified.headers["etag"] == tag
            assert not_modified.headers["vary"] == "Accept-Encoding"
            assert not_modified.headers["cache-control"] == "no-cache"
            assert "content-encoding" not in not_modified.headers
        changed = accepted | {"If-None-Match": '"other"'}
        assert api.request(method, f"/docs/{name}", headers=changed).status_code == 200
    assert tags["gzip"] != tags["identity"]


def test_a_file_is_cached_for_good_under_the_address_that_the_page_has(api: httpx.Client) -> None:
    paths = assets(api.get("/docs").text)
    kept = {api.get(path).headers["cache-control"] for path in paths}
    asked_again = {
        api.get(other).headers["cache-control"]
        for path in paths
        for other in (path.partition("?")[0], path[:-1], f"{path}0")
    }

    assert kept == {"public, max-age=31536000, immutable"}
    assert asked_again == {"no-cache"}


@pytest.mark.parametrize("name", ["other.js", "swagger-ui.css.map", "handler.py", "%00"])
def test_another_file_is_not_found(api: httpx.Client, name: str) -> None:
    assert api.get(f"/docs/{name}").status_code == 404


def test_the_problems_page_lists_every_error(api: httpx.Client) -> None:
    response = api.get("/problems")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    listed = re.findall(r'<h2 id="([a-z-]+)">(\d{3}) ([^<]+)</h2>', response.text)

    assert {code: (int(status), title) for code, status, title in listed} == {
        code: (error.status, error.title) for code, error in codes_below(ApiError).items()
    }
    assert len(listed) == len({code for code, _, _ in listed})


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/nix"), ("PUT", "/writers"), ("GET", "/writers?limit=0"), ("POST", "/writers")],
)
def test_a_problems_type_leads_to_its_explanation(
    api: httpx.Client, method: str, path: str
) -> None:
    problem: dict[str, Any] = api.request(method, path).json()
    page, _, anchor = problem["type"].partition("#")
    assert f'<h2 id="{anchor}">{problem["status"]} {problem["title"]}</h2>' in api.get(page).text
