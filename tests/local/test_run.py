"""`python -m local run`, from its start to its end, over real HTTP."""

import signal
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from local.services import Services
from tests.local.conftest import Finished
from tests.local.toys import Program, write_project
from tests.tools import WITHOUT_PROC, require_namespaces

Start = Callable[..., Program]
RunLocal = Callable[..., Finished]
MIGRATE = "def handler(*_):\n    return {'revision': '3', 'head': '%s', 'state': '%s'}\n"
FAIL = "def handler(event, context):\n    raise RuntimeError('no such table')\n"


def test_a_run_with_changes_of_code(start: Start, project: Path) -> None:
    """One start for everything that can be seen while it runs: a start takes seconds."""
    program = start("run", "--port", "0")
    assert program.url.startswith("http://127.0.0.1:")

    assert program.get("/toy?mode=log").status_code == 200
    line = program.wait_for("GET    /toy?mode=log")
    assert " 200 " in line
    assert " ms ToyFunction cache=hit COLD START init " in line
    program.wait_for("WARNING ToyFunction loud words user=7")
    program.wait_for("ToyFunction | printed words")
    assert "quiet words" not in program.output

    seen = program.get("/toy?mode=environment").json()
    assert seen["DATABASE_URL"].startswith("postgresql://postgres@/blog?host=")
    assert seen["REDIS_URL"].startswith("unix:///")
    assert seen["TLS_REQUIRED"] == "false"

    shared = project / "layers" / "shared" / "shared" / "__init__.py"
    for value in range(2, 9):  # files of one size, several in a second
        shared.write_text(f"VALUE = {value}\n")
        assert program.get("/toy").json()["value"] == value
    program.wait_for("layers/shared/shared/__init__.py changed: the next request", 5)

    assert program.get("/toy?mode=break").status_code == 200
    program.wait_for("breakpoint() needs a debugger: python -m local run --debug ToyFunction")

    handler = project / "functions" / "toy" / "handler.py"
    code = handler.read_text()
    handler.write_text("import no_such_module\n")
    program.wait_for("functions/toy/handler.py ", 5)  # with others, perhaps
    assert program.get("/toy").status_code == 500
    program.wait_for("No module named 'no_such_module'", 5)
    handler.write_text(code)
    deadline = time.monotonic() + 5
    while program.get("/toy").status_code != 200:
        assert time.monotonic() < deadline, program.output

    url, template = program.url, project / "template.yaml"
    valid = template.read_text()
    template.write_text("Resources: [")
    program.wait_for("template.yaml does not parse: ", 5)
    assert program.get("/toy").status_code == 200

    program.lines.clear()
    template.write_text(valid.replace("GREETING: hello", "GREETING: goodbye"))
    program.wait_for("template.yaml changed", 5)
    assert program.url == url
    assert program.get("/toy?mode=environment").json()["GREETING"] == "goodbye"

    assert program.end(signal.SIGTERM) == []
    assert program.process.returncode == 0
    assert "Failed to get next invocation" not in program.output


def test_a_closed_terminal_stops_it_and_leaves_nothing(start: Start, given: dict[str, str]) -> None:
    program = start("run", "--port", "0", **given)
    assert program.get("/toy").status_code == 200
    assert program.end(signal.SIGHUP) == []
    assert program.process.returncode == 0


def test_clients_that_are_not_done_do_not_delay_the_end(
    start: Start, given: dict[str, str]
) -> None:
    program = start("run", "--port", "0", **given)
    assert program.get("/toy").status_code == 200
    address = ("127.0.0.1", int(program.url.rpartition(":")[2]))
    head = b" HTTP/1.1\r\nHost: localhost\r\n"
    with ExitStack() as stack:
        for sent in (
            b"",
            b"GET /toy",
            b"POST /toy" + head + b"Content-Length: 9\r\n\r\n{}",
            b"GET /toy?mode=sleep&seconds=9" + head + b"\r\n",
        ):
            stack.enter_context(socket.create_connection(address)).sendall(sent)
        program.wait_for("ToyFunction | asleep")
        started = time.monotonic()
        assert program.end(signal.SIGINT) == []
        assert time.monotonic() - started < 2
    assert program.process.returncode == 0
    assert "Traceback" not in program.output


def test_killed_it_leaves_nothing_either(start: Start) -> None:
    program = start("run", "--port", "0")
    assert program.get("/toy").status_code == 200
    assert len(program.family()) > 5
    assert program.end(signal.SIGKILL) == []


@pytest.mark.linux
@pytest.mark.root
def test_it_needs_no_proc(start: Start, services: Services) -> None:
    """As on a Mac. PostgreSQL's own loader finds its libraries by /proc on Linux."""
    require_namespaces()
    url = services.database_url
    program = start("run", "--port", "0", within=WITHOUT_PROC, DATABASE_URL=url)
    assert program.get("/toy").status_code == 200
    assert program.get("/toy?mode=exit").status_code == 500
    assert program.get("/toy").status_code == 200
    assert len(program.family()) > 3
    assert program.end(signal.SIGKILL) == []


def test_stopped_while_it_starts_it_leaves_nothing(start: Start) -> None:
    program = start("run", "--port", "0")
    program.wait_for("Starting PostgreSQL")
    time.sleep(0.3)
    assert program.end(signal.SIGTERM) == []
    assert program.process.returncode == 0
    assert "Traceback" not in program.output


def test_migrations_are_applied_before_it_is_ready_and_ctrl_c_stops_it(
    tmp_path: Path, start: Start, given: dict[str, str]
) -> None:
    write_project(tmp_path, migrations=MIGRATE % ("3", "current"))
    program = start("run", "--port", "0", **given)
    program.wait_for("Migrating the database")
    assert program.url
    assert "revision" not in program.output
    assert program.end(signal.SIGINT) == []
    assert program.process.returncode == 0


def test_a_notice_says_that_the_schema_is_not_the_codes(
    tmp_path: Path, start: Start, given: dict[str, str]
) -> None:
    """At the start, and when a file of the migrations changes."""
    write_project(tmp_path, migrations=MIGRATE % ("2", "later"))
    program = start("run", "--port", "0", **given)
    program.wait_for("the database is at revision 3, later than this code's 2")
    assert program.url
    migrations = tmp_path / "functions" / "migrations" / "handler.py"
    migrations.write_text(MIGRATE % ("4", "behind"))
    program.wait_for("a migration is pending, from 3 to 4: make migrate")
    migrations.write_text("def handler(\n")
    program.wait_for("the migrations failed: Runtime.UserCodeSyntaxError")


def test_failing_migrations_are_one_line(
    run_local: RunLocal, tmp_path: Path, given: dict[str, str]
) -> None:
    write_project(tmp_path, migrations=FAIL)
    finished = run_local("run", "--port", "0", **given)
    assert finished.code == 1
    assert finished.stderr == "error: the migrations failed: RuntimeError: no such table\n"


def test_a_taken_port_is_one_line(run_local: RunLocal) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        finished = run_local("run", PORT=str(port))
    assert finished.code == 1
    assert finished.stderr.startswith(f"error: port {port} is in use by another program; ")
    assert "PORT=" in finished.stderr
    assert finished.stderr.count("\n") == 1


@pytest.mark.parametrize("port", ["http", "70000", "-1"])
def test_an_invalid_port_is_one_line(run_local: RunLocal, port: str) -> None:
    finished = run_local("run", PORT=port)
    assert finished.code == 1
    assert finished.stderr.startswith("error: PORT must be ")
    assert finished.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("shell", "line"),
    [
        ({"DATABASE_URL": "postgresql://u:secret@127.0.0.1:1/x"}, "DATABASE_URL does not respond"),
        ({"REDIS_URL": "redis://:secret@127.0.0.1:1"}, "REDIS_URL does not respond"),
    ],
)
def test_a_broken_url_is_one_line(run_local: RunLocal, shell: dict[str, str], line: str) -> None:
    finished = run_local("run", "--port", "0", **shell)
    assert finished.code == 1
    assert finished.stderr.startswith(f"error: {line}")
    assert finished.stderr.count("\n") == 1
    assert "secret" not in finished.stdout + finished.stderr


def test_a_broken_template_is_one_line(
    run_local: RunLocal, project: Path, given: dict[str, str]
) -> None:
    (project / "template.yaml").write_text("Resources: [")
    finished = run_local("run", "--port", "0", **given)
    assert finished.code == 1
    assert finished.stderr.startswith("error: template.yaml does not parse: ")
    assert finished.stderr.count("\n") == 1
