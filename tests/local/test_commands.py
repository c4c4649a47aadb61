"""Commands of `python -m local`, but for `run`, which has tests of its own."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from shared.settings import LOCAL_STAGE
from tests.local.conftest import Finished
from tests.local.toys import Program, write_project
from tests.template.stacks import template

RunLocal = Callable[..., Finished]
MIGRATE = """
import os, psycopg
def handler(event, context):
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        database, = connection.execute("SELECT current_database()").fetchone()
    return {**event, "database": database}
"""


def test_invoke_prints_the_response_and_the_report(
    run_local: RunLocal, given: dict[str, str]
) -> None:
    event = json.dumps({"mode": "log"})
    finished = run_local("invoke", "ToyFunction", "--event", "-", event=event, **given)
    assert finished.code == 0
    assert json.loads(finished.stdout)["statusCode"] == 200
    assert "printed words" in finished.stderr
    report = finished.stderr.splitlines()[-1]
    assert re.match(r"REPORT RequestId: \S+\tInit Duration: [\d.]+ ms\tDuration: ", report)


@pytest.mark.parametrize(("shell", "auth"), [({}, "open"), ({"AUTH": "required"}, "required")])
def test_invoke_needs_no_token_as_no_gateway_has_checked_one(
    run_local: RunLocal, given: dict[str, str], shell: dict[str, str], auth: str
) -> None:
    event = json.dumps({"mode": "environment"})
    finished = run_local("invoke", "ToyFunction", "--event", "-", event=event, **given, **shell)
    assert json.loads(finished.stdout)["AUTH"] == auth


def test_functions_have_a_stage_that_no_deployment_has(
    run_local: RunLocal, given: dict[str, str]
) -> None:
    """Their logs quote PostgreSQL's messages."""
    event = json.dumps({"mode": "environment"})
    finished = run_local("invoke", "ToyFunction", "--event", "-", event=event, **given)
    assert json.loads(finished.stdout)["STAGE"] == LOCAL_STAGE
    assert LOCAL_STAGE not in template()["Parameters"]["Stage"]["AllowedValues"]


def test_invoke_migrates_the_database_first(
    run_local: RunLocal, project: Path, given: dict[str, str]
) -> None:
    write_project(project, migrations="def handler(event, _):\n    raise RuntimeError(event)\n")
    finished = run_local("invoke", "ToyFunction", "--event", "-", event='{"mode": "log"}', **given)
    assert finished.code == 1
    assert finished.stdout == ""
    assert "the migrations failed: " in finished.stderr
    assert "'revision': 'head'" in finished.stderr


def test_invoke_shows_how_a_function_failed(
    run_local: RunLocal, tmp_path: Path, given: dict[str, str]
) -> None:
    (tmp_path / "event.json").write_text('{"mode": "raise"}')
    finished = run_local("invoke", "ToyFunction", "--event", f"{tmp_path}/event.json", **given)
    assert finished.code == 1
    assert json.loads(finished.stdout)["errorMessage"] == "boom"
    assert "REPORT RequestId: " in finished.stderr


def test_invoke_of_an_unknown_function_names_those_that_exist(run_local: RunLocal) -> None:
    finished = run_local("invoke", "NoFunction")
    assert finished.code == 1
    assert finished.stderr == "error: there is no function NoFunction; there are: ToyFunction\n"


@pytest.mark.parametrize(
    ("name", "message"), [("none.json", "cannot be read"), ("template.yaml", "is not JSON")]
)
def test_invoke_with_a_broken_event_is_one_line(
    run_local: RunLocal, project: Path, name: str, message: str
) -> None:
    finished = run_local("invoke", "ToyFunction", "--event", f"{project}/{name}")
    assert finished.code == 1
    assert message in finished.stderr
    assert finished.stderr.count("\n") == 1


def test_other_commands_attach_to_running_services(
    run_local: RunLocal, tmp_path: Path, start: Callable[..., Program]
) -> None:
    write_project(tmp_path, migrations=MIGRATE)
    program = start("services")
    url = program.wait_for("DATABASE_URL=").partition("=")[2]
    assert program.wait_for("REDIS_URL=unix:///")
    servers = {process.pid for process in program.children()}

    finished = run_local("migrate", "--down", "base")
    assert finished.code == 0, finished.stderr
    assert '{"action": "downgrade", "revision": "base", "database": "blog"}' in finished.stdout
    assert finished.stdout.count("\n") == 1

    assert servers == {process.pid for process in program.children()}
    psycopg.connect(url).close()
    assert program.end(signal.SIGTERM) == []
    assert program.process.returncode == 0


def test_reset_empties_no_database_that_is_given(
    run_local: RunLocal, given: dict[str, str]
) -> None:
    finished = run_local("reset", **given)
    assert finished.code == 1
    assert finished.stderr.startswith("error: DATABASE_URL is set")


def test_reset_empties_the_databases(run_local: RunLocal, project: Path) -> None:
    data = project / ".local" / "postgres"
    data.mkdir(parents=True)
    finished = run_local("reset")
    assert finished.code == 0, finished.stderr
    assert not data.exists()


def test_migrate_without_the_function_is_one_line(
    run_local: RunLocal, given: dict[str, str]
) -> None:
    finished = run_local("migrate", **given)
    assert finished.code == 1
    assert finished.stderr.endswith("template.yaml has no MigrationsFunction\n")


def test_a_command_imports_what_is_slow_when_it_needs_it() -> None:
    late = {"faker", "psycopg", "rich", "sqlalchemy"}
    code = f"import sys, local.__main__; print({late} & sys.modules.keys())"
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True, check=True, text=True).stdout == "set()\n"
