"""An issuer with a key of the test run."""

from pathlib import Path

import pytest

from local.identity.issuer import Issuer, checkout_key

URL = "http://127.0.0.1:3000/local-issuer"


@pytest.fixture(scope="session")
def key_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("issuer")


@pytest.fixture(scope="session")
def issuer(key_folder: Path) -> Issuer:
    return Issuer(URL, checkout_key(key_folder))
