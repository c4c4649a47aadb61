"""Settings that AWS Secrets Manager keeps."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import httpx
import psycopg
import pytest
from sqlalchemy import make_url

from local.services import Services, running_services
from migrations.handler import handler as migrate
from shared import stored_secrets
from shared.aws import secrets_manager
from shared.database import Reader, read
from shared.database.server import database_url
from shared.settings import SettingsError
from shared.stored_secrets import SecretUnavailable, is_secret, secret_value
from tests.conftest import Worker
from tests.example.models import create_tables
from tests.layer.test_database_url import SCHEMES, in_form
from tests.secrets_manager import Manager, new_secret
from tests.transactions import REQUEST, statement_of


async def query(reader: Reader) -> object:
    return (await reader.execute(statement_of("SELECT 42"))).scalar()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_database_is_reached_through_the_secret(
    worker: Worker, services: Services, manager: Manager, scheme: str
) -> None:
    secret = new_secret(manager, in_form(scheme, services.database_url))
    worker.restart(DATABASE_URL=secret)
    assert database_url().drivername == "postgresql+psycopg"
    assert database_url().query == make_url(services.database_url).query | {"sslmode": "disable"}
    assert worker.run(read(REQUEST, query)) == 42


def test_a_secret_without_a_url_is_reported_without_its_value(
    worker: Worker, manager: Manager
) -> None:
    worker.restart(DATABASE_URL=new_secret(manager, '{"password": "s3cret"}'))
    with pytest.raises(SettingsError, match=r"^DATABASE_URL: not a PostgreSQL URL") as raised:
        database_url()
    assert "s3cret" not in str(raised.value)


def test_a_rotated_value_is_read_when_asked_again_but_not_at_once(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    arn = new_secret(manager, "old")
    assert secret_value(arn) == "old"
    manager.put_secret_value(SecretId=arn, SecretString="new")
    assert secret_value(arn) == "old"

    monkeypatch.setattr(stored_secrets, "REREAD_SECONDS", 0.0)
    assert secret_value(arn) == "new"


def test_a_secret_that_cannot_be_read_is_not_asked_for_again_at_once(manager: Manager) -> None:
    arn = new_secret(manager, "value")
    manager.delete_secret(SecretId=arn, ForceDeleteWithoutRecovery=True)
    with pytest.raises(SecretUnavailable, match="ResourceNotFound"):
        secret_value(arn)
    with pytest.raises(SecretUnavailable, match="a moment ago"):
        secret_value(arn)


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov"])
def test_the_arn_of_a_secret_is_distinguished_from_a_url(partition: str) -> None:
    assert is_secret(f"arn:{partition}:secretsmanager:eu-west-1:123456789012:secret:blog-AbCdEf")
    assert not is_secret("postgresql://arn:aws:secretsmanager:@127.0.0.1/blog")


class RotatedDatabase:
    """A PostgreSQL that asks the user app for a password, and the secret that holds it."""

    def __init__(self, services: Services, manager: Manager) -> None:
        self.reads = 0
        self._url = services.database_url
        self._manager = manager
        self._admin = psycopg.connect(services.database_url, autocommit=True)
        self._admin.execute("CREATE ROLE app SUPERUSER LOGIN PASSWORD 'first'")
        self._admin.execute("SELECT pg_reload_conf()")
        self.arn = new_secret(manager, self.url("first"))

    def url(self, password: str) -> str:
        return self._url.replace("postgres@", f"app:{password}@")

    def change_secret(self, password: str) -> None:
        self._manager.put_secret_value(SecretId=self.arn, SecretString=self.url(password))

    def change_password(self, password: str) -> None:
        """Only in the server, which ends the connection made with the old one when it is idle."""
        self._admin.execute(f"ALTER ROLE app PASSWORD '{password}'")
        self.wait_for_requests("SELECT pg_terminate_backend(pid, 1000)")

    def wait_for_requests(self, select: str = "SELECT") -> None:
        """Until the worker has a connection that is idle after a request."""
        deadline = time.monotonic() + 30
        connections = (
            f"{select} FROM pg_stat_activity WHERE usename = 'app'"
            " AND state = 'idle' AND (query LIKE 'SELECT writers%' OR query = 'COMMIT')"
        )
        while not self._admin.execute(connections).rowcount:
            assert time.monotonic() < deadline
            time.sleep(0.001)

    def close(self) -> None:
        self._admin.close()


@pytest.fixture
def rotated(
    worker: Worker,
    services: Services,
    manager: Manager,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[RotatedDatabase]:
    """The worker's database; `reads` counts calls to Secrets Manager."""
    with running_services(tmp_path, redis_url=services.redis_url, ephemeral=True) as own:
        rules = tmp_path / "postgres" / "pg_hba.conf"
        rules.write_text(f"local all app scram-sha-256\n{rules.read_text()}")
        database = RotatedDatabase(own, manager)
        fetch = secrets_manager.fetch_secret

        def count_and_fetch(arn: str, timeout_seconds: float) -> str:
            database.reads += 1
            return fetch(arn, timeout_seconds)

        monkeypatch.setattr(secrets_manager, "fetch_secret", count_and_fetch)
        worker.restart(DATABASE_URL=database.arn)
        migrate({}, None)
        create_tables()
        worker.restart()
        database.reads = 0
        yield database
        worker.close()
        database.close()


def test_requests_go_on_while_the_password_is_rotated(
    rotated: RotatedDatabase, api: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_secrets, "REREAD_SECONDS", 0.0)
    statuses: list[int] = []

    def rotate() -> None:
        for number in range(5):
            rotated.wait_for_requests()
            rotated.change_secret(f"rotated-{number}")
            rotated.change_password(f"rotated-{number}")
        rotated.wait_for_requests()

    rotation = Thread(target=rotate)
    rotation.start()
    while rotation.is_alive():
        body = {"name": "Ada", "email": f"ada{len(statuses)}@example.org"}
        statuses.append(api.post("/writers", json=body).status_code)
        statuses.append(api.get("/writers/1").status_code)

    assert len(statuses) > 10
    assert set(statuses) == {200, 201}
    assert rotated.reads == 1 + 5


def test_a_password_that_stays_rejected_is_503_and_is_not_read_by_each_request(
    rotated: RotatedDatabase, api: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_secrets, "REREAD_SECONDS", 60.0)
    assert api.get("/writers/1").status_code == 404
    rotated.change_password("unknown")
    responses = [api.get("/writers/1") for _ in range(10)]
    assert {response.status_code for response in responses} == {503}
    assert responses[0].json()["type"] == "/problems#database-unavailable"
    assert rotated.reads == 1

    monkeypatch.setattr(stored_secrets, "REREAD_SECONDS", 0.0)
    rotated.change_secret("unknown")
    assert api.get("/writers/1").status_code == 404


def test_a_secret_that_cannot_be_read_is_503_and_its_reason_is_logged(
    worker: Worker,
    manager: Manager,
    api: httpx.Client,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arn = new_secret(manager, "postgresql://")
    manager.delete_secret(SecretId=arn, ForceDeleteWithoutRecovery=True)
    worker.restart(DATABASE_URL=arn)
    response = api.get("/writers/1")
    assert response.status_code == 503
    assert response.json()["type"] == "/problems#database-unavailable"
    assert response.json()["detail"] == "The database does not respond; nothing was changed."
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    [logged] = [line for line in lines if line["level"] == "ERROR"]
    assert logged["message"] == "the database's secret cannot be read"
    assert "ResourceNotFoundException" in logged["reason"]
