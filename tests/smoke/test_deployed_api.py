"""A deployed API does what it promises: `make smoke STAGE=staging`.

Or `make smoke BASE_URL=… ADMIN_TOKEN=… READER_TOKEN=…`, of which the last is a token of a caller
without a role. The tests delete what they create, and use up the reader's limit for a minute.
"""

import base64
import json
import os
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.resources import FUNCTIONS
from tests.sample_resource import SampleResource
from tests.smoke.stage import Deployed

pytestmark = pytest.mark.smoke
CHANGES = 10
PARALLEL_REQUESTS = 6
"""A new account runs 10 functions at once, for all callers together; others get 503."""


def client(deployed: Deployed, token: str | None) -> httpx.Client:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.Client(base_url=deployed.base_url, headers=headers, timeout=35)


@pytest.fixture(scope="module")
def admin(deployed: Deployed) -> Iterator[httpx.Client]:
    with client(deployed, deployed.admin_token) as one:
        yield one


@pytest.fixture(scope="module")
def reader(deployed: Deployed) -> Iterator[httpx.Client]:
    with client(deployed, deployed.reader_token) as one:
        yield one


@pytest.fixture
def item(admin: httpx.Client, sample: SampleResource) -> Iterator[dict[str, Any]]:
    response = admin.post(sample.path, json=sample.body())
    assert response.status_code == 201, response.text
    yield response.json()
    admin.delete(sample.item(response.json()["id"]))


def test_its_servers_are_up(reader: httpx.Client) -> None:
    response = reader.get("/health")
    assert response.status_code == 200, response.text
    assert response.json()["status"] == "ok"


def test_it_is_of_this_checkout(reader: httpx.Client) -> None:
    document = json.loads((FUNCTIONS / "meta" / "openapi.json").read_text(encoding="utf-8"))
    deployed = reader.get("/openapi.json").json()
    assert deployed["paths"] == document["paths"]


def test_errors_explain_themselves(admin: httpx.Client, sample: SampleResource) -> None:
    missing = admin.get(sample.item(2**63 - 1))
    assert missing.status_code == 404
    assert missing.headers["Content-Type"] == "application/problem+json"
    assert missing.json()["type"].endswith("#not-found")
    invalid = admin.post(sample.path, json={})
    assert invalid.status_code == 422
    assert sample.text in invalid.text
    assert missing.headers["X-Request-Id"] != invalid.headers["X-Request-Id"]


def forgeries(token: str) -> dict[str, str]:
    """The reader's token, with the role of an administrator, or signed by nobody."""
    header, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    admin = claims | {"cognito:groups": ["admin"], "roles": ["admin"]}
    unsigned = encoded({"alg": "none", "typ": "JWT"})
    return {
        "another payload": f"{header}.{encoded(admin)}.{signature}",
        "no signature": f"{header}.{payload}.",
        "algorithm none": f"{unsigned}.{payload}.",
        "another signature": f"{header}.{payload}.{signature[:-8]}AAAAAAAA",
    }


def encoded(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def test_it_wants_a_token_and_no_forged_one(deployed: Deployed, sample: SampleResource) -> None:
    with client(deployed, None) as anonymous:
        response = anonymous.post(sample.path, json=sample.body())
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
        for name, token in forgeries(deployed.reader_token).items():
            headers = {"Authorization": f"Bearer {token}"}
            forged = anonymous.post(sample.path, json=sample.body(), headers=headers)
            assert forged.status_code == 401, name


def test_roles_are_enforced(
    reader: httpx.Client, sample: SampleResource, item: dict[str, Any]
) -> None:
    path = sample.item(item["id"])
    assert reader.delete(path).status_code == 403
    assert reader.get(path).status_code == 200


def test_no_list_is_stale_after_a_write(
    admin: httpx.Client, sample: SampleResource, item: dict[str, Any]
) -> None:
    path = sample.item(item["id"])
    for _ in range(CHANGES):
        total = admin.get(sample.path).json()["total"]
        created = admin.post(sample.path, json=sample.body()).json()
        assert admin.get(sample.path).json()["total"] >= total + 1
        change = {sample.text: sample.body()[sample.text]}
        admin.patch(path, json=change)
        assert admin.get(path).json()[sample.text] == change[sample.text]
        admin.delete(sample.item(created["id"]))
        assert admin.get(sample.item(created["id"])).status_code == 404


def test_a_retried_create_creates_once(admin: httpx.Client, sample: SampleResource) -> None:
    headers, body = {"Idempotency-Key": uuid.uuid4().hex}, sample.body()
    first, again = (admin.post(sample.path, json=body, headers=headers) for _ in range(2))
    assert first.status_code == again.status_code == 201
    assert first.json() == again.json()
    assert admin.delete(sample.item(first.json()["id"])).status_code == 204


def test_a_caller_is_limited(reader: httpx.Client, sample: SampleResource) -> None:
    """Without a Redis there are no limits, and no headers that tell them."""
    response = reader.get(sample.path)
    if "RateLimit-Policy" not in response.headers:
        assert reader.get("/health").json()["redis"] == "none" or os.environ.get("UNLIMITED")
        return
    quota = int(response.headers["RateLimit-Policy"].partition("q=")[2].partition(";")[0])
    responses = until_limited(reader, sample.path, maximum=2 * quota)
    assert {one.status_code for one in responses} == {200, 429}
    # Not one more read: on a slow way to the API the limit may admit it again.
    rejected = next(one for one in responses if one.status_code == 429)
    assert int(rejected.headers["Retry-After"]) >= 1


def until_limited(reader: httpx.Client, path: str, maximum: int) -> list[httpx.Response]:
    """Send reads until one is rejected by a limit, or `maximum` were; return the responses."""
    responses: list[httpx.Response] = []
    with ThreadPoolExecutor(PARALLEL_REQUESTS) as pool:
        while len(responses) < maximum and all(one.status_code != 429 for one in responses):
            responses += pool.map(lambda _: reader.get(path), range(10 * PARALLEL_REQUESTS))
    return responses
