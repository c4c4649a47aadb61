"""PgBouncer and redis-server, whose TLS is their own, in place of the network that encrypts.

Either is started when its URL is asked for; the test is skipped where it does not run.
"""

import shutil
import subprocess
from contextlib import ExitStack
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Self
from urllib.parse import quote

import redis

from local.services import Services
from local.services.valkey import end_quarantine
from tests.certificates import make_certificate
from tests.network.slow_network import HOST
from tests.poolers.pgbouncer import running_pgbouncer, socket_directory
from tests.tools import require_program
from tests.valkey import free_port, until

POOLER_SETTINGS = """\
client_tls_sslmode = require
client_tls_key_file = {file}
client_tls_cert_file = {file}
"""


class TlsServers(ExitStack):
    """With the interface, and the options, of `SlowNetwork`."""

    def __init__(
        self,
        directory: Path,
        services: Services,
        *,
        name: str = HOST,
        valid_until: datetime | None = None,
    ) -> None:
        super().__init__()
        self.authority = directory / "authority.pem"
        self._certificate = directory / "server.pem"
        self._directory = directory
        self._services = services
        make_certificate(self.authority, self._certificate, name, valid_until)

    def __enter__(self) -> Self:
        return self

    def database_url(self, database: str) -> str:
        file = quote(str(self.authority))
        return (
            f"postgresql://postgres@{HOST}:{self._postgresql_port}/{database}"
            f"?sslmode=verify-full&sslrootcert={file}"
        )

    def redis_url(self, database: int) -> str:
        file = quote(str(self.authority))
        return f"rediss://{HOST}:{self._redis_port}/{database}?ssl_ca_certs={file}"

    @cached_property
    def _postgresql_port(self) -> int:
        require_program("pgbouncer")
        # Where it may read it, as another user.
        sockets = socket_directory(self._services.database_url)
        file = sockets / "pooler.pem"
        file.write_bytes(self._certificate.read_bytes())
        shutil.chown(file, sockets.owner())
        self.callback(file.unlink)
        pooler = running_pgbouncer(
            self._directory,
            self._services.database_url,
            server_connections=2,
            settings=POOLER_SETTINGS.format(file=file.name),
        )
        return self.enter_context(pooler).port

    @cached_property
    def _redis_port(self) -> int:
        program = require_program("redis-server")
        port = free_port()
        file = str(self._certificate)
        log = self._directory / "redis.log"
        process = subprocess.Popen(
            [
                *(program, "--port", "0", "--tls-port", str(port), "--save", "", "--bind", HOST),
                *("--tls-cert-file", file, "--tls-key-file", file, "--tls-auth-clients", "no"),
                *("--tls-ca-cert-file", str(self.authority), "--logfile", str(log)),
            ]
        )
        self.callback(process.wait)
        self.callback(process.kill)
        until(lambda: log.exists() and "Ready to accept" in log.read_text())
        unverified = "ssl_cert_reqs=none&ssl_check_hostname=false"  # the tests' clients verify it
        with redis.Redis.from_url(f"rediss://{HOST}:{port}/0?{unverified}") as client:
            end_quarantine(client)
        return port
