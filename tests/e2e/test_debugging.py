"""The debugging sessions of docs/development.md: a breakpoint, Docker-free and under SAM."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from local.services import Services
from tests.e2e import targets
from tests.e2e.debugger import Debugger

# As the profile `debug` of samconfig.toml has it, but for the port.
DEBUG_ARGUMENTS = "/tmp/lambci_debug_files/debugpy --listen 0.0.0.0:{port} --wait-for-client"
ROUTES = targets.ROOT / "functions" / "users" / "routes.py"


@pytest.mark.parametrize("runtime", ["", "python"])
def test_a_breakpoint_in_a_route_is_hit_without_docker(services: Services, runtime: str) -> None:
    debug_port = targets.free_port()
    options = ("--debug", "UsersFunction", "--debug-port", str(debug_port))
    with targets.docker_free(services, *options, runtime=runtime) as api:
        _hit_breakpoint(api, debug_port, str(targets.ROOT / "functions"))


@pytest.mark.docker
def test_a_breakpoint_in_a_route_is_hit_under_sam(sam_local_api: httpx.Client) -> None:
    targets.run(["sh", "local/install_debugger.sh"], dict(os.environ))
    debug_port = targets.free_port()
    options = [
        *("--debug-function", "UsersFunction", "--debug-port", str(debug_port)),
        *("--debugger-path", str(targets.ROOT / ".local" / "debugger")),
        *("--debug-args", DEBUG_ARGUMENTS.format(port=debug_port)),
    ]
    with targets.sam_start_api(*options) as api:
        _hit_breakpoint(api, debug_port, "/var/task")


@contextmanager
def _request_in_progress(api: httpx.Client, path: str) -> Iterator[list[httpx.Response]]:
    responses: list[httpx.Response] = []
    thread = threading.Thread(target=lambda: responses.append(api.get(path)))
    thread.start()
    yield responses
    thread.join(timeout=60)
    assert responses


def _hit_breakpoint(api: httpx.Client, debug_port: int, remote_root: str) -> None:
    line = _line_of("await queries.ITEM.find(reader, user_id)")
    with (
        _request_in_progress(api, "/users/9000000000") as responses,
        Debugger(debug_port, targets.ROOT / "functions", remote_root) as debugger,
    ):
        debugger.break_at(ROUTES, line)
        assert debugger.wait_for_stop() == ("get_user", line)
        assert responses == []
        debugger.let_go()
    assert responses[0].status_code == 404


def _line_of(text: str) -> int:
    lines = ROUTES.read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)
