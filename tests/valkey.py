"""Valkey servers of a test's own: to be restarted, replicated, demoted, or denied writes."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import redis

from local.services.valkey import end_quarantine, valkey_binary

START_SECONDS = 10.0
POLL_SECONDS = 0.005
NOWHERE = ("127.0.0.1", "1")
"""An address without a primary: its replica keeps its data."""


def empty(client: Any) -> None:
    """Empty a Redis that no write is in progress on, so that it need not be in quarantine."""
    client.flushdb()
    end_quarantine(client)


class ValkeyServer:
    """One server, at a Unix socket for clients and at a port for replicas; `options` as given to
    `valkey-server`. What it has ends with its process unless the options say otherwise."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.data = directory / "data"
        self.data.mkdir(parents=True)
        self.socket = str(directory / "valkey.sock")
        self.port = free_port()
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}?db=0"

    def __enter__(self) -> Self:
        self.start()
        with self.client() as client:
            end_quarantine(client)
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        own = ("--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", self.socket)
        data = ("--dir", str(self.data), "--repl-diskless-sync-delay", "0")
        persistence = () if self._options else ("--save", "", "--appendonly", "no")
        self._process = subprocess.Popen(
            [str(valkey_binary()), *own, *data, *persistence, *self._options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(self._is_ready)

    def kill(self) -> None:
        """As a crash does: nothing is saved."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        Path(self.socket).unlink(missing_ok=True)

    def command(self, *arguments: Any) -> Any:
        with self.client() as client:
            return client.execute_command(*arguments)

    @contextmanager
    def client(self) -> Iterator[Any]:
        with redis.Redis.from_url(self.url) as client:
            yield client

    def follow(self, primary: "ValkeyServer") -> None:
        """Become its replica; returns when it has its data."""
        self.command("REPLICAOF", "127.0.0.1", str(primary.port))
        until(lambda: self.replication()["master_link_status"] == "up")

    def demote(self) -> None:
        """Become read-only, with the data that it has."""
        self.command("REPLICAOF", *NOWHERE)

    def promote(self) -> None:
        """Become a primary, with the data that it has."""
        self.command("REPLICAOF", "NO", "ONE")

    def deny_writes(self) -> None:
        """To its one user, by an ACL."""
        self.command("ACL", "SETUSER", "default", "-@write")

    def allow_writes(self) -> None:
        self.command("ACL", "SETUSER", "default", "+@write")

    def flush(self) -> None:
        self.command("FLUSHALL")
        self.command("SCRIPT", "FLUSH")

    def replication(self) -> dict[str, Any]:
        with self.client() as client:
            found: dict[str, Any] = client.info("replication")
        return found

    def _is_ready(self) -> bool:
        try:
            return bool(self.command("PING"))
        except redis.RedisError:
            return False


def until(condition: Any) -> None:
    """Wait until it is true; fail if that takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(POLL_SECONDS)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
