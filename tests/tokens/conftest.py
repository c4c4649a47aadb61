"""An issuer with a key of the test run, and this repository's API, closed."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from local.gateway.routing import RouteTable
from local.gateway.server import Api, Gateway
from local.gateway.trust import trust
from local.identity.issuer import Issuer, checkout_key
from local.identity.settings import token_settings
from local.runtime.pool import WorkerPool
from local.services import Services
from local.template import load_template
from tests.resources import ROOT

URL = "http://127.0.0.1:3000/local-issuer"


@pytest.fixture(scope="session")
def key_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("issuer")


@pytest.fixture(scope="session")
def issuer(key_folder: Path) -> Issuer:
    return Issuer(URL, checkout_key(key_folder))


@pytest.fixture(scope="session")
def closed_api(services: Services) -> Iterator[str]:
    """The URL of the API behind the local gateway, which signs in no one."""
    gateway = Gateway(0)
    trusted = trust(ROOT / ".local", gateway.port, {"SIGN_IN": "off"})
    environment = token_settings(gateway.port, {}) | {
        "DATABASE_URL": services.database_url,
        "REDIS_URL": services.redis_url,
        "TLS_REQUIRED": "false",
        "AUTH": "required",
    }
    template = load_template(ROOT / "template.yaml")
    functions = {
        name: replace(function, environment=function.environment | environment)
        for name, function in template.functions.items()
    }
    routes = [replace(route, requires_token=not route.is_default) for route in template.routes]
    with WorkerPool(lambda *_: None) as pool:
        gateway.serve(Api(RouteTable(routes), functions, pool, lambda _: None, trusted.authorizer))
        yield f"http://127.0.0.1:{gateway.port}"
        gateway.close()
