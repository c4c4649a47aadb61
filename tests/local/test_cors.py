"""CORS as API Gateway does it: none by default, and by `CORS_ORIGINS` for pages of an origin."""

from collections.abc import Iterator

import httpx
import pytest

from local.generate.http_semantics import resolved
from local.services import Services
from local.template import load_template
from tests.e2e import targets
from tests.every_resource.document import DOCUMENT
from tests.resources import RESOURCES, SIGNED
from tests.template.stacks import TEMPLATE

PAGE = "https://app.example.org"
PATHS = ["/health", *(f"/{name}{item}" for name in RESOURCES for item in ("", "/1"))]


@pytest.fixture(scope="module")
def api(services: Services) -> Iterator[httpx.Client]:
    with targets.docker_free(services, sign_in=False) as without_cors:
        yield without_cors


@pytest.fixture(scope="module")
def cors_api(services: Services) -> Iterator[httpx.Client]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("CORS_ORIGINS", f"https://other.example.org,{PAGE}")
        with targets.docker_free(services, sign_in=False) as client:
            yield client


def preflight(api: httpx.Client, origin: str = PAGE, path: str = "/health") -> httpx.Response:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "PATCH",
        "Access-Control-Request-Headers": "authorization,if-match",
    }
    return api.options(path, headers=headers)


def cors_headers(response: httpx.Response) -> dict[str, str]:
    return {
        name: value for name, value in response.headers.items() if name.startswith("access-control")
    }


def test_there_is_none_by_default(api: httpx.Client) -> None:
    assert cors_headers(preflight(api)) == {}
    assert cors_headers(api.get("/health", headers={"Origin": PAGE})) == {}


@pytest.mark.parametrize("path", PATHS)
def test_a_page_of_an_origin_may_send_what_clients_send(cors_api: httpx.Client, path: str) -> None:
    """Without a token: browsers send none with a preflight request."""
    response = preflight(cors_api, path=path)
    assert (response.status_code, response.content) == (204, b"")
    headers = cors_headers(response)
    assert headers["access-control-allow-origin"] == PAGE
    assert "PATCH" in headers["access-control-allow-methods"].split(",")
    allowed = set(headers["access-control-allow-headers"].split(","))
    assert allowed >= {"authorization", "content-type", "if-match", "idempotency-key"}
    assert int(headers["access-control-max-age"]) > 0
    assert response.headers["vary"] == "Origin"


def test_a_page_of_another_origin_may_not(cors_api: httpx.Client) -> None:
    for response in (
        preflight(cors_api, "https://evil.example.org"),
        cors_api.get("/health", headers={"Origin": "https://evil.example.org"}),
    ):
        assert cors_headers(response) == {}


def test_responses_and_rejections_can_be_read_with_all_their_headers(
    cors_api: httpx.Client,
) -> None:
    closed = [(f"/{name}", 401) for name in RESOURCES]
    for path, status in (("/health", 200), *closed, ("/nix", 404)):
        response = cors_api.get(path, headers={"Origin": PAGE})
        assert response.status_code == status
        headers = cors_headers(response)
        assert headers["access-control-allow-origin"] == PAGE
        exposed = set(headers["access-control-expose-headers"].split(","))
        assert exposed >= {"etag", "location", "link", "retry-after", "x-request-id"}


def test_every_documented_header_is_exposed_and_may_be_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CORS_ORIGINS", "*")
    cors = load_template(TEMPLATE).cors
    assert cors
    operations = [one for path in DOCUMENT["paths"].values() for one in path.values()]
    returned = {
        name
        for operation in operations
        for response in operation["responses"].values()
        for name in resolved(DOCUMENT, response).get("headers", {})
    }
    sent = {
        parameter["name"]
        for operation in operations
        if operation["operationId"] not in SIGNED  # which no web page calls
        for parameter in (resolved(DOCUMENT, one) for one in operation.get("parameters", []))
        if parameter["in"] == "header"
    }
    always_readable = {"Cache-Control", "Content-Type"}  # by the Fetch standard
    assert set(cors.exposed) >= returned - always_readable
    assert set(cors.headers) >= {*sent, "Authorization", "Content-Type"}
