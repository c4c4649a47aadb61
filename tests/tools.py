"""Tools that some tests need beside `make install`: each is run once to see whether it works.

A test without its tool is skipped; pytest's summary has a line for each tool, which says how to
have it. In CI such a test fails (`tests/skips.py`).
"""

import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from layers import build
from local.runtime.emulated import emulator_path

SYSTEM_PROGRAMS = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"
RESPONSE_SECONDS = 20.0
PULL_SECONDS = 600.0
# As npm and uv print it.
UNREACHABLE = re.compile(
    r"\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH)\b"
    r"|error sending request|dns error|tcp connect error"
)
# Runs a command where nothing is mounted at /proc.
WITHOUT_PROC = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh")
COMPOSE_FILE = Path(__file__).parents[1] / "local" / "compose.yaml"


def require_docker() -> None:
    """Skip the test unless a Docker engine responds."""
    _skip_if(not build.docker_responds(), "no Docker engine responds: start Docker")


def require_compose() -> None:
    """Skip the test without Docker, its compose plugin, or an image of the local services."""
    require_docker()
    works = runs("docker", "compose", "version")
    _skip_if(not works, "Docker has no compose plugin: install docker-compose-v2")
    listed = _output("docker", "compose", "--file", str(COMPOSE_FILE), "config", "--images")
    for image in listed.split():
        require_image(image)


def require_image(image: str) -> None:
    """Skip the test without Docker, or if this image is neither there nor can be pulled."""
    require_docker()
    message = f"{image} cannot be pulled: connect to its registry, or `docker load` the image"
    _skip_if(not _has_image(image), message)


def require_bytecode_compiler() -> None:
    """Skip the test unless there is a Python of Lambda's version, or Docker with its image."""
    if build.target_python() is None:
        version, way = build.PYTHON_VERSION, f"`uv python install {build.PYTHON_VERSION}`"
        message = f"there is no Python {version}, and no Docker engine responds: {way}"
        _skip_if(not build.docker_responds(), message)
        require_image(build.LAMBDA_IMAGE)


def require_emulator() -> None:
    """Skip the test unless AWS's Lambda emulator runs here."""
    _skip_if(emulator_path() is None, "AWS's Lambda emulator does not run: it needs Linux")


def require_namespaces() -> None:
    """Skip the test unless a mount can be made that only one command sees."""
    _skip_if(not runs(*WITHOUT_PROC, "true"), "no mount can be made: run the test as root")


def require_npm() -> None:
    """Skip the test unless npm runs."""
    _skip_if(not runs("npm", "--version"), "npm does not run: install Node.js with npm")


def skip_if_unreachable(printed: str) -> None:
    """Skip the test whose installer printed that its registry cannot be reached."""
    is_unreachable = UNREACHABLE.search(printed) is not None
    _skip_if(is_unreachable, "a registry of packages cannot be reached: connect to the network")


def require_program(name: str) -> str:
    """Return the path of a server's program; skip the test unless it runs."""
    path = shutil.which(name, path=SYSTEM_PROGRAMS)
    works = path is not None and runs(path, "--version")
    _skip_if(not works, f"{name} does not run: `apt-get install {name}`")
    return str(path)


@cache
def runs(*command: str, seconds: float = RESPONSE_SECONDS) -> bool:
    """Whether the command succeeds in time."""
    try:
        subprocess.run(command, capture_output=True, check=True, timeout=seconds)
    except (OSError, subprocess.SubprocessError):
        return False
    return True


@cache
def _has_image(image: str) -> bool:
    return runs("docker", "image", "inspect", image) or runs(
        "docker", "pull", "--quiet", image, seconds=PULL_SECONDS
    )


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _skip_if(is_missing: bool, message: str) -> None:
    if is_missing:
        pytest.skip(message)
