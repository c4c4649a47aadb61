"""What the framework answers by itself: paths, methods, bodies that are no JSON."""

import json
import re
import sys

import httpx
import pytest

from local.generate.openapi import OPENAPI_FILE
from meta.pages import SWAGGER_UI_FILES
from tests.in_process import LambdaTransport

UNDOCUMENTED = ("/", *(f"/docs/{name}" for name in SWAGGER_UI_FILES))
ALLOWED = dict.fromkeys(UNDOCUMENTED, "GET, HEAD") | {
    re.sub(r"{\w+}", "1", path): ", ".join(
        sorted(
            {method.upper() for method in operations} | ({"HEAD"} if "get" in operations else set())
        )
    )
    for path, operations in json.loads(OPENAPI_FILE.read_text(encoding="utf-8"))["paths"].items()
}
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"]
REFUSED = [
    (method, path, allowed)
    for path, allowed in ALLOWED.items()
    for method in METHODS
    if method not in allowed.split(", ")
]
WRITES = [("POST", "/users"), ("PUT", "/users/1"), ("PATCH", "/posts/1"), ("POST", "/posts")]


@pytest.fixture(scope="module")
def client() -> httpx.Client:
    """The API; nothing here reaches the database."""
    return httpx.Client(transport=LambdaTransport(), base_url="http://api.test")


pytestmark = pytest.mark.usefixtures("services")


@pytest.mark.parametrize(("method", "path", "allowed"), REFUSED)
def test_a_method_that_a_path_lacks_is_405_with_all_that_it_has(
    client: httpx.Client, method: str, path: str, allowed: str
) -> None:
    answer = client.request(method, path)

    assert answer.status_code == 405
    assert answer.headers["allow"] == allowed
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "/problems#method-not-allowed"
    assert allowed in answer.json()["detail"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "path",
    [
        "/nix",
        "/favicon.ico",
        "/docs/",
        "/docs/%2e%2e/handler.py",
        "/health/",
        "/users/",
        "/users/x",
        "/users/1/posts",
        "/users/search/",
        "/users/stats/1",
        "/posts/",
        "/posts/-1",
        "/Users",
        "/%00",
        "/users%0A",
        "/users/search%0A",
        "/users/1%0A",
        "/posts/1%0A",
        "/docs%0A",
        "/docs/swagger-ui.css%0A",
        "/%0A",
    ],
)
def test_an_unknown_path_is_404_whatever_the_method(
    client: httpx.Client, method: str, path: str
) -> None:
    answer = client.request(method, path)

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert method == "HEAD" or answer.json()["type"] == "/problems#not-found"


@pytest.mark.parametrize(("method", "path"), WRITES)
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
def test_a_body_that_is_no_json_is_400_with_its_position(
    client: httpx.Client, method: str, path: str, body: str, position: int
) -> None:
    answer = client.request(
        method, path, content=body, headers={"Content-Type": "application/json"}
    )

    assert answer.status_code == 400
    problem = answer.json()
    assert problem["type"] == "/problems#malformed-body"
    assert problem["detail"].endswith(f" at character {position}.")
    assert "Ada" not in answer.text


@pytest.mark.parametrize(("method", "path"), WRITES)
@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"name":' * 15_000,
        b"9" * 10_000,
        b'{"name": "\xff"}',
        b"\xff\xfe",
    ],
    ids=["deep list", "deep object", "10000 digits", "no UTF-8", "bare byte order mark"],
)
def test_a_body_that_python_cannot_read_is_400(
    client: httpx.Client, method: str, path: str, body: bytes
) -> None:
    answer = client.request(
        method, path, content=body, headers={"Content-Type": "application/json"}
    )

    assert answer.status_code == 400
    assert answer.json()["type"] == "/problems#malformed-body"


@pytest.mark.parametrize(("method", "path"), WRITES)
@pytest.mark.parametrize("body", ["NaN", "Infinity", "-Infinity", "1e999", "true", "[]", '"x"'])
def test_a_body_that_is_no_object_is_422(
    client: httpx.Client, method: str, path: str, body: str
) -> None:
    answer = client.request(
        method, path, content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["in"] == "body"


@pytest.mark.parametrize(
    "value", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 4000, "1.5", "[[[[]]]]", "{}"]
)
@pytest.mark.parametrize("path", ["/users", "/posts"])
def test_a_value_that_no_field_takes_is_422(client: httpx.Client, path: str, value: str) -> None:
    body = f'{{"name": {value}, "user_id": {value}, "title": "T", "content": "C"}}'
    answer = client.post(path, content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == 422
    assert json.loads(answer.text, parse_constant=pytest.fail)


@pytest.mark.parametrize(("method", "path"), WRITES)
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
    client: httpx.Client, method: str, path: str, media_type: str | None
) -> None:
    headers = {} if media_type is None else {"Content-Type": media_type}
    answer = client.request(method, path, content='{"name": "Ada"}', headers=headers)

    assert answer.status_code == 415
    assert answer.json()["type"] == "/problems#unsupported-media-type"
    assert "application/json" in answer.json()["detail"]


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
    answer = client.post("/users", content="{}", headers={"Content-Type": media_type})
    assert answer.status_code == 422


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_a_missing_body_is_422(client: httpx.Client, method: str, path: str) -> None:
    for headers in ({}, {"Content-Type": "application/json"}):
        answer = client.request(method, path, headers=headers)
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["in"] == "body"


def test_a_lone_surrogate_in_a_fields_name_is_no_bug(client: httpx.Client) -> None:
    for method, path in WRITES:
        answer = client.request(
            method,
            path,
            content=b'{"\\ud800": {"\\udfff": "\\ud800"}}',
            headers={"Content-Type": "application/json"},
        )
        assert answer.status_code == 422
