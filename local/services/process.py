"""A server process behind a Unix socket: where it listens, how it is started and stopped.

Linux only, as the Lambda emulator is.
"""

import contextlib
import hashlib
import importlib.util
import os
import pwd
import select
import signal
import socket
import stat
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from local.errors import LocalError

START_SECONDS = 15.0
STOP_SECONDS = 2.0
CONNECT_SECONDS = 3.0
# Linux allows 108 bytes for a socket's path, with the name and its NUL in it.
MAX_SOCKET_DIRECTORY_BYTES = 108 - len("/.s.PGSQL.5432") - 1


def socket_directory(directory: Path) -> Path:
    """Return it, below the data, or in the temporary directory if that path is too long.

    Raises LocalError when it is not private to this user.
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


def listener(path: Path) -> int | None:
    """Return the PID of the process that listens on this socket, None without one."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(CONNECT_SECONDS)
        try:
            connection.connect(str(path))
        except OSError:
            return None
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int(struct.unpack("3i", credentials)[0])


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
            time.sleep(0.01)
    except BaseException:
        stop(process.pid, signal.SIGTERM)
        process.wait()
        raise
    return process


def spawn(
    command: list[str], log: Path, *, data: Path | None = None, stdin: int = subprocess.DEVNULL
) -> "subprocess.Popen[bytes]":
    """Start a program in a session of its own, so that Ctrl-C does not reach it.

    With `data`, in this directory and as the user who owns it.
    """
    user = server_user()
    switch: dict[str, Any] = {}
    if data and user.pw_uid != os.getuid():
        switch = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    with log.open("wb") as output:
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


def stop(pid: int | None, *signals: signal.Signals) -> None:
    """End this process, if there is one, finally by SIGKILL."""
    if pid is None:
        return
    with contextlib.suppress(ProcessLookupError), contextlib.ExitStack() as stack:
        process = os.pidfd_open(pid)
        stack.callback(os.close, process)
        for number in (*signals, signal.SIGKILL):
            signal.pidfd_send_signal(process, number)
            if select.select([process], [], [], STOP_SECONDS)[0]:
                return


def server_user() -> pwd.struct_passwd:
    """Return this user, for root `nobody`: PostgreSQL does not run as root."""
    return pwd.getpwnam("nobody") if os.getuid() == 0 else pwd.getpwuid(os.getuid())


def give_to_server_user(path: Path) -> None:
    if os.getuid() == 0:
        os.chown(path, server_user().pw_uid, server_user().pw_gid)


def package_directory(module: str, project: str) -> Path:
    """Return it without an import: one makes directories then, the other takes a second."""
    specification = importlib.util.find_spec(module)
    if specification is None or specification.origin is None:
        raise LocalError(f"{project} is not installed: run `make install`")
    return Path(specification.origin).parent


def reason_in(log: Path) -> str:
    """Return the last line that tells of an error, else the last line."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if "FATAL" in line or "error" in line.lower()]
    return (errors or lines or ["no message"])[-1]
