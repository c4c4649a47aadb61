"""The API as each of its targets runs it, and for callers of each role.

The tests of `test_api` run once for each. `sam_local` needs Docker and is skipped where no engine
runs; it enforces no authorizer: every caller is an administrator there. With BASE_URL they run
against that API only, with the tokens ADMIN_TOKEN, READER_TOKEN, and AUTHOR_TOKEN, whose author
owns nothing yet.
"""

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx
import pytest

from local.identity.issuer import Issuer, checkout_key
from local.identity.settings import issuer_url
from local.services import Services
from shared.auth.permissions import ROLES
from tests.auth.claims import REQUIRED, claims_of
from tests.conftest import Worker
from tests.e2e import targets
from tests.e2e.roles import ANONYMOUS, RoleTransport
from tests.in_process import LambdaTransport
from tests.resources import ROOT

CALLERS = (*ROLES, ANONYMOUS)
BASE_URL = os.environ.get("BASE_URL")
CASES = (
    [("deployed", role) for role in CALLERS]
    if BASE_URL
    else [
        *(("in_process", role) for role in CALLERS),
        *(("docker_free", role) for role in CALLERS),
        *(("pure_python", role) for role in CALLERS),
        pytest.param(("sam_local", "admin"), marks=pytest.mark.docker),
    ]
)
ClientOf = Callable[[str], httpx.Client]
"""Returns the client of a caller with that role."""


@pytest.fixture(scope="session")
def docker_free_api(services: Services) -> Iterator[httpx.Client]:
    with targets.docker_free(services) as client:
        yield client


@pytest.fixture(scope="session")
def closed_api(services: Services) -> Iterator[httpx.Client]:
    """The API without the local administrator: each request needs a token."""
    with targets.docker_free(services, sign_in=False) as client:
        yield client


@pytest.fixture(scope="session")
def sam_local_api(services: Services) -> Iterator[httpx.Client]:
    with targets.sam_local(services) as client:
        yield client


@pytest.fixture
def in_process(worker: Worker) -> ClientOf:
    worker.restart(**REQUIRED)

    def client_of(role: str) -> httpx.Client:
        claims = None if role == ANONYMOUS else claims_of(role, subject=uuid.uuid4().hex)
        return httpx.Client(transport=LambdaTransport(claims=claims), base_url="http://api.test")

    return client_of


@pytest.fixture(scope="session")
def docker_free(closed_api: httpx.Client) -> ClientOf:
    return by_local_issuer(closed_api)


@pytest.fixture(scope="session")
def pure_python(services: Services) -> Iterator[ClientOf]:
    with targets.docker_free(services, sign_in=False, runtime="python") as api:
        yield by_local_issuer(api)


def by_local_issuer(api: httpx.Client) -> ClientOf:
    port = api.base_url.port
    assert port
    issuer = Issuer(issuer_url(port), checkout_key(ROOT / ".local"))

    def client_of(role: str) -> httpx.Client:
        token = issuer.sign(issuer.header(), issuer.claims(role, subject=uuid.uuid4().hex))
        return with_token(str(api.base_url), None if role == ANONYMOUS else token)

    return client_of


@pytest.fixture(scope="session")
def sam_local(sam_local_api: httpx.Client) -> ClientOf:
    return lambda _role: with_token(str(sam_local_api.base_url), None)


@pytest.fixture(scope="session")
def deployed() -> ClientOf:
    assert BASE_URL
    return lambda role: with_token(str(BASE_URL), os.environ.get(f"{role.upper()}_TOKEN"))


def with_token(base_url: str, token: str | None) -> httpx.Client:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.Client(base_url=base_url, headers=headers, timeout=60)


@pytest.fixture(scope="session")
def own_of_deployed() -> dict[str, set[str]]:
    """Paths of the items that the callers of `deployed` own, who are the same in all tests."""
    return {role: set() for role in CALLERS}


@pytest.fixture(params=CASES, ids="-".join)
def api(
    request: pytest.FixtureRequest, own_of_deployed: dict[str, set[str]]
) -> Iterator[httpx.Client]:
    """The API by one target for one role; its data is shared, so tests make their own items."""
    target, role = request.param
    client_of: ClientOf = request.getfixturevalue(target)
    own = own_of_deployed[role] if target == "deployed" else set()
    with ExitStack() as clients:
        as_role, as_admin = (clients.enter_context(client_of(one)) for one in (role, "admin"))
        transport = RoleTransport(role, as_role, as_admin, own)
        yield clients.enter_context(httpx.Client(transport=transport, base_url="http://api.test"))
