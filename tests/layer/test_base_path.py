"""Behind a stage, or a mapping of a custom domain, the API's own links lead below its path."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.conftest import Worker
from tests.every_resource.conftest import few_rows
from tests.every_resource.document import CREATES, READABLE, WHOLE_LISTS, PaginatedList, Write
from tests.in_process import LambdaTransport, handler_of

__all__ = ["few_rows"]

Mapped = Callable[[str, str], httpx.Client]

DOMAIN = "api.example.org"
EXECUTE_API = "a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com"


@pytest.fixture
def mapped(worker: Worker, emptied: None, cache: object) -> Iterator[Mapped]:
    """Returns a client of the API behind a path, at a stage; a mapping is at its own host."""
    clients: list[httpx.Client] = []

    def client(base: str, stage: str) -> httpx.Client:
        clients.append(httpx.Client(transport=Behind(base, stage), base_url="http://api.test"))
        return clients[-1]

    yield client
    for one in clients:
        one.close()


class Behind(LambdaTransport):
    """Requests as API Gateway sends them: with the stage's path, without the mapping's, and
    with the host that the client called."""

    def __init__(self, base: str, stage: str) -> None:
        super().__init__(handler=self._handle)
        self._base = base
        self._stage = stage

    def _handle(self, event: dict[str, Any], context: object) -> object:
        path = event["rawPath"].removeprefix(self._base) or "/"
        is_mapping = self._base != "" and self._stage == "$default"
        event["rawPath"] = path if is_mapping else event["rawPath"]
        event["requestContext"]["stage"] = self._stage
        event["requestContext"]["domainName"] = DOMAIN if is_mapping else EXECUTE_API
        return handler_of(path)(event, context)


@pytest.fixture(
    params=[("/dev", "dev", None), ("/v1", "$default", "/v1"), ("/api/v1", "$default", "/api/v1")],
    ids=lambda case: case[0],
)
def below(
    request: pytest.FixtureRequest, worker: Worker, mapped: Mapped
) -> tuple[str, httpx.Client]:
    """A base path, and a client of the API that is served below it."""
    base, stage, setting = request.param
    worker.restart(DOMAIN_NAME=setting and DOMAIN.upper(), BASE_PATH=setting)
    return base, mapped(base, stage)


@pytest.mark.parametrize("write", [one for one in CREATES if one.table in READABLE], ids=str)
def test_location_leads_to_what_was_created(
    below: tuple[str, httpx.Client], few_rows: None, write: Write
) -> None:
    base, api = below
    created = api.post(base + write.path, json=write.body)
    assert created.status_code == 201
    assert created.headers["location"].startswith(f"{base}/{write.table}/")
    assert api.get(created.headers["location"]).json() == created.json()


@pytest.mark.parametrize("paginated", WHOLE_LISTS, ids=str)
def test_next_leads_to_the_next_page(
    below: tuple[str, httpx.Client], mapped: Mapped, few_rows: None, paginated: PaginatedList
) -> None:
    """Also of a page that another mapping has cached."""
    base, api = below
    url = paginated.url(limit=1)
    plain = mapped("", "$default").get(url)
    for _ in range(2):
        page = api.get(base + url)
        assert page.json()["data"] == plain.json()["data"]
        link = page.json()["next"]
        assert link == base + plain.json()["next"]
        assert page.headers["link"] == f'<{link}>; rel="next"'
        assert paginated.keys(api.get(link)) != paginated.keys(page)


def test_text_that_looks_like_a_link_stays(worker: Worker, mapped: Mapped) -> None:
    api = mapped("/dev", "dev")
    name = '"next":"/writers?limit=1'
    for number in range(2):
        body = {"name": name, "email": f"{number}@example.org"}
        assert api.post("/dev/writers", json=body).status_code == 201
    page = api.get("/dev/writers?limit=1").json()
    assert page["data"][0]["name"] == name
    assert page["next"].startswith("/dev/writers?")


def test_a_path_that_only_begins_alike_is_not_below_it(worker: Worker, mapped: Mapped) -> None:
    assert mapped("", "writer").get("/writers").status_code == 200
    assert mapped("/dev", "dev").get("/dev").headers["location"] == "/dev/docs"


def test_the_documentation_is_of_the_mapping(
    below: tuple[str, httpx.Client], mapped: Mapped
) -> None:
    base, api = below
    document = api.get(f"{base}/openapi.json").json()
    plain = mapped("", "$default").get("/openapi.json").json()
    assert (document["servers"][0]["url"], plain["servers"][0]["url"]) == (base, "/")
    assert f"[/problems]({base}/problems)" in document["info"]["description"]
    assert document["paths"] == plain["paths"]
    assert '"/openapi.json"' not in api.get(f"{base}/docs").text
    assert api.get(f"{base}/").headers["location"] == f"{base}/docs"


def test_a_problem_links_to_the_problems_of_the_mapping(below: tuple[str, httpx.Client]) -> None:
    base, api = below
    types = api.get(f"{base}/openapi.json").json()["components"]["schemas"]["Problem"]
    for path in ("/writers/99", "/nix", "/writers?nix=1"):
        problem = api.get(f"{base}{path}").json()
        assert problem["type"].startswith(f"{base}/problems#")
        assert problem["type"] in types["properties"]["type"]["enum"]
        assert api.get(problem["type"]).status_code == 200
    assert f"{base}/docs" in api.get(f"{base}/nix").json()["detail"]


def test_a_mapping_is_known_by_its_host_not_by_the_path(worker: Worker, mapped: Mapped) -> None:
    """At the address of API Gateway there is no mapping, and a route may be named like it."""
    worker.restart(DOMAIN_NAME=DOMAIN, BASE_PATH="/writers")
    assert mapped("", "$default").get("/").headers["location"] == "/docs"
    assert mapped("", "$default").get("/writers").status_code == 200
    assert mapped("/writers", "$default").get("/writers/writers").status_code == 200
    assert mapped("/writers", "$default").get("/writers/").headers["location"] == "/writers/docs"


def test_a_domains_mapping_hides_a_stage(worker: Worker, mapped: Mapped) -> None:
    worker.restart(DOMAIN_NAME=EXECUTE_API, BASE_PATH="/v1")
    assert mapped("/dev", "dev").get("/dev/").headers["location"] == "/v1/docs"
