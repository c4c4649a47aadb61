"""PostgreSQL and Valkey for this machine: real servers from Python wheels, shared by programs.

The first program starts them, later ones attach, and the last one stops them: each holds a shared
lock on a file, which the kernel releases however the program ends. A reaper stops the servers of a
killed program.

Both listen on Unix sockets only, in a directory that no other user may enter, so they need no
password and no port. PostgreSQL's data is kept between runs, Valkey's is not.
"""

import contextlib
import fcntl
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from local.errors import LocalError
from local.runtime.reaper import Reaper
from local.services import postgresql, valkey
from local.services.given import check_redis, checked_database
from local.services.process import socket_directory

COLLECT_SECONDS = 0.1
STOP_UNUSED = (sys.executable, "-m", "local.services.stop_unused")


@dataclass(frozen=True)
class Services:
    """The URLs of PostgreSQL and Redis, for psycopg and redis-py."""

    database_url: str
    redis_url: str


@contextlib.contextmanager
def running_services(
    directory: Path,
    *,
    database_url: str | None = None,
    redis_url: str | None = None,
    ephemeral: bool = False,
) -> Iterator[Services]:
    """Run both services, ready for requests, during the `with` block.

    A given URL is checked, and used instead of a built-in server, whose data is below `directory`.
    `ephemeral` trades durability for speed. Raises LocalError if a given URL does not respond
    within 3 seconds, or a server does not start.
    """
    if database_url:
        database_url = checked_database(database_url)
    if redis_url:
        check_redis(redis_url)
    if database_url and redis_url:
        yield Services(database_url, redis_url)
        return
    directory = directory.resolve()
    directory.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        stack.enter_context(Reaper([*STOP_UNUSED, str(directory)]))
        users = stack.enter_context((directory / "services.users").open("w"))
        with _exclusive(directory):
            fcntl.flock(users, fcntl.LOCK_SH)
            servers: list[subprocess.Popen[bytes] | None] = []
            stack.callback(_collect, servers)
            stack.callback(_leave, directory, users)
            if not redis_url:
                servers.append(valkey.start(directory))
            if not database_url:
                servers.append(postgresql.start(directory, ephemeral=ephemeral))
        yield Services(
            database_url or postgresql.url(directory), redis_url or valkey.url(directory)
        )


def stop_unused_services(directory: Path) -> None:
    """Stop the servers of this directory unless a program uses them."""
    with (directory / "services.users").open("w") as users:
        _leave(directory, users)


def empty_services(directory: Path) -> None:
    """Delete the data of the built-in servers. Raises LocalError while a program uses them."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "services.users").open("w") as users, _exclusive(directory):
        if _is_used(users):
            raise LocalError("a program uses the databases: stop it, such as `make run`")
        valkey.stop(directory)
        postgresql.stop(directory)
        if (directory / "postgres").exists():
            shutil.rmtree(directory / "postgres")


@contextlib.contextmanager
def _exclusive(directory: Path) -> Iterator[None]:
    """Hold a lock while servers are started or stopped; waits for other processes."""
    with (directory / "services.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _leave(directory: Path, users: IO[str]) -> None:
    with _exclusive(directory):
        if _is_used(users):
            return
        valkey.stop(directory)
        postgresql.stop(directory)
        shutil.rmtree(socket_directory(directory), ignore_errors=True)  # it may be in /tmp
        fcntl.flock(users, fcntl.LOCK_UN)


def _is_used(users: IO[str]) -> bool:
    """Whether another program uses the servers; if not, no other can while the lock is held."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _collect(servers: "list[subprocess.Popen[bytes] | None]") -> None:
    """Reap this program's servers, if they have ended; other programs may still use them."""
    for server in filter(None, servers):
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(COLLECT_SECONDS)
