"""What PostgreSQL logs with the parameters of infrastructure/database.yaml: nothing of its rows."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import psycopg
import pytest

from local.services import Services, running_services
from tests.conftest import Worker
from tests.example.models import create_tables
from tests.in_process import client_of
from tests.template.stacks import Stack

BEFORE = {"log_min_duration_statement": "1000"}
"""With everything else as PostgreSQL has it: the values are in its log."""
Session = psycopg.Connection[Any]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logging")


@pytest.fixture(scope="module")
def server(directory: Path) -> Iterator[Services]:
    with running_services(directory, ephemeral=True) as started:
        yield started


@pytest.fixture
def session(server: Services, worker: Worker) -> Iterator[Session]:
    from migrations.handler import handler as migrate

    worker.restart(DATABASE_URL=server.database_url)
    migrate({}, None)
    create_tables()
    with psycopg.connect(server.database_url, autocommit=True) as connection:
        yield connection


def template_parameters() -> dict[str, str]:
    """Those that PostgreSQL itself has."""
    parameters: dict[str, str] = Stack().nested["Database"].properties("Parameters")["Parameters"]
    return {name: value for name, value in parameters.items() if not name.startswith("rds.")}


def configure(session: Session, parameters: dict[str, str]) -> None:
    session.execute("ALTER SYSTEM RESET ALL")
    for name, value in parameters.items():
        session.execute(f"ALTER SYSTEM SET {name} = '{value}'".encode())
    session.execute("SELECT pg_reload_conf()")
    time.sleep(0.2)
    for name, value in parameters.items():
        query = "SELECT setting FROM pg_settings WHERE name = %s"
        assert session.execute(query, [name]).fetchone() == (value,)


def conflict(session: Session, value: str) -> None:
    with client_of() as api:
        statuses = [
            api.post("/writers", json={"name": "Ada", "email": f"{value}@example.org"}).status_code
            for _ in range(2)
        ]
    assert statuses == [201, 409]


def slow_statement(session: Session, value: str) -> None:
    session.execute("SELECT pg_sleep(1.1), %s::text", [value])


def slow_statement_with_its_value(session: Session, value: str) -> None:
    session.execute(f"SELECT pg_sleep(1.1), '{value}'".encode())


def error_that_quotes(session: Session, value: str) -> None:
    with pytest.raises(psycopg.errors.InvalidTextRepresentation):
        session.execute("SELECT %s::integer", [value])


def error_of_a_statement(session: Session, value: str) -> None:
    with pytest.raises(psycopg.errors.UndefinedTable):
        session.execute(f"SELECT '{value}' FROM nowhere".encode())


def rejected_row(session: Session, value: str) -> None:
    session.execute("CREATE TEMPORARY TABLE IF NOT EXISTS checked (name text CHECK (name = ''))")
    with pytest.raises(psycopg.errors.CheckViolation):
        session.execute("INSERT INTO checked VALUES (%s)", [value])


def rejected_line_of_an_import(session: Session, value: str) -> None:
    session.execute("CREATE TEMPORARY TABLE IF NOT EXISTS imported (number integer)")
    with (
        pytest.raises(psycopg.errors.InvalidTextRepresentation),
        session.cursor().copy("COPY imported FROM STDIN") as copy,
    ):
        copy.write(f"{value}\n")


def deadlock(session: Session, value: str) -> None:
    session.execute("CREATE TABLE IF NOT EXISTS made_things (id integer, name text)")
    session.execute("TRUNCATE made_things")
    session.execute("INSERT INTO made_things VALUES (1), (2)")
    update = f"UPDATE made_things SET name = '{value}' WHERE id = %s"
    with psycopg.connect(session.info.dsn) as one, psycopg.connect(session.info.dsn) as other:
        one.execute(update.encode(), [1])
        other.execute(update.encode(), [2])
        failures: list[BaseException] = []

        def wait(connection: Session, row: int) -> None:
            try:
                connection.execute((update % row).encode())
            except psycopg.errors.DeadlockDetected as error:
                failures.append(error)
                connection.rollback()

        threads = [Thread(target=wait, args=args) for args in ((one, 2), (other, 1))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(failures) == 1


WAYS: list[Callable[[Session, str], None]] = [
    conflict,
    slow_statement,
    slow_statement_with_its_value,
    error_that_quotes,
    error_of_a_statement,
    rejected_row,
    rejected_line_of_an_import,
    deadlock,
]


@pytest.mark.parametrize(
    ("parameters", "are_logged"), [(BEFORE, True), (template_parameters(), False)]
)
def test_its_log_has_no_value_of_a_row(
    session: Session, directory: Path, parameters: dict[str, str], are_logged: bool
) -> None:
    configure(session, parameters)
    log = directory / "postgres.log"
    start = log.stat().st_size
    for number, way in enumerate(WAYS):
        way(session, f"personal{number}of{are_logged}")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(f"{session.info.dsn} dbname=nowhere")
    written = log.read_bytes()[start:].decode()
    assert "FATAL" in written, "the log is not in use"
    found = [way.__name__ for number, way in enumerate(WAYS) if f"personal{number}of" in written]
    assert found == ([way.__name__ for way in WAYS] if are_logged else [])


def test_each_log_that_the_database_exports_expires() -> None:
    """In a group of the stack, which is there before an instance writes to it."""
    stack = Stack(Profile="ha", LogRetentionDays=7).nested["Database"]
    resources = dict(stack.resources())
    groups = {
        resource["Properties"]["LogGroupName"]: (name, resource["Properties"]["RetentionInDays"])
        for name, resource in resources.items()
        if resource["Type"] == "AWS::Logs::LogGroup"
    }
    exported = stack.properties("Cluster")["EnableCloudwatchLogsExports"]
    assert set(groups) == {f"/aws/rds/cluster/cluster/{name}" for name in exported}
    assert {days for _, days in groups.values()} == {7}
    instances = [one for one in resources.values() if one["Type"] == "AWS::RDS::DBInstance"]
    assert len(instances) == 2
    for instance in instances:
        assert {name for name, _ in groups.values()} <= set(instance["DependsOn"])
