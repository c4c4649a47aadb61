"""A real PgBouncer in transaction mode before a PostgreSQL that listens on a Unix socket.

    with running_pgbouncer(directory, services.database_url, server_connections=2) as pooler:
        pooler.url(services.database_url)    # the same database through the pooler

It listens on a port of 127.0.0.1, accepts every client from there, and ends with the
block. PgBouncer does not run as root: there it becomes the user that PostgreSQL runs as, and
finds the server's socket from its working directory, since it may not pass through what is above.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

START_SECONDS = 5.0
PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
# Servers are taken in turn, so that a session's state would meet another client soon.
CONFIGURATION = """\
[databases]
* = host={server_directory} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {server_connections}
max_db_connections = {server_connections}
max_client_conn = 200
server_round_robin = 1
server_login_retry = 0.2
"""


@dataclass(frozen=True)
class PgBouncer:
    port: int

    def url(self, server_url: str) -> str:
        """The URL of the server's database, through the pooler."""
        database = urlsplit(server_url).path.strip("/")
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}?sslmode=disable"


@contextmanager
def running_pgbouncer(
    directory: Path, server_url: str, *, server_connections: int, settings: str = ""
) -> Iterator[PgBouncer]:
    """`settings` are more lines of its configuration.

    Raises RuntimeError where it is not installed (`PROGRAM` is None) or does not start.
    """
    if PROGRAM is None:
        raise RuntimeError("pgbouncer is not installed")
    sockets = socket_directory(server_url)
    port = _free_port()
    configuration = directory / "pgbouncer.ini"
    configuration.write_text(
        CONFIGURATION.format(
            server_directory="/proc/self/cwd" if os.getuid() == 0 else sockets,
            port=port,
            server_connections=server_connections,
        )
        + settings
    )
    other_user = ["-u", sockets.owner()] if os.getuid() == 0 else []
    log = directory / "pgbouncer.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [PROGRAM, *other_user, str(configuration)], cwd=sockets, stdout=output, stderr=output
        )
    try:
        _wait_for(port, process, log)
        yield PgBouncer(port)
    finally:
        process.kill()  # it has nothing to keep, and SIGTERM may wait for clients
        process.wait()


def socket_directory(server_url: str) -> Path:
    (directory,) = parse_qs(urlsplit(server_url).query)["host"]
    return Path(unquote(directory))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _accepts(port):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"PgBouncer does not start: {log.read_text()}")
        time.sleep(0.02)


def _accepts(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
