"""PostgreSQL and Redis a network away, behind TLS."""

from collections.abc import Iterator

import pytest

from local.services import Services
from tests.network.slow_network import SlowNetwork


@pytest.fixture(scope="session")
def network(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlowNetwork]:
    with SlowNetwork(tmp_path_factory.mktemp("network"), services) as network:
        yield network
