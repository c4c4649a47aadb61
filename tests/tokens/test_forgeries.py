"""Forged tokens against an API over HTTP: none is accepted, and none is a 5xx.

The API is that of this repository behind the local gateway or, by the environment variable
BASE_URL, a running one, which must require tokens: `BASE_URL=… make test-tokens`. TOKEN is a valid
token of its issuer; without it, the API must be one of `SIGN_IN=off make run` in this checkout.
"""

import os
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from local.identity.issuer import Issuer, checkout_key
from local.identity.parsing import InvalidToken
from local.identity.settings import issuer_url
from local.identity.verification import verify_token
from tests.resources import ROOT
from tests.sample_resource import SampleResource
from tests.tokens.forger import Attempt, Forger
from tests.tokens.forgeries import FORGERIES

REJECTED = {400, 401, 403, 431}
CASES = [(category, name) for category, made in FORGERIES.items() for name in made]
BASE_URL = os.environ.get("BASE_URL", "")


@pytest.fixture(scope="module")
def client(request: pytest.FixtureRequest, sample: SampleResource) -> Iterator[httpx.Client]:
    if not BASE_URL:
        yield request.getfixturevalue("closed_api")
        return
    with httpx.Client(base_url=BASE_URL, timeout=30) as opened:
        if opened.get(sample.path).status_code != 401:
            pytest.exit(f"{BASE_URL} does not require tokens (SIGN_IN=off make run does)", 1)
        yield opened


@pytest.fixture(scope="module")
def forger(client: httpx.Client, sample: SampleResource) -> Iterator[Forger]:
    if token := os.environ.get("TOKEN"):
        yield Forger(token, None, sample, sample.item(1))
        return
    key = checkout_key(ROOT / ".local")
    issuer = Issuer(issuer_url(urlsplit(str(client.base_url)).port or 80), key)
    token = issuer.sign(issuer.header(), issuer.claims("admin", "victim"))
    bearer = {"Authorization": f"Bearer {token}"}
    victim = client.post(sample.path, headers=bearer, json=sample.body())
    assert victim.status_code == 201, victim.text
    path = sample.item(victim.json()["id"])
    yield Forger(token, key, sample, path)
    after = client.get(path, headers=bearer)
    client.delete(path, headers=bearer)
    assert after.json() == victim.json(), "a forged token changed an item"


def send(client: httpx.Client, forger: Forger, attempt: Attempt) -> httpx.Response:
    headers = [(name.encode(), value.encode()) for name, value in attempt.headers]
    path = attempt.path or forger.resource.path
    return client.request(attempt.method, path, headers=headers, json=attempt.json)


def test_there_are_at_least_120_cases_in_every_category() -> None:
    assert len(CASES) >= 120
    assert all(FORGERIES.values())


def test_the_genuine_token_is_accepted(client: httpx.Client, forger: Forger) -> None:
    bearer = [("Authorization", f"Bearer {forger.genuine}")]
    assert send(client, forger, Attempt(bearer)).status_code == 200


def test_the_strict_check_by_itself_rejects_every_malformed_token(
    issuer: Issuer, sample: SampleResource
) -> None:
    """Without the functions, which check some claims again."""
    token = issuer.sign(issuer.header(), issuer.claims("admin", "ada"))
    forger = Forger(token, issuer.key, sample, sample.item(1))
    categories = ("algorithms", "signatures", "headers", "audiences", "issuers", "payloads")
    accepted = [
        f"{category}: {name}"
        for category in categories
        for name, make in FORGERIES[category].items()
        if is_accepted(make(forger).headers[0][1].removeprefix("Bearer "), issuer)
    ]
    assert accepted == []


def is_accepted(token: str, issuer: Issuer) -> bool:
    try:
        verify_token(token, issuer=issuer.url, audiences=[issuer.audience], keys=issuer)
    except InvalidToken:
        return False
    return True


@pytest.mark.parametrize(("category", "name"), CASES, ids=lambda part: part)
def test_a_forged_token_is_rejected(
    client: httpx.Client, forger: Forger, category: str, name: str
) -> None:
    response = send(client, forger, FORGERIES[category][name](forger))
    assert response.status_code in REJECTED, response.text
    if response.status_code == 401:
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
