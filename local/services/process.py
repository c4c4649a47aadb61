"""A server process with a Unix socket: where it listens, how it is started and stopped.

A server and its child processes hold a lock on its log as long as they run: the PID in its file may
have been reused.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import pwd
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from local.errors import LocalError

START_SECONDS = 15.0
STOP_SECONDS = 2.0
CONNECT_SECONDS = 3.0
POLL_SECONDS = 0.01
# macOS allows 104 bytes for a socket's path, Linux 108, including the file's name and NUL.
MAX_SOCKET_DIRECTORY_BYTES = 104 - len("/.s.PGSQL.5432") - 1


def socket_directory(directory: Path) -> Path:
    """Return the sockets' directory, in the temporary directory if that path is too long.

    Raises LocalError if it is not private to this user.
    """
    sockets = directory / "sockets"
    if len(os.fsencode(sockets)) > MAX_SOCKET_DIRECTORY_BYTES:
        name = hashlib.sha256(os.fsencode(directory)).hexdigest()[:12]
        sockets = Path(tempfile.gettempdir()) / f"blog-{name}-sockets"
    if not sockets.exists():
        sockets.mkdir(mode=0o700)
        give_to_server_user(sockets)
    owners = {os.getuid(), server_user().pw_uid}
    if sockets.stat().st_uid not in owners or stat.S_IMODE(sockets.stat().st_mode) != 0o700:
        raise LocalError(f"{sockets} is not private to you; remove it")
    return sockets


def listens(path: Path) -> bool:
    """Whether a process listens on this socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(CONNECT_SECONDS)
        try:
            connection.connect(str(path))
        except OSError:
            return False
    return True


def is_alive(log: Path) -> bool:
    """Whether the server with this log, or one of its child processes, runs."""
    with contextlib.suppress(FileNotFoundError), log.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def start(
    name: str, command: list[str], log: Path, is_ready: Callable[[], bool], **options: Any
) -> "subprocess.Popen[bytes]":
    """Start a server and wait until it is ready. Raises LocalError with the log's reason."""
    process = spawn(command, log, **options)
    deadline = time.monotonic() + START_SECONDS
    try:
        while not is_ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise LocalError(f"{name} does not start: {reason_in(log)}; see {log}")
            time.sleep(POLL_SECONDS)
    except BaseException:
        stop(log, process.pid, signal.SIGTERM)
        process.wait()
        raise
    return process


def spawn(
    command: list[str], log: Path, *, data: Path | None = None, stdin: int = subprocess.DEVNULL
) -> "subprocess.Popen[bytes]":
    """Start a program in a session of its own, so that Ctrl-C does not reach it.

    With `data` it runs in this directory, and as the user who owns it.
    """
    user = server_user()
    switch: dict[str, Any] = {}
    if data and user.pw_uid != os.getuid():
        switch = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    with log.open("wb") as output:
        fcntl.flock(output, fcntl.LOCK_EX)  # the program inherits it with the file
        return subprocess.Popen(
            command,
            cwd=data or "/",
            env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
            stdin=stdin,
            stdout=output,
            stderr=output,
            start_new_session=True,
            **switch,
        )


def stop(log: Path, pid: int, *signals: signal.Signals) -> None:
    """End the server with this log and PID, if it runs, by these signals and then SIGKILL."""
    for number in (*signals, signal.SIGKILL):
        if not is_alive(log):
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + STOP_SECONDS
        while is_alive(log) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)


def pid_in(file: Path) -> int | None:
    """Return the PID in a server's file, None if there is none."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        return int(file.read_text().split()[0])
    return None


@cache
def server_user() -> pwd.struct_passwd:
    """Return this user, but `nobody` for root, as which PostgreSQL does not run."""
    return pwd.getpwnam("nobody") if os.getuid() == 0 else pwd.getpwuid(os.getuid())


def give_to_server_user(path: Path) -> None:
    if os.getuid() == 0:
        os.chown(path, server_user().pw_uid, server_user().pw_gid)


def package_directory(module: str, project: str) -> Path:
    """Return it without importing the package, which creates directories or takes a second."""
    specification = importlib.util.find_spec(module)
    if specification is None or specification.origin is None:
        raise LocalError(f"{project} is not installed: run `make install`")
    return Path(specification.origin).parent


def reason_in(log: Path) -> str:
    """Return the last line with an error, else the last line."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if "FATAL" in line or "error" in line.lower()]
    return (errors or lines or ["no message"])[-1]
