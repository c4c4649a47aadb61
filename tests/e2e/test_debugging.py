"""The debugging sessions of docs/development.md: a breakpoint, Docker-free and under SAM."""

import ast
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from local.services import Services
from tests.e2e import targets
from tests.e2e.debugger import Debugger
from tests.resources import function_of
from tests.sample_resource import SampleResource

# As the profile `debug` of samconfig.toml has it, but for the port.
DEBUG_ARGUMENTS = "/tmp/lambci_debug_files/debugpy --listen 0.0.0.0:{port} --wait-for-client"


@pytest.mark.parametrize("runtime", ["", "python"])
def test_a_breakpoint_in_a_route_is_hit_without_docker(
    services: Services, sample: SampleResource, runtime: str
) -> None:
    debug_port = targets.free_port()
    options = ("--debug", function_of(sample.name), "--debug-port", str(debug_port))
    with targets.docker_free(services, *options, runtime=runtime) as api:
        _hit_breakpoint(api, sample, debug_port, str(targets.ROOT / "functions"))


@pytest.mark.docker
def test_a_breakpoint_in_a_route_is_hit_under_sam(
    sam_local_api: httpx.Client, sample: SampleResource
) -> None:
    targets.run(["sh", "local/install_debugger.sh"], dict(os.environ))
    debug_port = targets.free_port()
    options = [
        *("--debug-function", function_of(sample.name), "--debug-port", str(debug_port)),
        *("--debugger-path", str(targets.ROOT / ".local" / "debugger")),
        *("--debug-args", DEBUG_ARGUMENTS.format(port=debug_port)),
    ]
    with targets.sam_start_api(*options) as api:
        _hit_breakpoint(api, sample, debug_port, "/var/task")


@contextmanager
def _request_in_progress(api: httpx.Client, path: str) -> Iterator[list[httpx.Response]]:
    responses: list[httpx.Response] = []
    thread = threading.Thread(target=lambda: responses.append(api.get(path)))
    thread.start()
    yield responses
    thread.join(timeout=60)
    assert responses


def _hit_breakpoint(
    api: httpx.Client, sample: SampleResource, debug_port: int, remote_root: str
) -> None:
    routes = targets.ROOT / "functions" / sample.name / "routes.py"
    operation = sample.operation("get", sample.item_path)
    line = _last_line_of(operation, routes)
    with (
        _request_in_progress(api, sample.item(9_000_000_000)) as responses,
        Debugger(debug_port, targets.ROOT / "functions", remote_root) as debugger,
    ):
        debugger.break_at(routes, line)
        assert debugger.wait_for_stop() == (operation, line)
        assert responses == []
        debugger.let_go()
    assert responses[0].status_code == 404


def _last_line_of(function: str, file: Path) -> int:
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.AsyncFunctionDef) and node.name == function:
            return node.body[-1].lineno
    raise AssertionError(f"{file} has no {function}")
