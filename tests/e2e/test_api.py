"""One client's session with the API, the same for every way to run it."""

import json
from typing import Any

import httpx

from tests.sample_resource import SampleResource


def create(api: httpx.Client, sample: SampleResource) -> dict[str, Any]:
    response = api.post(sample.path, json=sample.body())
    assert response.status_code == 201, response.text
    item: dict[str, Any] = response.json()
    return item


def test_an_item_is_created_read_updated_and_deleted(
    api: httpx.Client, sample: SampleResource
) -> None:
    item, body = create(api, sample), sample.body()
    path = sample.item(item["id"])
    assert api.get(path).json() == item

    replaced = api.put(path, json=body)
    assert (replaced.status_code, replaced.json()[sample.text]) == (200, body[sample.text])
    text = "Øl, 小龍 and “more”"
    assert api.patch(path, json={sample.text: text}).json()[sample.text] == text
    assert api.get(path).json()[sample.text] == text

    deleted = api.delete(path)
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert api.get(path).status_code == 404


def test_location_leads_to_what_was_created(api: httpx.Client, sample: SampleResource) -> None:
    response = api.post(sample.path, json=sample.body())
    assert api.get(response.headers["location"]).json() == response.json()


def test_a_page_cached_before_a_write_is_not_served_after_it(
    api: httpx.Client, sample: SampleResource
) -> None:
    item = create(api, sample)
    before = api.get(sample.path).json()
    assert api.get(sample.path).json() == before

    assert api.delete(sample.item(item["id"])).status_code == 204

    assert api.get(sample.path).json()["total"] == before["total"] - 1


def test_following_next_from_the_first_page_meets_every_item_once(
    api: httpx.Client, sample: SampleResource
) -> None:
    made = {create(api, sample)["id"] for _ in range(5)}
    met: list[int] = []
    path: str | None = f"{sample.path}?limit=2"
    while path:
        page = api.get(path)
        met += [item["id"] for item in page.json()["data"]]
        path = page.json()["next"]
        assert (path is None) == ("link" not in page.headers)
    assert len(met) == len(set(met))
    assert made <= set(met)


def test_pages_by_number_are_those_by_skip(api: httpx.Client, sample: SampleResource) -> None:
    for _ in range(4):
        create(api, sample)
    by_page = api.get(sample.path, params={"page": 2, "limit": 2}).json()
    by_skip = api.get(sample.path, params={"skip": 2, "limit": 2}).json()
    assert by_page == by_skip
    assert by_page["page"] == 2


def test_the_response_to_an_invalid_request_is_a_problem(
    api: httpx.Client, sample: SampleResource
) -> None:
    headers = {"content-type": "application/json"}
    responses = {
        400: api.post(sample.path, content=b'{"name": ', headers=headers),
        404: api.get(sample.item(9_000_000_000)),
        405: api.patch(sample.path, json={}),
        415: api.post(sample.path, content=b"name=x", headers={"content-type": "text/plain"}),
        422: api.post(sample.path, json={}),
    }
    for status, response in responses.items():
        assert response.status_code == status, response.text
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["status"] == status
        assert response.json()["detail"]
    assert responses[405].headers["allow"] == "GET, HEAD, OPTIONS, POST"
    assert sample.text in {error["field"] for error in responses[422].json()["errors"]}


def test_an_unknown_path_is_a_problem_for_every_method(
    api: httpx.Client, sample: SampleResource
) -> None:
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        response = api.request(method, "/no/such/path")
        assert response.status_code == 404
        assert response.headers["content-type"] == "application/problem+json"


def test_a_path_and_a_query_are_decoded_once(api: httpx.Client, sample: SampleResource) -> None:
    item = create(api, sample)
    digits = "".join(f"%{ord(digit):02X}" for digit in str(item["id"]))
    assert api.get(sample.item(digits)).json() == item
    assert api.get(sample.item(digits.replace("%", "%25"))).status_code == 404
    assert api.get(f"{sample.path}?limit=%37").json()["limit"] == 7
    assert api.get(f"{sample.path}?limit=%2537").status_code == 422


def test_every_response_has_a_request_id_and_echoes_the_clients(
    api: httpx.Client, sample: SampleResource
) -> None:
    assert api.get(sample.path).headers["x-request-id"]
    echoed = api.get(sample.path, headers={"X-Request-Id": "from-a-client-1"})
    assert echoed.headers["x-request-id"] == "from-a-client-1"


def test_head_is_get_without_its_content(api: httpx.Client, sample: SampleResource) -> None:
    for path in (sample.path, sample.item(9_000_000_000), "/openapi.json", "/docs"):
        get, head = api.get(path), api.head(path)
        assert (head.status_code, head.content) == (get.status_code, b"")
        for name in ("content-type", "cache-control", "content-security-policy"):
            assert head.headers[name] == get.headers[name]


def test_health_reports_all_services_up(api: httpx.Client) -> None:
    health = api.get("/health").json()
    assert health["redis"] in ("up", "none")
    assert health["postgresql"] in ("up", "unchecked")  # the latter where the database pauses
    assert health == {"status": "ok"} | {name: health[name] for name in ("postgresql", "redis")}


def test_the_docs_are_served_whole(api: httpx.Client, sample: SampleResource) -> None:
    assert "swagger-ui-bundle.js" in api.get("/docs").text
    assert "SwaggerUIBundle" in api.get("/docs/swagger-ui-bundle.js").text
    assert sample.item_path in json.loads(api.get("/openapi.json").text)["paths"]
