"""DATABASE_URL in every form that people have, and at every entrance but `python -m local`."""

from urllib.parse import quote

import httpx
import psycopg
import pytest

from local.services import Services
from migrations.handler import handler as migrate
from shared.database import Reader, read
from shared.database.connection import worker_connection
from shared.database.server import database_url
from shared.database_url import check_parameters, libpq_url
from shared.errors import DatabaseUnavailable
from shared.settings import SettingsError, settings
from tests.conftest import Worker
from tests.transactions import REQUEST, statement_of

SCHEMES = (
    "postgresql://",
    "postgres://",
    "postgresql+psycopg://",
    "postgresql+psycopg2://",
    "postgresql+asyncpg://",
)
"""As libpq, Heroku and users of SQLAlchemy's drivers write them."""


def in_form(scheme: str, url: str) -> str:
    """The URL of a test's server with that scheme, and with what asyncpg calls sslmode."""
    assert url.startswith(SCHEMES[0])
    return f"{url.replace(SCHEMES[0], scheme)}&ssl=disable"


async def query(reader: Reader) -> object:
    return (await reader.execute(statement_of("SELECT 42"))).scalar()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_function_connects_with_every_form(
    worker: Worker, services: Services, scheme: str
) -> None:
    worker.restart(DATABASE_URL=in_form(scheme, services.database_url))
    assert settings().database_url == in_form(SCHEMES[0], services.database_url).replace(
        "&ssl=", "&sslmode="
    )
    assert worker.run(read(REQUEST, query)) == 42


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_migrations_connect_with_every_form(
    worker: Worker, services: Services, scheme: str
) -> None:
    worker.restart(DATABASE_URL=in_form(scheme, services.database_url))
    assert migrate({}, None)["revision"]


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("postgres://u:p@h:5432/d", "postgresql://u:p@h:5432/d"),
        ("postgresql://u@h/d?ssl=true", "postgresql://u@h/d?sslmode=require"),
        ("postgresql://u@h/d?ssl=false&a=b", "postgresql://u@h/d?sslmode=disable&a=b"),
        ("postgresql://u@h/d?a=b&ssl=verify-full", "postgresql://u@h/d?a=b&sslmode=verify-full"),
        ("postgresql://u:p?ssl=x@h/d", "postgresql://u:p?ssl=x@h/d"),
        ("postgresql://u:/:#%40@h/d", "postgresql://u:/:#%40@h/d"),
        ("postgresql://[::1]:5433/d", "postgresql://[::1]:5433/d"),
        ("postgresql://a,b/d", "postgresql://a,b/d"),
        ("postgresql://u@h/d?ssl=TRUE", "postgresql://u@h/d?sslmode=require"),
        ("postgresql://a:1,b:2", "postgresql:///?host=a,b&port=1,2"),
        ("postgresql://u:p@a:1,b:2/d", "postgresql://u:p@/d?host=a,b&port=1,2"),
        (
            "postgresql://u@a:1,b/d?ssl=true",
            "postgresql://u@/d?host=a,b&port=1,5432&sslmode=require",
        ),
        ("postgresql://u@/d?host=%2Frun", "postgresql://u@/d?host=%2Frun"),
        ("postgresql:///d?host=/run", "postgresql:///d?host=/run"),
        ("postgresql://h", "postgresql://h"),
        ("postgresql://u@h/d\n", "postgresql://u@h/d"),
    ],
)
def test_a_url_becomes_libpqs(given: str, read: str) -> None:
    assert libpq_url(given) == read
    assert libpq_url(read) == read
    assert psycopg.conninfo.conninfo_to_dict(read.replace("a=b", "options=b"))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://u:s3cret@h/d", "not a PostgreSQL URL"),
        ("postgresql+://u:s3cret@h/d", "not a PostgreSQL URL"),
        ("host=h password=s3cret", "not a PostgreSQL URL"),
        ("postgresql://u:s3cret@4@h/d", "write @ : / in a password as %40 %3A %2F"),
        ("postgresql://u:pw@h:s3cret/d", "not a PostgreSQL URL"),
        ("postgresql://u:pw@h/d?ssl=s3cret", "parameter ssl is not one of true, false, disable"),
        ("postgresql://u:s3cret@h/d?ssl=true&sslmode=allow", "remove one"),
    ],
)
def test_an_invalid_url_is_reported_without_its_password(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        libpq_url(url)
    assert "s3cret" not in str(raised.value)


def test_a_parameter_of_another_driver_is_named(worker: Worker, services: Services) -> None:
    check_parameters(f"{services.database_url}&sslmode=disable&connect_timeout=1")
    check_parameters("postgresql://u:p?x=y@h/d")
    url = f"{services.database_url}&prepared_statement_cache_size=0"
    worker.restart(DATABASE_URL=url)
    with pytest.raises(SettingsError, match=r"^DATABASE_URL: .* prepared_statement_cache_size "):
        database_url()


def test_a_url_that_cannot_be_read_is_a_logged_error_of_the_server(
    api: httpx.Client, worker: Worker, capfd: pytest.CaptureFixture[str]
) -> None:
    worker.restart(DATABASE_URL="postgresql://u:s3cret@h/d?command_timeout=1")
    assert api.get("/writers/1").status_code == 500
    log = capfd.readouterr().out
    assert "its parameter command_timeout is unknown to libpq" in log
    assert "s3cret" not in log


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u@a,b/d",
        "postgresql://u@a:1,b:2/d",
        "postgresql://u@/d?host=a,b",
        "postgresql://u@/d?host=a:1&host=b:2",
    ],
)
def test_several_hosts_are_rejected_where_tokens_are_for_one(worker: Worker, url: str) -> None:
    worker.restart(DATABASE_URL=url, DATABASE_AUTH="iam")
    with pytest.raises(
        SettingsError, match=r"^DATABASE_URL: an IAM token is valid for one host only$"
    ):
        database_url()


@pytest.mark.parametrize(
    ("parameter", "value", "effective"),
    [
        ("target_session_attrs", "any", "read-write"),
        ("target_session_attrs", "standby", "read-write"),
        ("client_encoding", "LATIN1", "utf8"),
        ("connect_timeout", "27", "2"),
        ("tcp_user_timeout", "1", "3000"),
    ],
)
def test_fixed_parameters_override_those_of_the_url(
    worker: Worker, services: Services, parameter: str, value: str, effective: str
) -> None:
    url = f"{services.database_url}&{parameter}={value}"
    worker.restart(DATABASE_URL=url, DATABASE_CONNECT_TIMEOUT_SECONDS="2")
    info = worker.run(connection_info())
    assert info.get_parameters()[parameter] == effective
    assert info.encoding == "utf-8"


async def connection_info() -> psycopg.ConnectionInfo:
    async with worker_connection().acquire(REQUEST.record) as (_, driver):
        return driver.info


def test_a_read_only_server_is_not_used_though_the_url_allows_it(
    worker: Worker, services: Services
) -> None:
    options = quote("-c default_transaction_read_only=on")
    worker.restart(
        DATABASE_URL=f"{services.database_url}&target_session_attrs=any&options={options}"
    )
    with pytest.raises(DatabaseUnavailable) as raised:
        worker.run(read(REQUEST, query))
    assert raised.value.read_only
