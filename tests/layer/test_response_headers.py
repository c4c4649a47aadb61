"""Headers of every response, whatever its kind, and HEAD beside each GET."""

from collections.abc import Iterator

import httpx
import pytest
from fastapi import APIRouter

from local.generate.openapi import OPENAPI_FILE
from shared.http.application import create_app, lambda_handler
from tests.conftest import Worker
from tests.every_resource.document import DOCUMENT, url_of
from tests.in_process import LambdaTransport

SECURITY = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
}
ADA = {"name": "Ada", "email": "ada@example.org"}
PAGES = ("/docs", "/problems")
DOCUMENTED = [
    url_of(path, 1) for path, operations in DOCUMENT["paths"].items() if "get" in operations
]
GETS = [
    *DOCUMENTED,
    *("/", "/docs/swagger-ui.css", "/nix", "/writers?page=1", "/writers?limit=0", "/writers/9"),
]


def responses(api: httpx.Client) -> Iterator[httpx.Response]:
    """Every kind, and most of the statuses."""
    yield api.post("/writers", json=ADA)
    yield api.post("/writers", json=ADA)
    yield api.put("/writers/1", json=ADA)
    yield api.patch("/writers/1", json={"name": "King"})
    yield api.post("/articles", json={"writer_id": 9, "title": "T", "content": "C"})
    yield api.post("/articles", content=b"x" * 200_000)
    yield api.post("/articles", content=b"x")
    yield api.post("/articles", content=b"x", headers={"Content-Type": "application/json"})
    yield from (api.get(path) for path in GETS)
    yield from (api.head(path) for path in GETS)
    yield from (api.options(path) for path in GETS)
    yield from (api.request("TRACE", path) for path in GETS)
    yield api.delete("/writers/1")
    yield api.delete("/writers/1")
    yield api.delete("/writers/1%0A")


def test_every_response_has_the_security_headers(worker: Worker, api: httpx.Client) -> None:
    statuses = set()
    for response in responses(api):
        statuses.add(response.status_code)
        expected = dict(SECURITY)
        if response.url.path in PAGES and response.status_code == 200:
            expected["content-security-policy"] = response.headers["content-security-policy"]
        assert {name: response.headers.get(name) for name in expected} == expected
    assert statuses == {200, 201, 204, 307, 400, 404, 405, 409, 413, 415, 422}


def test_reads_may_be_stored_and_revalidated_and_other_responses_not_stored(
    worker: Worker, api: httpx.Client
) -> None:
    for response in responses(api):
        is_read = response.request.method in ("GET", "HEAD") and response.status_code < 400
        stored = is_read and response.url.path != "/health"
        assert response.headers["cache-control"] == ("no-cache" if stored else "no-store")


def test_failures_have_the_headers_too(worker: Worker, api: httpx.Client) -> None:
    async def fail() -> None:
        raise LookupError

    worker.restart(DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    unavailable = api.get("/writers/1")
    router = APIRouter()
    router.add_api_route("/things", fail)
    transport = LambdaTransport(handler=lambda_handler(create_app(router, is_public=True)))
    failed = transport.handle_request(httpx.Request("GET", "http://api.test/things"))

    for response, status in ((unavailable, 503), (failed, 500)):
        assert response.status_code == status
        expected = SECURITY | {"cache-control": "no-store"}
        assert {name: response.headers.get(name) for name in expected} == expected


@pytest.mark.parametrize(("scheme", "value"), [("https", "max-age=31536000"), ("http", None)])
def test_browsers_keep_to_https_after_a_request_over_https(
    api: httpx.Client, scheme: str, value: str | None
) -> None:
    for path in ("/writers", "/nix"):
        response = api.get(f"{scheme}://api.test{path}")
        assert response.headers.get("strict-transport-security") == value


def test_head_is_get_without_its_content(worker: Worker, api: httpx.Client) -> None:
    api.post("/writers", json=ADA)
    for path in GETS:
        get, head = api.get(path), api.head(path)
        for response in (get, head):
            del response.headers["x-request-id"]

        assert head.status_code == get.status_code
        assert head.headers == get.headers
        assert head.content == b""
        is_encoded = "content-encoding" in get.headers  # httpx has decoded it
        assert int(get.headers["content-length"]) == len(get.content) or is_encoded


def test_head_is_logged_as_such(
    worker: Worker, api: httpx.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    api.head("/writers")
    assert '"method":"HEAD","route":"/writers","status":200' in capsys.readouterr().out


def test_the_payload_of_head_has_no_body() -> None:
    """API Gateway need not cut it off."""
    transport = LambdaTransport()
    transport.handle_request(httpx.Request("HEAD", "http://api.test/openapi.json"))

    assert transport.last_payload["body"] == ""
    assert int(transport.last_payload["headers"]["content-length"]) == OPENAPI_FILE.stat().st_size
