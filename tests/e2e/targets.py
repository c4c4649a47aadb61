"""Ways to run the API, each a context manager that yields an httpx client.

docker_free   `python -m local run`, as `make run` starts it, with AWS's emulator or without
sam_local     `sam build` and `sam local start-api` on the services of local/compose.yaml
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from local.services import Services
from tests.tools import require_compose, require_image, runs

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
LAMBDA_IMAGE = "public.ecr.aws/lambda/python:3.13-x86_64"
COMPOSE = ("docker", "compose", "--file", str(ROOT / "local" / "compose.yaml"))
UPGRADE = "local/events/migrations-upgrade.json"
NETWORK = "users-and-posts-test"
# Of its own beside a developer's: another project, another network, any free ports.
COMPOSE_ENVIRONMENT = {
    "COMPOSE_PROJECT_NAME": NETWORK,
    "NETWORK": NETWORK,
    "POSTGRES_PORT": "0",
    "VALKEY_PORT": "0",
    "SAM_CLI_TELEMETRY": "0",
}
START_SECONDS = 120.0
STOP_SECONDS = 15.0
INVOKE_SECONDS = 90.0


@contextmanager
def docker_free(
    services: Services, *options: str, sign_in: bool = True, runtime: str = ""
) -> Iterator[httpx.Client]:
    """Requires tokens, also of this client unless `sign_in`, which makes it an administrator.

    `options` go to `python -m local run`; `runtime` may be `python`.
    """
    port = free_port()
    environment = os.environ | {
        "DATABASE_URL": services.database_url,
        "REDIS_URL": services.redis_url,
        "AUTH": "required",
        "SIGN_IN": "on" if sign_in else "off",
        **({"LOCAL_RUNTIME": runtime} if runtime else {}),
    }
    command = [sys.executable, "-m", "local", "run", "--port", str(port), *options]
    with running(command, environment), _client(port) as client:
        yield client


def token(api: httpx.Client, role: str, subject: str = "tester") -> str:
    """A token for `docker_free`, as `make token` prints it."""
    arguments = ("--role", role, "--subject", subject, "--port", str(api.base_url.port))
    return run([sys.executable, "-m", "local", "token", *arguments], dict(os.environ)).strip()


@contextmanager
def sam_local(_services: Services) -> Iterator[httpx.Client]:
    require_compose()
    require_image(LAMBDA_IMAGE)
    with compose_services():
        sam("build")
        sam("local", "invoke", "MigrationsFunction", "--event", UPGRADE)
        with sam_start_api() as client:
            yield client


@contextmanager
def compose_services() -> Iterator[None]:
    environment = os.environ | COMPOSE_ENVIRONMENT
    run([*COMPOSE, "up", "--detach", "--wait"], environment)
    try:
        yield
    finally:
        run([*COMPOSE, "down", "--volumes"], environment)


@contextmanager
def sam_start_api(*options: str) -> Iterator[httpx.Client]:
    """`options` go to `sam local start-api`."""
    port = free_port()
    command = sam_command("local", "start-api", "--port", str(port), *options)
    others = _function_containers()
    try:
        with running(command, os.environ | COMPOSE_ENVIRONMENT), _client(port) as client:
            yield client
    finally:
        # SAM leaves containers behind when it had a debugger in one.
        if left := _function_containers() - others:
            run(["docker", "rm", "--force", *left], dict(os.environ))


@contextmanager
def sam_start_lambda(port: int) -> Iterator[None]:
    command = sam_command("local", "start-lambda", "--port", str(port))
    with running(command, os.environ | COMPOSE_ENVIRONMENT):
        _wait_for_port(port)
        yield


def sam(*arguments: str) -> str:
    """Return the output of a sam command; its failure fails the test."""
    command, environment = sam_command(*arguments), os.environ | COMPOSE_ENVIRONMENT
    if arguments[:2] != ("local", "invoke"):
        return run(command, environment)
    try:
        return run(command, environment, INVOKE_SECONDS)
    except subprocess.TimeoutExpired:
        # Where its first request to the container fails, SAM sends it again, but forgets a timer,
        # and ends only when that has run out: after the function's timeout.
        return run(command, environment, INVOKE_SECONDS)


def sam_command(*arguments: str) -> list[str]:
    """The command with what a test needs: its own network, and no pull of images that are here."""
    if arguments[0] != "local":
        return [str(BIN / "sam"), *arguments]
    network = ["--docker-network", NETWORK]
    return [str(BIN / "sam"), *arguments, "--config-env", _profile(), *network]


def _function_containers() -> set[str]:
    """Ids of the containers that SAM has made for functions in the tests' network."""
    labels = ["--filter", "label=sam.cli.container.type=lambda", "--filter", f"network={NETWORK}"]
    return set(run(["docker", "ps", "--all", "--quiet", *labels], dict(os.environ)).split())


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _profile() -> str:
    """Return a profile of samconfig.toml: `offline` asks no registry for an image that is here."""
    return "offline" if runs("docker", "image", "inspect", LAMBDA_IMAGE) else "default"


def run(
    command: list[str], environment: dict[str, str], timeout_seconds: float | None = None
) -> str:
    """Return the command's output; its failure fails the test."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_seconds,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@contextmanager
def running(
    command: list[str], environment: dict[str, str], directory: Path = ROOT
) -> Iterator[None]:
    process = subprocess.Popen(
        command,
        cwd=directory,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def _client(port: int) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        wait_until_ready(client)
        yield client


def _wait_for_port(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            assert time.monotonic() < deadline, f"nothing listens on port {port}"
            time.sleep(0.1)
        else:
            return


def wait_until_ready(client: httpx.Client) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _is_healthy(client):
        assert time.monotonic() < deadline, "the API did not start"
        time.sleep(0.1)


def _is_healthy(client: httpx.Client) -> bool:
    try:
        return bool(client.get("/health").json().get("status") == "ok")
    except (httpx.HTTPError, ValueError):
        return False
