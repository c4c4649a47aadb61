"""The API as each of its targets runs it; tests of this folder run once for each.

`sam_local` needs Docker and is skipped where no engine runs.
"""

from collections.abc import Iterator

import httpx
import pytest

from local.services import Services
from tests.e2e import targets


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


@pytest.fixture(scope="session")
def in_process_api(services: Services) -> Iterator[httpx.Client]:
    with targets.in_process(services) as client:
        yield client


@pytest.fixture(
    params=[
        "in_process",
        "docker_free",
        pytest.param("sam_local", marks=pytest.mark.docker),
    ]
)
def api(request: pytest.FixtureRequest) -> httpx.Client:
    """The API by one target; its data is shared, so tests make their own users."""
    client: httpx.Client = request.getfixturevalue(f"{request.param}_api")
    return client
