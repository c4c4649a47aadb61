"""Verified TLS to both servers: a wrong server is rejected, and the log names the reason."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import trustme
from sqlalchemy import make_url

from local.services import Services
from shared.database.server import rejected_certificate
from tests.conftest import Worker
from tests.event_loop import run
from tests.failures.proxy import FailingProxy, Failure
from tests.network.slow_network import SlowNetwork, postgresql_socket
from tests.network.tls_servers import TlsServers

Servers = SlowNetwork | TlsServers
Start = Callable[..., Servers]
YESTERDAY = datetime.now(UTC) - timedelta(days=1)
WRONG: dict[str, dict[str, Any]] = {
    "authority": {},
    "name": {"name": "db.example.org"},
    "time": {"valid_until": YESTERDAY},
}


@pytest.fixture(params=[SlowNetwork, TlsServers])
def start(services: Services, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Start]:
    """Starts servers with such a certificate."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(request.param(tmp_path, services, **options))


@pytest.fixture(params=WRONG)
def wrong(request: pytest.FixtureRequest, start: Start) -> tuple[str, Servers]:
    """Servers with one fault, and its name."""
    kind = str(request.param)
    network = start(**WRONG[kind])
    if kind == "authority":
        trustme.CA().cert_pem.write_to_path(network.authority)
    return kind, network


def database_url(network: Servers, mode: str = "") -> str:
    """Without the mode that the network's own URL asks for."""
    return network.database_url("blog").replace("sslmode=verify-full&", mode)


def logged(capfd: pytest.CaptureFixture[str], *messages: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    return [line for line in lines if line.get("message") in messages]


@pytest.mark.parametrize("mode", ["", "sslmode=disable&", "sslmode=require&"])
def test_the_right_servers_are_reached_whatever_mode_the_url_has(
    start: Start, worker: Worker, api: httpx.Client, mode: str
) -> None:
    network = start()
    worker.restart(
        DATABASE_URL=database_url(network, mode),
        REDIS_URL=network.redis_url(0),
        TLS_REQUIRED="true",
    )
    created = api.post("/writers", json={"name": "Ada", "email": "ada@example.org"})
    assert created.status_code == 201
    assert [api.get("/writers").json()["total"] for _ in range(2)] == [1, 1]
    worker.restart(DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    assert api.get("/writers").json()["total"] == 1  # from the cache


@pytest.mark.parametrize("mode", ["", "sslmode=disable&", "sslmode=require&"])
def test_a_wrong_postgresql_is_503_and_the_log_names_the_reason(
    wrong: tuple[str, Servers],
    worker: Worker,
    api: httpx.Client,
    capfd: pytest.CaptureFixture[str],
    mode: str,
) -> None:
    kind, network = wrong
    worker.restart(DATABASE_URL=database_url(network, mode), TLS_REQUIRED="true")
    response = api.get("/writers/1")
    assert response.status_code == 503
    assert response.json()["type"] == "/problems#database-unavailable"
    assert "certificate" not in response.text
    (line,) = logged(capfd, "database error")
    reasons = {
        "authority": "certificate verify failed: unable to get local issuer certificate",
        "name": 'server certificate for "db.example.org" does not match host name "127.0.0.1"',
        "time": "certificate verify failed: certificate has expired",
    }
    assert line["reason"].endswith(reasons[kind])


@pytest.mark.parametrize("failure", [Failure.RESET, Failure.BLACKHOLE, Failure.HALF_CLOSE])
def test_a_server_that_fails_while_its_certificate_is_examined_has_no_reason(
    services: Services, failure: Failure
) -> None:
    with FailingProxy(postgresql_socket(services.database_url)) as proxy:
        proxy.failure = failure
        url = make_url(f"postgresql://127.0.0.1:{proxy.port}/blog")
        assert run(rejected_certificate(url)) == ""


def test_a_wrong_redis_costs_only_the_cache_and_the_log_names_the_reason(
    wrong: tuple[str, Servers],
    worker: Worker,
    api: httpx.Client,
    capfd: pytest.CaptureFixture[str],
) -> None:
    kind, network = wrong
    lax = "ssl_cert_reqs=none&ssl_check_hostname=false"
    for redis_url in (network.redis_url(0), f"{network.redis_url(0)}&{lax}"):
        worker.restart(REDIS_URL=redis_url, TLS_REQUIRED="true")
        assert api.get("/writers").status_code == 200
        (line,) = logged(capfd, "redis error")
        reasons = {
            "authority": "unable to get local issuer certificate",
            "name": "IP address mismatch, certificate is not valid for '127.0.0.1'",
            "time": "certificate has expired",
        }
        assert reasons[kind] in line["reason"]


def test_servers_without_tls_are_rejected(
    worker: Worker, services: Services, api: httpx.Client, capfd: pytest.CaptureFixture[str]
) -> None:
    with FailingProxy(postgresql_socket(services.database_url)) as plain:
        url = f"postgresql://postgres@127.0.0.1:{plain.port}/blog?sslmode=disable"
        worker.restart(DATABASE_URL=url, TLS_REQUIRED="true")
        assert api.get("/writers/1").status_code == 503
        (line,) = logged(capfd, "database error")
        assert line["reason"].endswith("server does not support SSL, but SSL was required")

        worker.restart(TLS_REQUIRED="false")
        assert api.get("/writers/1").status_code == 404


def test_a_redis_url_without_tls_is_rejected(
    worker: Worker, services: Services, api: httpx.Client, capfd: pytest.CaptureFixture[str]
) -> None:
    with FailingProxy(urlsplit(services.redis_url).path) as plain:
        worker.restart(REDIS_URL=f"redis://127.0.0.1:{plain.port}/0", TLS_REQUIRED="true")
        assert api.get("/writers").status_code == 200
        (line,) = logged(capfd, "redis is not used")
        assert line["reason"] == "REDIS_URL has no TLS: begin it with rediss://"


def test_a_server_whose_authority_the_system_does_not_know_is_rejected(
    services: Services,
    tmp_path: Path,
    worker: Worker,
    api: httpx.Client,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with SlowNetwork(tmp_path, services) as network:
        worker.restart(
            DATABASE_URL=network.database_url("blog").partition("?")[0],
            REDIS_URL=network.redis_url(0).partition("?")[0],
            TLS_REQUIRED="true",
        )
        assert api.get("/writers").status_code == 503
    reasons = [line.get("reason", "") for line in logged(capfd, "redis error", "database error")]
    assert len(reasons) == 2
    for reason in reasons:
        assert "unable to get local issuer certificate" in reason


def test_unix_sockets_need_no_tls(worker: Worker, api: httpx.Client) -> None:
    worker.restart(TLS_REQUIRED="true")
    assert api.post("/writers", json={"name": "Ada", "email": "ada@example.org"}).status_code == 201
    assert api.get("/writers").json()["total"] == 1
    worker.restart(DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    assert api.get("/writers").json()["total"] == 1  # from the cache
