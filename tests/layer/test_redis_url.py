"""REDIS_URL with parameters of every kind: used, without effect, or rejected by name; whatever it
is, the database's responses come, and what is committed is acknowledged."""

import json
import re
from typing import Any

import httpx
import pytest
import redis
from redis.asyncio.connection import (
    URL_QUERY_ARGUMENT_PARSERS,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from local.errors import LocalError
from local.services import Services
from local.services.given import check_redis
from shared.cache.redis_url import (
    FIXED_OPTIONS,
    PARAMETERS,
    TLS_PARAMETERS,
    connection_options,
    new_connection,
)
from shared.cache.scripts import redis_scripts
from tests.conftest import Worker
from tests.resources import ROOT

ADA = {"name": "Ada", "email": "ada@example.org"}
REJECTED = {
    "family=0": "its parameter family is not supported",
    "timeout=20": "its parameter timeout is not supported",
    "foo=bar": "its parameter foo is not supported",
    "host=elsewhere": "its parameter host is not supported",
    "path=elsewhere": "its parameter path is not supported",
    "port=1": "its parameter port is not supported",
    "connection_class=s3cret": "its parameter connection_class is not supported",
    "retry=s3cret": "its parameter retry is not supported",
    "retry_on_error=s3cret": "its parameter retry_on_error is not supported",
    "parser_class=s3cret": "its parameter parser_class is not supported",
    "s3cret%20%ff=1": "its parameter of that name is not supported",
    "ssl_cert_reqs=none": "ssl_cert_reqs is not supported: remove it, or begin it with rediss://",
    "db=abc": "Invalid value for 'db'",
    "protocol=s3cret": "Invalid value for 'protocol'",
    "socket_timeout=s3cret": "Invalid value for 'socket_timeout'",
}
WITHOUT_EFFECT = (
    *("socket_timeout=20", "socket_connect_timeout=20", "socket_timeout=0", "protocol=3"),
    *("protocol=7", "decode_responses=True", "decode_responses=False", "encoding=utf-16"),
    *("encoding_errors=s3cret", "health_check_interval=1", "retry_on_timeout=True"),
    *("foo=", "client_name=blog", "client_name=%zz"),
)


def with_parameter(services: Services, parameter: str) -> str:
    return services.redis_url.replace("db=0", f"db=0&{parameter}".replace("db=0&db=", "db="))


def outcomes(api: httpx.Client) -> list[Any]:
    assert api.post("/writers", json=ADA).status_code == 201
    assert [api.get("/writers").json()["total"] for _ in range(3)] == [1, 1, 1]
    assert api.patch("/writers/1", json={"name": "Countess"}).status_code == 200
    assert api.get("/writers").json()["data"][0]["name"] == "Countess"
    assert api.delete("/writers/1").status_code == 204
    return [api.get("/health").json()[name] for name in ("status", "postgresql", "redis")]


@pytest.mark.parametrize("parameter", WITHOUT_EFFECT)
def test_fixed_parameters_have_no_effect(
    parameter: str, api: httpx.Client, worker: Worker, services: Services
) -> None:
    worker.restart(REDIS_URL=with_parameter(services, parameter), READ_LIMIT="100")
    assert outcomes(api) == ["ok", "up", "up"]
    check_redis(with_parameter(services, parameter))


@pytest.mark.parametrize(("parameter", "message"), REJECTED.items())
def test_unknown_parameters_are_rejected_by_name_and_disable_only_the_cache(
    parameter: str,
    message: str,
    api: httpx.Client,
    worker: Worker,
    services: Services,
    capfd: pytest.CaptureFixture[str],
) -> None:
    url = with_parameter(services, parameter)
    worker.restart(REDIS_URL=url, READ_LIMIT="100")
    redis_scripts().breaker.pause_seconds = 0.0
    assert outcomes(api) == ["degraded", "up", "down"]
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    (logged,) = [line for line in lines if line["message"] == "redis is not used"]
    assert message in logged["reason"]
    assert logged["error"] == "InvalidRedisUrl"
    assert not [line for line in lines if line["level"] == "WARNING"]
    assert "s3cret" not in json.dumps(lines)
    with pytest.raises(LocalError, match=r"^REDIS_URL: ") as raised:
        check_redis(url)
    assert message in str(raised.value)
    assert "s3cret" not in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        *("redis://h/abc", "redis://h:99999/0", "redis://h:s3cret/0", "redis://[::1/0"),
        *("redis://h/1/2", "http://h", "rediss://h/0?ssl_foo=1", "rediss://h/0?ssl_min_version=x"),
    ],
)
def test_an_invalid_redis_url_disables_only_the_cache(
    url: str, api: httpx.Client, worker: Worker
) -> None:
    if not url.startswith("http"):
        worker.restart(REDIS_URL=url)
        assert outcomes(api) == ["degraded", "up", "down"]
    with pytest.raises(ValueError, match=r"^(not|its|Invalid)") as raised:
        connection_options(url)
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    "parameter", ["db=99", "username=none&password=s3cret", "client_name=a%20b"]
)
def test_a_parameter_that_the_server_rejects_disables_only_the_cache(
    parameter: str, api: httpx.Client, worker: Worker, services: Services
) -> None:
    worker.restart(REDIS_URL=with_parameter(services, parameter))
    assert outcomes(api) == ["degraded", "up", "down"]


@pytest.mark.parametrize(
    "parameter",
    ["ssl_min_version=7", "ssl_ciphers=none", "ssl_ca_certs=/none", "ssl_cert_reqs=none"],
)
@pytest.mark.parametrize("required", ["true", "false"])
def test_invalid_tls_parameters_disable_only_the_cache(
    parameter: str, required: str, api: httpx.Client, worker: Worker
) -> None:
    worker.restart(REDIS_URL=f"rediss://127.0.0.1:1/0?{parameter}")
    assert outcomes(api) == ["degraded", "up", "down"]


def test_a_unix_socket_needs_no_tls(worker: Worker, services: Services, api: httpx.Client) -> None:
    worker.restart(REDIS_URL=services.redis_url, TLS_REQUIRED="true")
    assert isinstance(new_connection(services.redis_url), UnixDomainSocketConnection)


def test_a_token_that_cannot_be_made_is_an_error_of_redis(worker: Worker) -> None:
    key = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"}
    worker.restart(REDIS_IAM_CACHE="blog-cache", AWS_REGION=None, **key)
    with pytest.raises(RedisConnectionError, match="AWS_REGION"):
        new_connection("redis://127.0.0.1:1/0")


def test_a_connection_sends_nothing_of_its_own(
    api: httpx.Client, worker: Worker, services: Services, cache: redis.Redis
) -> None:
    """redis-py would tell the server its version, in two more round trips."""
    worker.restart(REDIS_URL=services.redis_url)
    cache.config_resetstat()
    api.get("/writers")
    sent = set(cache.info("commandstats"))
    assert "cmdstat_evalsha" in sent
    assert not {name for name in sent if name.startswith(("cmdstat_client", "cmdstat_hello"))}


def test_every_parameter_is_redis_pys_own() -> None:
    taken = set(URL_QUERY_ARGUMENT_PARSERS)
    for one in SSLConnection.__mro__:
        made = vars(one).get("__init__")
        taken |= set(getattr(getattr(made, "__wrapped__", made), "__annotations__", ()))
    assert taken >= PARAMETERS | TLS_PARAMETERS | FIXED_OPTIONS.keys()


def test_the_parameters_are_documented() -> None:
    page = (ROOT / "docs" / "own-servers.md").read_text(encoding="utf-8")
    documented = page.partition("`REDIS_URL` may have ")[2].partition("\n## ")[0]
    used, without_effect = (
        set(re.findall(r"`([a-z_]+)`", text)) for text in documented.partition("no effect:")[::2]
    )
    assert used == PARAMETERS | TLS_PARAMETERS
    assert without_effect == FIXED_OPTIONS.keys()
