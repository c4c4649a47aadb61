"""No response comes near Lambda's limit, and no body is read that is longer than a valid one."""

import json
from typing import Any

import httpx
import pytest

from shared.errors import MAX_BODY_BYTES, MAX_ERRORS
from shared.http.fields import (
    MAX_CONTENT_CHARACTERS,
    MAX_NAME_CHARACTERS,
    MAX_TITLE_CHARACTERS,
)
from shared.http.texts import MAX_EMAIL_CHARACTERS
from tests.in_process import LambdaTransport

MAX_PAYLOAD_BYTES = 32 * 1024
JSON = {"Content-Type": "application/json"}
WRITES = [
    ("POST", "/writers"),
    ("PUT", "/writers/1"),
    ("PATCH", "/writers/1"),
    ("PATCH", "/articles/1"),
]


def escaped(text: str) -> str:
    """Each UTF-16 unit as `\\uXXXX`."""
    units = text.encode("utf-16-be")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))


def payload(request: httpx.Request) -> dict[str, Any]:
    """The function's response to Lambda, which is within the bound."""
    transport = LambdaTransport()
    transport.handle_request(request)
    assert transport.last_payload_bytes() < MAX_PAYLOAD_BYTES
    return transport.last_payload


def body_request(method: str, path: str, body: str) -> httpx.Request:
    return httpx.Request(method, f"http://api.test{path}", content=body, headers=JSON)


def problem(request: httpx.Request) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(payload(request)["body"])
    return body


def test_the_largest_valid_bodies_are_read(api: httpx.Client) -> None:
    writer = {
        "name": "😀" * MAX_NAME_CHARACTERS,
        "email": f"{'a' * 60}@{'x' * 60}.{'y' * 60}.{'z' * 60}.com".ljust(
            MAX_EMAIL_CHARACTERS, "m"
        ),
    }
    article = {"title": "😀" * MAX_TITLE_CHARACTERS, "content": "😀" * MAX_CONTENT_CHARACTERS}
    for path, texts in (("/writers", writer), ("/articles", article)):
        fields = [f'"{escaped(name)}": "{escaped(text)}"' for name, text in texts.items()]
        if path == "/articles":
            fields.append(f'"{escaped("writer_id")}": 1')
        body = "{" + ", ".join(fields) + "}"
        assert len(body) < MAX_BODY_BYTES
        response = api.post(path, content=body.ljust(MAX_BODY_BYTES), headers=JSON)
        assert response.status_code == 201
        assert response.json() | texts == response.json()


@pytest.mark.usefixtures("services")
@pytest.mark.parametrize(("method", "path"), WRITES)
@pytest.mark.parametrize(
    "body",
    [
        "{}".ljust(MAX_BODY_BYTES + 1),
        json.dumps(dict.fromkeys(map(str, range(50_000)))),
        json.dumps({"k" * 3_000_000: 1}),
        "[" * 1_000_000,
        "x" * 5_000_000,
    ],
    ids=["one byte more", "50000 keys", "a key of 3 MB", "deep nesting", "no JSON"],
)
def test_a_larger_body_is_413_and_not_read(method: str, path: str, body: str) -> None:
    response = problem(body_request(method, path, body))

    assert response["status"] == 413
    assert response["type"] == "/problems#content-too-large"
    assert str(MAX_BODY_BYTES) in response["detail"]


@pytest.mark.usefixtures("services")
@pytest.mark.parametrize(("method", "path"), WRITES)
@pytest.mark.parametrize("key", ["", "key-", "\x00", "😀" * 200, "k" * 5_000, '"\\' * 500])
def test_of_many_wrong_fields_some_are_listed_and_the_rest_counted(
    method: str, path: str, key: str
) -> None:
    number = min(10_000, MAX_BODY_BYTES // (len(json.dumps(key, ensure_ascii=False).encode()) + 10))
    keys = [f"{key}{position}" for position in range(number)]
    body = json.dumps(dict.fromkeys(keys, 1), ensure_ascii=False)
    response = problem(body_request(method, path, body))
    missing = 2 if method in ("POST", "PUT") else 0

    assert response["status"] == 422
    assert len(response["errors"]) == MAX_ERRORS
    assert response["detail"].endswith(f"; and {number + missing - MAX_ERRORS} more")
    assert {error["field"] for error in response["errors"]} <= {"body", "name", "email"}


@pytest.mark.usefixtures("services")
def test_a_long_key_is_not_echoed() -> None:
    response = problem(body_request("PATCH", "/writers/1", json.dumps({"k" * 100_000: 1})))

    assert response["status"] == 422
    assert response["errors"] == [
        {"in": "body", "field": "body", "message": "member 1 is unknown; known are email, name"}
    ]


@pytest.mark.usefixtures("services")
@pytest.mark.parametrize(
    ("target", "status"),
    [
        (f"/writers?{'p' * 1_000_000}=1", 422),
        (f"/writers?{'&'.join(f'{name}=' for name in range(20_000))}", 422),
        (f"/writers?{'%F0%9F%98%80' * 100_000}=1", 422),
        (f"/writers?cursor={'A' * 1_000_000}", 422),
        (f"/writers?limit={'9' * 1_000_000}", 422),
        (f"/writers/search?name={'%00' * 100_000}", 422),
        (f"/articles?order={'o' * 1_000_000}", 422),
        (f"/writers/{'1' * 1_000_000}", 404),
        (f"/{'x' * 1_000_000}", 404),
        (f"/docs/swagger-ui.css/{'x' * 1_000_000}", 404),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_long_target_is_not_echoed(target: str, status: int) -> None:
    request = httpx.Request("GET", "http://api.test")
    request.url = LongUrl(target)
    assert payload(request)["statusCode"] == status


class LongUrl(httpx.URL):
    """httpx itself takes no URL of more than 65 536 characters."""

    def __init__(self, target: str) -> None:
        super().__init__("http://api.test")
        self._target = target

    @property
    def raw_path(self) -> bytes:
        return self._target.encode()

    @property
    def path(self) -> str:
        return self._target.partition("?")[0]


@pytest.mark.parametrize("header", ["Idempotency-Key", "X-Request-Id", "Content-Type", "If-Match"])
@pytest.mark.parametrize("value", ["x" * 1_000_000, "\xff" * 300_000])
def test_a_long_header_is_not_echoed(api: httpx.Client, header: str, value: str) -> None:
    body = b'{"name": "Ada", "email": "ada@example.org"}'
    headers = [(b"Content-Type", b"application/json"), (header.encode(), value.encode("latin-1"))]
    request = httpx.Request("POST", "http://api.test/writers", content=body, headers=headers)
    expected = {"Idempotency-Key": 422, "Content-Type": 415}.get(header, 201)
    assert payload(request)["statusCode"] == expected
