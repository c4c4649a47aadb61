"""A real primary and its streaming standby, which can change places.

with running_pair(directory) as pair:
    pair.second.promote()
    pair.first.demote()       # restarts as a standby that lags for ever
"""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

from local.services import postgresql, process
from tests.valkey import until

NOWHERE = "/nowhere"


class Server:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.data = directory / "postgres"
        self._started: list[subprocess.Popen[bytes]] = []

    @property
    def socket(self) -> str:
        return f"{process.socket_directory(self.directory)}/.s.PGSQL.5432"

    @property
    def url(self) -> str:
        host = quote(str(process.socket_directory(self.directory)))
        return f"postgresql://postgres@/{postgresql.DATABASE}?host={host}"

    def query(self, sql: Any) -> list[Any]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            executed = connection.execute(sql)
            return executed.fetchall() if executed.description else []

    def start(self) -> None:
        started = postgresql.start(self.directory, ephemeral=True)
        assert started is not None
        self._started.append(started)

    def stop(self) -> None:
        postgresql.stop(self.directory)
        for started in self._started:
            started.wait()

    def copy(self, primary: "Server") -> None:
        """Become its standby, with the data that it has, and start."""
        self.directory.mkdir()
        command = [str(postgresql.postgres_binary("pg_basebackup")), "-U", "postgres"]
        source = ("-h", str(process.socket_directory(primary.directory)), "-D", str(self.data))
        subprocess.run([*command, *source, "-c", "fast"], check=True, capture_output=True)
        self.data.chmod(0o700)
        for path in (self.data, *self.data.rglob("*")):
            process.give_to_server_user(path)
        # A path from the server's directory, as it may not pass what is above.
        ((data,),) = primary.query("SHOW data_directory")
        self._follow(f"{data}/../../{primary.directory.name}/sockets")
        self.start()
        until(lambda: primary.query("SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'"))

    def demote(self) -> None:
        """Restart as a standby that receives no changes."""
        self.stop()
        self._follow(NOWHERE)
        self.start()

    def promote(self) -> None:
        self.query("SELECT pg_promote()")

    def _follow(self, host: str) -> None:
        with (self.data / "postgresql.auto.conf").open("a") as settings:
            settings.write(f"primary_conninfo = 'user=postgres host={host}'\n")
        (self.data / "standby.signal").touch()


class Pair:
    def __init__(self, directory: Path) -> None:
        self.first = Server(directory / "first")
        self.second = Server(directory / "second")


@contextmanager
def running_pair(directory: Path) -> Iterator[Pair]:
    """Provide both; the first one is the primary. Their sockets need a short path."""
    pair = Pair(directory)
    try:
        for one in (pair.first,):
            one.directory.mkdir(parents=True)
            one.start()
        directory.chmod(0o711)
        pair.second.copy(pair.first)
        yield pair
    finally:
        pair.first.stop()
        pair.second.stop()
        shutil.rmtree(directory, ignore_errors=True)
