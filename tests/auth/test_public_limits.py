"""Requests without a token are limited by address: all routes of meta, and unknown paths."""

import importlib

import pytest
from fastapi.routing import APIRoute

from tests.auth.claims import REQUIRED
from tests.auth.test_limits import commands, parameters
from tests.conftest import ApiOf, Worker
from tests.in_process import client_of
from tests.resources import RESOURCES

LIMITED = {
    "READ_LIMIT": "6",
    "READ_BURST": "3",
    "LIMIT_WINDOW_SECONDS": "600",
    "REDIS_TIMEOUT_SECONDS": "1",  # a busy machine lets none through uncounted
}
BURST = 3
ADDRESS, OTHER = "192.0.2.1", "192.0.2.2"

ROUTES = [
    ("GET", route.path.replace("{name}", "swagger-ui-bundle.js"))
    for route in importlib.import_module("meta.routes").router.routes
    if isinstance(route, APIRoute)
]
UNKNOWN = [
    ("GET", "/nix"),
    ("POST", "/nix"),
    ("GET", "/writers/nix/nix"),
    ("GET", "/nix%0A"),
    ("GET", "/writers/1%0A"),
    ("GET", "/docs/nix.js"),
    ("HEAD", "/docs"),
    ("POST", "/docs"),
    ("TRACE", "/health"),
    ("DELETE", "/writers"),
    ("GET", "/docs?nix=1"),
    *(("OPTIONS", f"/{resource}") for resource in RESOURCES),
    *(("OPTIONS", f"/{resource}/1") for resource in RESOURCES),
]


@pytest.fixture
def limited(worker: Worker, emptied: None, cache: object) -> None:
    worker.restart(**REQUIRED, **LIMITED)


@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize(("method", "path"), ROUTES + UNKNOWN)
def test_a_request_that_needs_no_token_counts_as_a_read_of_its_address(
    worker: Worker, method: str, path: str
) -> None:
    assert len(ROUTES) >= 7
    with client_of(source_ip=ADDRESS) as api, client_of(source_ip=OTHER) as other:
        responses = [api.request(method, path) for _ in range(BURST + 1)]
        assert other.request(method, path).status_code == responses[0].status_code
        worker.restart()  # another worker, which remembers nothing
        responses.append(api.request(method, path))
    assert not {401, 403, 429} & {one.status_code for one in responses[:BURST]}
    assert [one.status_code for one in responses[BURST:]] == [429, 429]
    for remaining, response in zip((2, 1, 0, 0, 0), responses, strict=True):
        assert parameters(response.headers["RateLimit-Policy"], "read") == {"q": 6, "w": 600}
        assert parameters(response.headers["RateLimit"], "read")["r"] == remaining
    assert int(responses[-1].headers["Retry-After"]) > 0


@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize("path", ["/writers", "/docs", "/nix"])
def test_a_malformed_request_counts_too(path: str) -> None:
    with client_of(source_ip=ADDRESS) as api:
        statuses = [api.get(path, headers={"Host": "a b"}).status_code for _ in range(BURST + 1)]
    assert statuses == [400] * BURST + [429]


@pytest.mark.usefixtures("limited")
def test_an_address_has_one_limit_for_all_that_needs_no_token(worker: Worker) -> None:
    worker.restart(PUBLIC_READS="true")
    with client_of(source_ip=ADDRESS) as api:
        paths = ("/health", "/nix", "/writers", "/docs")
        assert [api.get(path).status_code for path in paths] == [200, 404, 200, 429]


def test_a_caller_with_a_token_has_a_limit_of_its_own(
    api_of: ApiOf, worker: Worker, cache: object
) -> None:
    worker.restart(**LIMITED)
    with client_of(source_ip="127.0.0.1") as api:
        while api.get("/health").status_code != 429:
            pass
    assert api_of().get("/writers").status_code == 200


@pytest.mark.usefixtures("limited")
def test_a_flood_reaches_neither_server(cache: object) -> None:
    with client_of(source_ip=ADDRESS) as api:
        while api.get("/health").status_code != 429:
            pass
        before = commands(cache)  # type: ignore[arg-type]
        assert {api.get("/health").status_code for _ in range(5)} == {429}
        assert commands(cache) == before + 1  # type: ignore[arg-type]


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("redis_url", [None, "redis://127.0.0.1:1/0"])
def test_without_redis_all_are_let_through(worker: Worker, redis_url: str | None) -> None:
    worker.restart(**REQUIRED, **LIMITED, REDIS_URL=redis_url)
    with client_of(source_ip=ADDRESS) as api:
        for path in ("/docs", "/nix", "/health"):
            assert {api.get(path).status_code for _ in range(BURST + 2)} in ({200}, {404})
