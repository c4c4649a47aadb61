"""Whatever an event of API Gateway has, the response is the API's own, never a bare error."""

import json
from typing import Any

import httpx
import pytest

from local.gateway.responses import response_of
from tests.conftest import Worker
from tests.in_process import LambdaContext, LambdaTransport, handler_of

SERVED = [
    *("localhost", "localhost:", "localhost:3000", "api.example.org", "API.example.org:443", "a_b"),
    *("127.0.0.1", "127.0.0.1:", "[::1]", "[::1]:", "[::1]:3700", "[2001:db8::1]:443"),
]
MALFORMED = [
    *("", " ", ":", ":80", "::1", "::1:80", "[::1", "[]", "[::1]:x", "[::1]:80:80", "localhost:x"),
    *("a:1:2", "a,b", "a, b", "a b", "a/b", "a@b", "a?b", "localhost:-1", "localhost:123456"),
    *("b\u00fccher.example", "\ud800", "a\x00b", "x" * 300, "a:\u0663", "localhost:" + "9" * 5_000),
]


@pytest.fixture
def event(worker: Worker) -> dict[str, Any]:
    """A request for the metadata, whose response has the host."""
    transport = LambdaTransport()
    path = "/.well-known/oauth-protected-resource"
    transport.handle_request(httpx.Request("GET", f"http://api.test{path}"))
    return transport.last_event


def respond(event: dict[str, Any]) -> httpx.Response:
    path = event["rawPath"]
    payload = handler_of(path if path.startswith("/") else "/")(event, LambdaContext())
    assert payload["headers"]["x-request-id"]
    response = response_of(json.dumps(payload).encode())
    return httpx.Response(response.status, headers=response.headers, content=response.body)


@pytest.mark.parametrize("host", SERVED)
def test_a_host_with_or_without_a_port_is_served(event: dict[str, Any], host: str) -> None:
    event["headers"]["host"] = host
    response = respond(event)
    assert response.status_code == 200
    assert response.json()["resource"] == f"http://{host.removesuffix(':')}"


@pytest.mark.parametrize("host", MALFORMED, ids=lambda host: ascii(host)[:20])
def test_an_invalid_host_is_a_problem(event: dict[str, Any], host: str) -> None:
    event["headers"]["host"] = host
    response = respond(event)
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["type"] == "/problems#malformed-request"
    assert response.headers["cache-control"] == "no-store"


def test_an_event_without_a_host_is_served(event: dict[str, Any]) -> None:
    del event["headers"]["host"]
    assert respond(event).status_code == 200


@pytest.mark.parametrize("port", ["", "x", "443, 80", "-1", "\u0663", "9" * 5_000])
@pytest.mark.parametrize("host", ["localhost", None])
def test_a_forwarded_port_is_not_read(event: dict[str, Any], port: str, host: str | None) -> None:
    event["headers"]["x-forwarded-port"] = port
    if host is None:
        del event["headers"]["host"]
    assert respond(event).status_code == 200


@pytest.mark.parametrize(
    ("protocol", "has_hsts"),
    [("https", True), ("http", False), ("http, https", True), ("ftp", True), ("", True)],
)
def test_all_but_plain_http_is_https(event: dict[str, Any], protocol: str, has_hsts: bool) -> None:
    event["headers"]["x-forwarded-proto"] = protocol
    response = respond(event)
    assert response.status_code == 200
    assert ("strict-transport-security" in response.headers) == has_hsts


@pytest.mark.parametrize(
    ("member", "value", "status"),
    [
        ("headers", None, 200),
        ("headers", {}, 200),
        ("headers", {"X-Odd": "\ud800", "\u00fc": "\u20ac"}, 200),
        ("cookies", ["a=\ud800", "b=\u20ac", ""], 200),
        ("rawQueryString", "\u20ac=\ud800", 422),
        ("rawQueryString", "%=%zz&;&=", 422),
        ("rawPath", "", 307),
        ("rawPath", "\ud800", 404),
        ("rawPath", "/\x00", 404),
        ("body", None, 200),
    ],
    ids=ascii,
)
def test_odd_text_is_read(event: dict[str, Any], member: str, value: Any, status: int) -> None:
    assert respond(event | {member: value}).status_code == status


@pytest.mark.parametrize("method", ["get", "Get", "", "\ud800"], ids=ascii)
def test_methods_have_capital_letters(event: dict[str, Any], method: str) -> None:
    event["requestContext"]["http"]["method"] = method
    assert respond(event).status_code == 405


@pytest.mark.parametrize(
    ("body", "is_base64", "problem"),
    [
        ("e30=", True, "invalid-request"),
        ("e30", True, "malformed-request"),
        ("e3\n0=", True, "malformed-request"),
        ("\u00fc", True, "malformed-request"),
        ("\ud800", True, "malformed-request"),
        ("\ud800", False, "malformed-body"),
        ("", True, "invalid-request"),
        (None, True, "invalid-request"),
    ],
    ids=ascii,
)
def test_a_body_in_base64_is_decoded_strictly(
    event: dict[str, Any], body: str | None, is_base64: bool, problem: str
) -> None:
    event |= {"rawPath": "/writers", "body": body, "isBase64Encoded": is_base64}
    event["requestContext"]["http"]["method"] = "POST"
    event["headers"]["content-type"] = "application/json"
    assert respond(event).json()["type"] == f"/problems#{problem}"
