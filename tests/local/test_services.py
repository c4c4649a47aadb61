"""PostgreSQL and Valkey of the local runtime, on real servers."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import psycopg
import pytest
import redis

from local.errors import LocalError
from local.services import Services, empty_services, postgresql, running_services
from local.services.given import check_redis, checked_database
from local.services.process import is_alive
from tests.layer.test_database_url import SCHEMES, in_form
from tests.local.toys import REPOSITORY, environment
from tests.valkey import until

OWNER = """
import sys, time
from pathlib import Path
from local.services import running_services
with running_services(Path(sys.argv[1]), ephemeral=True) as services:
    print(services.database_url, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data that the tests of this module share; the first one pays for setting it up."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def unresponsive() -> Iterator[int]:
    """The port of a server that accepts and never responds."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def is_up(services: Services) -> bool:
    try:
        psycopg.connect(services.database_url).close()
    except psycopg.OperationalError:
        return False
    return True


def owner(directory: Path) -> "subprocess.Popen[str]":
    """Another program that uses the services until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(directory)],
        cwd=REPOSITORY,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("postgresql://")
    return process


def test_an_ephemeral_database_is_a_copy_of_what_initdb_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "COPIES", tmp_path / "copies")
    with (
        running_services(tmp_path / "first", ephemeral=True) as services,
        psycopg.connect(services.database_url) as connection,
    ):
        connection.execute("CREATE TABLE made_things ()")
    monkeypatch.setattr(postgresql, "postgres_binary", without_initdb(postgresql.postgres_binary))
    with (
        running_services(tmp_path / "second", ephemeral=True) as services,
        psycopg.connect(services.database_url) as connection,
    ):
        assert connection.execute("SELECT to_regclass('made_things')").fetchone() == (None,)
    assert len(list((tmp_path / "copies").iterdir())) == 1
    with pytest.raises(FileNotFoundError), running_services(tmp_path / "durable"):
        pass  # its files are synced, those of a copy are not
    monkeypatch.setattr(postgresql, "DATABASE", "another")
    with pytest.raises(FileNotFoundError), running_services(tmp_path / "third", ephemeral=True):
        pass


def without_initdb(postgres_binary: Callable[[str], Path]) -> Callable[[str], Path]:
    return lambda name: Path("/nowhere") if name == "initdb" else postgres_binary(name)


def test_both_respond_and_are_stopped_at_the_end(directory: Path) -> None:
    with running_services(directory, ephemeral=True) as services:
        with psycopg.connect(services.database_url) as connection:
            row = connection.execute(
                "SELECT current_database(), current_setting('server_encoding'), lower('ÄÉ'), "
                "'Z' < 'a', current_setting('TimeZone'), current_setting('listen_addresses'), "
                "(SELECT datctype FROM pg_database WHERE datname = 'blog')"
            ).fetchone()
        with redis.Redis.from_url(services.redis_url) as client:
            assert client.ping()
            assert client.config_get("port") == {"port": "0"}
    assert row is not None
    assert row[:-1] == ("blog", "UTF8", "äé", True, "UTC", "")
    assert row[-1].endswith(".UTF-8")
    assert not is_up(services)


def test_data_survives_a_restart_and_the_cache_does_not(directory: Path) -> None:
    with running_services(directory, ephemeral=True) as services:
        with psycopg.connect(services.database_url) as connection:
            connection.execute("CREATE TABLE made_kept AS SELECT 7 AS value")
        with redis.Redis.from_url(services.redis_url) as client:
            client.set("page", "old")
    with running_services(directory, ephemeral=True) as services:
        with psycopg.connect(services.database_url) as connection:
            assert connection.execute("SELECT value FROM made_kept").fetchone() == (7,)
        with redis.Redis.from_url(services.redis_url) as client:
            assert client.get("page") is None


def test_they_are_emptied_unless_a_program_uses_them(directory: Path) -> None:
    with running_services(directory, ephemeral=True) as services:
        with psycopg.connect(services.database_url) as connection:
            connection.execute("CREATE TABLE made_emptied AS SELECT 7 AS value")
        with pytest.raises(LocalError, match=r"uses the databases: stop it"):
            empty_services(directory)
        assert is_up(services)
    empty_services(directory)
    with (
        running_services(directory, ephemeral=True) as services,
        psycopg.connect(services.database_url) as connection,
        pytest.raises(psycopg.errors.UndefinedTable),
    ):
        connection.execute("SELECT value FROM made_emptied")


def test_the_last_user_stops_them_whichever_started_them(directory: Path) -> None:
    first = owner(directory)
    with running_services(directory, ephemeral=True) as services:
        first.communicate("")
        assert first.returncode == 0
        assert is_up(services)
    assert not is_up(services)


def test_a_killed_owner_leaves_no_servers(directory: Path) -> None:
    process = owner(directory)
    pid = int((directory / "postgres" / "postmaster.pid").read_text().split()[0])
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and psutil.pid_exists(pid):
        time.sleep(0.05)
    assert not psutil.pid_exists(pid)


def test_servers_start_after_others_were_killed(directory: Path) -> None:
    with running_services(directory, ephemeral=True) as services:
        with redis.Redis.from_url(services.redis_url) as client:
            os.kill(int(client.info("server")["process_id"]), signal.SIGKILL)
        postmaster = directory / "postgres" / "postmaster.pid"
        words = postmaster.read_text()
        os.kill(int(words.split()[0]), signal.SIGKILL)
        until(lambda: not is_alive(directory / "postgres.log"))
    # Another process has the PID of the server by now: this one.
    postmaster.write_text(words.replace(words.split()[0], str(os.getpid()), 1))
    with running_services(directory, ephemeral=True) as services:
        assert is_up(services)
        with redis.Redis.from_url(services.redis_url) as client:
            assert client.ping()


def test_postgresql_needs_no_proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql, "DATA", ".")
    for _ in range(2):
        with running_services(tmp_path, ephemeral=True) as services:
            assert is_up(services)
        assert not is_up(services)


def test_a_long_path_works(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    with running_services(deep, ephemeral=True) as services:
        assert is_up(services)
        sockets = Path(services.redis_url.removeprefix("unix://").partition("?")[0]).parent
        assert sockets.parent == Path(tempfile.gettempdir())
    assert not sockets.exists()


def test_given_urls_are_used_and_their_servers_not_stopped(
    tmp_path: Path, services: Services
) -> None:
    with running_services(
        tmp_path, database_url=services.database_url, redis_url=services.redis_url
    ) as used:
        assert used == services
    assert is_up(services)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_database_url_is_passed_on_as_libpq_reads_it(services: Services, scheme: str) -> None:
    url = in_form(scheme, services.database_url)
    assert checked_database(url) == f"{services.database_url}&sslmode=disable"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("mysql://user:secret@host/blog", "not a PostgreSQL URL"),
        ("postgresql://user:sec@ret@host/blog", "not a PostgreSQL URL"),
        ("postgresql://user:secret@host:port/blog", "not a PostgreSQL URL"),
        ("postgresql://user:secret@host/blog?unknown=1", "parameter unknown is unknown to libpq"),
        ("postgresql+asyncpg://user:secret@host/blog?ssl=1", "parameter ssl is not one of true"),
        ("postgresql://user:secret%zz@host/blog", "cannot be read"),
        ("secret", "not a PostgreSQL URL"),
    ],
)
def test_a_database_url_that_does_not_parse_is_one_line_without_the_password(
    url: str, reason: str
) -> None:
    with pytest.raises(LocalError, match=rf"^DATABASE_URL\b.* {reason}.* built-in") as caught:
        checked_database(url)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_database_that_rejects_connections_is_one_line() -> None:
    with pytest.raises(LocalError, match=r"DATABASE_URL does not respond: .*refused") as caught:
        checked_database("postgresql://user:secret@127.0.0.1:1/blog")
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_password_is_one_line(tmp_path: Path) -> None:
    with running_services(tmp_path, ephemeral=True) as services:
        with psycopg.connect(services.database_url, autocommit=True) as connection:
            connection.execute("CREATE ROLE app LOGIN PASSWORD 'right'")
            connection.execute("ALTER SYSTEM SET password_encryption = 'scram-sha-256'")
            (tmp_path / "postgres" / "pg_hba.conf").write_text(
                "local all postgres trust\nlocal all all scram-sha-256\n"
            )
            connection.execute("SELECT pg_reload_conf()")
            time.sleep(0.2)
        url = services.database_url.replace("postgres@", "app:wr0ng@")
        with pytest.raises(LocalError, match="password authentication failed") as caught:
            checked_database(url)
    assert "wr0ng" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["http://user:secret@host", "redis://:sec@ret@host", "redis://:secret@host:port", "secret"],
)
def test_a_redis_url_that_does_not_parse_is_one_line_without_the_password(url: str) -> None:
    with pytest.raises(LocalError, match=r"^REDIS_URL: not a Redis URL; ") as caught:
        check_redis(url)
    assert "secret" not in str(caught.value)


def test_a_redis_that_rejects_connections_is_one_line() -> None:
    with pytest.raises(LocalError, match=r"REDIS_URL does not respond: .*refused") as caught:
        check_redis("redis://:secret@127.0.0.1:1/0")
    assert "secret" not in str(caught.value)


def test_unresponsive_servers_are_reported_within_seconds(unresponsive: int) -> None:
    def failure(check: Callable[[str], object], url: str) -> str:
        with pytest.raises(LocalError) as caught:
            check(url)
        return str(caught.value)

    started = time.monotonic()
    with ThreadPoolExecutor(2) as threads:
        database = threads.submit(
            failure, checked_database, f"postgresql://u@127.0.0.1:{unresponsive}/b"
        )
        cache = threads.submit(failure, check_redis, f"redis://127.0.0.1:{unresponsive}/0")
    assert database.result().startswith("DATABASE_URL does not respond")
    assert cache.result().startswith("REDIS_URL does not respond")
    assert time.monotonic() - started < 5


def test_a_wrong_redis_password_is_one_line(services: Services) -> None:
    with redis.Redis.from_url(services.redis_url) as client:
        client.execute_command("ACL", "SETUSER", "guest", "on", ">right", "+ping")
    with pytest.raises(LocalError, match="REDIS_URL does not respond") as caught:
        check_redis(services.redis_url.replace("unix://", "unix://guest:wr0ng@"))
    assert "wr0ng" not in str(caught.value)
