"""Requests that the framework itself rejects: paths, methods, bodies that are not JSON."""

import gzip
import json
import sys
from typing import Any

import httpx
import pytest
from fastapi import APIRouter

from meta.pages import SWAGGER_UI_FILES
from shared.http.application import create_app, lambda_handler
from tests.conftest import Worker
from tests.every_resource.document import DOCUMENT, WRITES, Write, target_of
from tests.in_process import client_of

UNDOCUMENTED = ("/", *(f"/docs/{name}" for name in SWAGGER_UI_FILES))
ALLOWED = dict.fromkeys(UNDOCUMENTED, "GET, HEAD, OPTIONS") | {
    target_of(path, 1): ", ".join(
        sorted(
            {method.upper() for method in operations}
            | {"OPTIONS"}
            | ({"HEAD"} if "get" in operations else set())
        )
    )
    for path, operations in DOCUMENT["paths"].items()
}
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"]
WITH_BODY = [write for write in WRITES if write.body is not None]
JSON = {"Content-Type": "application/json"}

every_write = pytest.mark.parametrize("write", WITH_BODY, ids=str)


@pytest.fixture(scope="module")
def client() -> httpx.Client:
    """The API; nothing here reaches the database."""
    return client_of()


pytestmark = pytest.mark.usefixtures("services")


@pytest.mark.parametrize(("path", "allowed"), ALLOWED.items())
def test_a_method_that_a_path_lacks_is_405_with_all_that_it_has(
    client: httpx.Client, path: str, allowed: str
) -> None:
    for method in set(METHODS) - set(allowed.split(", ")):
        response = client.request(method, path)
        assert response.status_code == 405
        assert response.headers["allow"] == allowed
        assert response.headers["content-type"] == "application/problem+json"
        if method != "HEAD":
            assert response.json()["type"] == "/problems#method-not-allowed"
            assert allowed in response.json()["detail"]


@pytest.mark.parametrize(("path", "allowed"), ALLOWED.items())
def test_options_lists_the_methods_and_the_media_types_of_patch(
    client: httpx.Client, path: str, allowed: str
) -> None:
    response = client.options(path)
    assert (response.status_code, response.content) == (204, b"")
    assert response.headers["allow"] == allowed
    accepted = "application/json, application/merge-patch+json" if "PATCH" in allowed else None
    assert response.headers.get("accept-patch") == accepted


@pytest.mark.parametrize("write", [one for one in WITH_BODY if one.method == "PATCH"], ids=str)
@pytest.mark.parametrize(
    "media_type", ["application/json-patch+json", "application/xml", "text/json"]
)
def test_a_patch_of_another_media_type_is_415_and_lists_the_supported_ones(
    client: httpx.Client, write: Write, media_type: str
) -> None:
    response = client.patch(write.path, content=b"{}", headers={"Content-Type": media_type})
    assert response.status_code == 415
    assert response.headers["accept-patch"] == "application/json, application/merge-patch+json"


@pytest.mark.parametrize("write", [one for one in WITH_BODY if one.method == "PATCH"], ids=str)
@pytest.mark.parametrize(
    "media_type", ["Application/JSON; charset=utf-8", "application/merge-patch+json"]
)
def test_a_patch_is_json_or_a_merge_patch(
    client: httpx.Client, write: Write, media_type: str
) -> None:
    """Judged by its content then, a field that is unknown."""
    response = client.patch(
        write.path, content=b'{"unknown": 1}', headers={"Content-Type": media_type}
    )
    assert response.status_code == 422
    assert {error["in"] for error in response.json()["errors"]} == {"body"}


@pytest.mark.parametrize(
    "path",
    [
        "/nix",
        "/favicon.ico",
        "/docs/",
        "/docs/%2e%2e/handler.py",
        "/health/",
        "/writers/",
        "/writers/x",
        "/writers/1/1",
        "/writers/search/",
        "/writers/stats/1",
        "/articles/",
        "/articles/-1",
        "/Writers",
        "/%00",
        "/writers%0A",
        "/writers/search%0A",
        "/writers/1%0A",
        "/articles/1%0A",
        "/docs%0A",
        "/docs/swagger-ui.css%0A",
        "/%0A",
    ],
)
def test_an_unknown_path_is_404_for_every_method(client: httpx.Client, path: str) -> None:
    for method in METHODS:
        response = client.request(method, path)
        assert response.status_code == 404
        assert response.headers["content-type"] == "application/problem+json"
        assert method == "HEAD" or response.json()["type"] == "/problems#not-found"


@pytest.mark.parametrize("character", ["\0", "\n", "\r", "\x1f", "\x7f", "\ud800"], ids=ascii)
def test_no_path_has_a_control_character_or_a_surrogate(worker: Worker, character: str) -> None:
    """PostgreSQL would reject NUL, and UTF-8 a surrogate."""

    async def greet(name: str) -> str:
        return name

    router = APIRouter()
    router.add_api_route("/greet/{name}", greet)
    handler = lambda_handler(create_app(router, is_public=True))

    def handle(event: dict[str, Any], context: Any) -> Any:
        odd = event["rawPath"].replace("ODD", character)
        return handler(event | {"rawPath": odd}, context)

    with client_of(handler=handle) as api:
        assert api.get("/greet/a%20%C3%BC%F0%9F%98%80").json() == "a \u00fc\U0001f600"
        assert api.get("/greet/aODDb").status_code == 404


@every_write
@pytest.mark.parametrize(
    ("body", "position"),
    [
        ("{", 1),
        ('{"name": }', 9),
        # Python names the comma since 3.13, before that what follows it.
        ('{"name": "Ada",}', 14 if sys.version_info >= (3, 13) else 15),
        ('{"name": "Ada"} x', 16),
        ('{"name": "A\nda"}', 11),
        ("name=Ada", 0),
        ("'", 0),
        ('{"name": "\\x"}', 10),
    ],
)
def test_a_body_that_is_not_json_is_400_with_its_position(
    client: httpx.Client, write: Write, body: str, position: int
) -> None:
    response = client.request(write.method, write.path, content=body, headers=JSON)

    assert response.status_code == 400
    problem = response.json()
    assert problem["type"] == "/problems#malformed-body"
    assert problem["detail"].endswith(f" at character {position}.")
    assert "Ada" not in response.text


NESTED_IN = ["{}", '{{"name": {}}}', "[[{}]]", '{{"a": [{{"b": {}}}]}}']


@every_write
@pytest.mark.parametrize("around", NESTED_IN)
@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        ("NaN", "NaN or Infinity"),
        ("Infinity", "NaN or Infinity"),
        ("-Infinity", "NaN or Infinity"),
        ("1e999", "a number that is out of range"),
        ("-1.5e400", "a number that is out of range"),
        ("9" * 10_000, "a number of too many digits"),
        ('"\\ud800"', "a lone surrogate"),
        ('"\\uDC00\\ud800"', "a lone surrogate"),
        ('{"\\udfff": 1}', "a lone surrogate"),
        ('{"x": 1, "x": 1}', "a repeated member"),
        ('{"x": 1, "y": 2, "\\u0078": 3}', "a repeated member"),
        ("[" * 50_000, "nested too deeply"),
        ('{"x":' * 15_000, "nested too deeply"),
    ],
    ids=lambda text: text[:20],
)
def test_a_body_that_readers_would_read_differently_is_400(
    client: httpx.Client, write: Write, around: str, value: str, wrong: str
) -> None:
    body = around.format(value)
    response = client.request(write.method, write.path, content=body, headers=JSON)

    assert response.status_code == 400
    assert response.json()["type"] == "/problems#malformed-body"
    assert wrong in response.json()["detail"]


@every_write
@pytest.mark.parametrize("charset", ["", "; charset=utf-8", "; charset=utf-16"])
@pytest.mark.parametrize(
    "encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be", "latin-1"]
)
def test_a_body_in_another_encoding_than_utf_8_is_400(
    client: httpx.Client, write: Write, encoding: str, charset: str
) -> None:
    """Also if its Content-Type says which: JSON has no parameter for that."""
    body = json.dumps({"name": "é"}, ensure_ascii=False).encode(encoding)
    headers = {"Content-Type": f"application/json{charset}"}
    response = client.request(write.method, write.path, content=body, headers=headers)

    assert response.status_code == 400
    assert response.json()["type"] == "/problems#malformed-body"


@every_write
@pytest.mark.parametrize("body", ["true", "null", "[]", '"x"', "1", "[{}]"])
def test_a_body_that_is_not_an_object_is_422(client: httpx.Client, write: Write, body: str) -> None:
    response = client.request(write.method, write.path, content=body, headers=JSON)
    assert response.status_code == 422
    assert response.json()["errors"][0]["in"] == "body"


@pytest.mark.parametrize("value", ["9" * 4000, "1.5", "1e3", "[[[[]]]]", "{}"])
@every_write
def test_a_value_that_no_field_takes_is_422(client: httpx.Client, write: Write, value: str) -> None:
    fields = ", ".join(f'"{name}": {value}' for name in write.body or {})
    body = f"{{{fields}}}"
    response = client.request(write.method, write.path, content=body, headers=JSON)
    assert response.status_code == 422


@every_write
@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "zstd", "GZIP", "gzip, gzip", "nix"])
def test_a_compressed_body_is_415_and_names_the_supported_coding(
    client: httpx.Client, write: Write, coding: str
) -> None:
    headers = JSON | {"Content-Encoding": coding}
    body = gzip.compress(json.dumps(write.body).encode())
    response = client.request(write.method, write.path, content=body, headers=headers)

    assert response.status_code == 415
    assert response.json()["type"] == "/problems#unsupported-media-type"
    assert response.headers["accept-encoding"] == "identity"


@every_write
@pytest.mark.parametrize("coding", ["", "identity", "Identity"])
def test_a_body_that_is_not_compressed_may_say_so(
    client: httpx.Client, write: Write, coding: str
) -> None:
    headers = JSON | {"Content-Encoding": coding}
    response = client.request(write.method, write.path, content="[]", headers=headers)
    assert response.status_code == 422


@every_write
@pytest.mark.parametrize(
    "media_type",
    [
        None,
        "",
        "text/plain",
        "application/xml",
        "text/html; charset=utf-8",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonx",
        "json",
        "*/*",
    ],
)
def test_a_body_of_another_media_type_is_415(
    client: httpx.Client, write: Write, media_type: str | None
) -> None:
    headers = {} if media_type is None else {"Content-Type": media_type}
    response = client.request(write.method, write.path, content='{"name": "Ada"}', headers=headers)

    assert response.status_code == 415
    assert response.json()["type"] == "/problems#unsupported-media-type"
    assert "application/json" in response.json()["detail"]
    assert ("is missing" in response.json()["detail"]) is (media_type is None)
    assert "accept-encoding" not in response.headers  # that is only for codings: RFC 7694


@pytest.mark.parametrize(
    "media_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        "APPLICATION/JSON",
        "application/merge-patch+json",
        "application/vnd.api+json",
    ],
)
def test_a_body_of_a_json_media_type_is_read(client: httpx.Client, media_type: str) -> None:
    response = client.post("/writers", content="{}", headers={"Content-Type": media_type})
    assert response.status_code == 422


@every_write
def test_a_missing_body_is_422(client: httpx.Client, write: Write) -> None:
    for headers in ({}, JSON):
        response = client.request(write.method, write.path, headers=headers)
        assert response.status_code == 422
        assert response.json()["errors"][0]["in"] == "body"
