"""Events reach a function from the gateway only, though the emulator's ports are open to all."""

import http.client
import json
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from local.gateway.server import MAX_EVENT_BYTES
from local.runtime.emulated import INVOKE_PATH
from local.runtime.pool import WorkerPool
from local.runtime.pure_python import PythonWorker
from local.runtime.worker import Worker
from tests.local.conftest import EMULATED
from tests.local.toys import toy_function, write_project

ONLY_EMULATED = pytest.mark.parametrize("worker_type", [EMULATED], indirect=True)
PRINTS_ASLEEP = {"queryStringParameters": {"mode": "sleep", "seconds": "0"}}
Address = tuple[str, int]


class Running:
    """A pool with one worker that has responded, and all that was logged."""

    def __init__(self, project: Path, worker_type: type[Worker]) -> None:
        self.others = {child.pid for child in psutil.Process().children(recursive=True)}
        self.lines: list[str] = []
        self.function = toy_function(project)
        self.pool = WorkerPool(
            lambda _, line: self.lines.append(line.text), worker_type=worker_type
        )

    def open_ports(self) -> list[Address]:
        """The addresses on which this runtime's workers listen."""
        return [
            tuple(connection.laddr)
            for child in psutil.Process().children(recursive=True)
            if child.pid not in self.others
            for connection in child.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
        ]

    def invoke(self, event: object) -> bytes:
        invocation = self.pool.invoke(self.function, json.dumps(event).encode())
        invocation.wait_for_logs(10)
        assert invocation.function_error is None
        return invocation.payload


@pytest.fixture(scope="module")
def running(
    worker_type: type[Worker], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    running = Running(write_project(tmp_path_factory.mktemp("worker")), worker_type)
    running.invoke({})
    yield running
    running.pool.close()


def post(address: Address, path: str, body: bytes, headers: dict[str, str]) -> bytes:
    connection = http.client.HTTPConnection(*address, timeout=5)
    try:
        connection.request("POST", path, body, headers)
        return connection.getresponse().read()
    finally:
        connection.close()


def test_an_event_of_the_pool_reaches_the_function(running: Running) -> None:
    running.invoke(PRINTS_ASLEEP)
    assert "asleep" in running.lines


@pytest.mark.parametrize("worker_type", [PythonWorker], indirect=True)
def test_a_worker_without_the_emulator_opens_no_port(running: Running) -> None:
    assert running.open_ports() == []


@ONLY_EMULATED
@pytest.mark.parametrize("origin", [{}, {"Origin": "https://evil.example"}])
@pytest.mark.parametrize(
    "forged",
    [
        PRINTS_ASLEEP,
        {"event": PRINTS_ASLEEP},
        {"secret": None, "event": PRINTS_ASLEEP},
        {"secret": "0" * 32, "event": PRINTS_ASLEEP},
        [PRINTS_ASLEEP],
    ],
)
def test_an_event_that_a_web_page_posts_does_not_reach_the_function(
    running: Running, forged: object, origin: dict[str, str]
) -> None:
    """A cross-origin request that needs no preflight, to each port in turn."""
    running.lines.clear()
    headers = {"Content-Type": "text/plain;charset=UTF-8"} | origin
    replies = [
        post(address, INVOKE_PATH, json.dumps(forged).encode(), headers)
        for address in running.open_ports()
    ]
    assert len(replies) == 2
    assert any(b'"errorType": "Sandbox.ForgedEvent"' in reply for reply in replies)
    assert json.loads(running.invoke({}))["statusCode"] == 200
    assert "asleep" not in running.lines


@ONLY_EMULATED
def test_the_ports_are_at_no_address_that_a_web_page_can_guess(running: Running) -> None:
    hosts = {host for host, _ in running.open_ports()}
    running.pool.retire([running.function.name])
    running.invoke({})
    later = {host for host, _ in running.open_ports()}
    assert len(hosts) == len(later) == 1
    assert hosts.isdisjoint(later)
    for host, port in running.open_ports():
        assert host.startswith("127.")
        for guess in ("127.0.0.1", "0.0.0.0", "localhost"):
            with pytest.raises(ConnectionRefusedError):
                http.client.HTTPConnection(guess, port, timeout=5).connect()


def test_the_function_does_not_see_the_secret(running: Running) -> None:
    environment = json.loads(running.invoke({"mode": "environment"}))
    assert not [name for name in environment if "SECRET" in name.replace("AWS_SECRET", "")]


def test_the_largest_event_arrives_whole(running: Running) -> None:
    event = {"mode": "environment", "padding": ""}
    event["padding"] = "x" * (MAX_EVENT_BYTES - len(json.dumps(event)))
    assert b"AWS_LAMBDA_FUNCTION_NAME" in running.invoke(event)
