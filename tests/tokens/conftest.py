"""An issuer with a key of the test run, and this repository's API, closed."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from local.identity.issuer import Issuer, checkout_key
from local.services import Services
from tests.e2e import targets

URL = "http://127.0.0.1:3000/local-issuer"


@pytest.fixture(scope="session")
def key_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("issuer")


@pytest.fixture(scope="session")
def issuer(key_folder: Path) -> Issuer:
    return Issuer(URL, checkout_key(key_folder))


@pytest.fixture(scope="session")
def closed_api(services: Services) -> Iterator[httpx.Client]:
    """The API of `SIGN_IN=off make run`."""
    with targets.docker_free(services, sign_in=False) as client:
        yield client
