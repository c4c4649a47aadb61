"""A network between clients and a server's Unix socket: it delays, encrypts and counts.

    with SlowNetwork(directory, services) as network:
        network.set_round_trip(0.001)
        network.database_url("blog"), network.redis_url(0)
        network.reset_count()
        …                           # requests of one client
        network.sequential_round_trips()

Each packet takes half a round trip in either direction. Both servers are reached by TLS, with a
certificate that clients verify; PostgreSQL's is negotiated either way, by an SSLRequest or directly
(`sslnegotiation=direct`). Connecting takes a round trip more, as a TCP handshake would, and
PostgreSQL requires a password (SCRAM), as in AWS.

It runs in its own process, in one thread that sleeps until shortly before a packet is due and then
spins. Its encryption takes place within the delay, so only the clients' cost of TLS is measured.

Sequential round trips are counted by a logical clock, over both servers: what a client sends is one
deeper than the deepest response that has been delivered before it. The count is the depth of the
deepest response that was delivered before it was asked for. So concurrent requests count once, to
whichever server they are sent; and one whose response was not there yet, when the API had responded
already, does not count: nothing waited for it.
"""

import heapq
import json
import selectors
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, LiteralString, Self
from urllib.parse import parse_qs, quote, unquote, urlsplit

import psycopg
from psycopg import sql

from local.services import Services
from tests.certificates import make_certificate

CHUNK_BYTES = 256 * 1024
SPIN_SECONDS = 0.000_15
"""By which a sleep may be too long, because of the kernel's timer slack and scheduling."""
SSL_REQUEST = bytes.fromhex("0000000804d2162f")
HOST = "127.0.0.1"
PASSWORD = "password"
READ_RULES = "SELECT pg_read_file(current_setting('hba_file'))"


class SlowNetwork:
    """The network, for use in a `with` block; without delay until `set_round_trip`."""

    def __init__(
        self,
        directory: Path,
        services: Services,
        *,
        name: str = HOST,
        valid_until: datetime | None = None,
    ) -> None:
        """The certificate is for that name; by default for the host, and valid for years."""
        self.authority = directory / "authority.pem"
        certificate = directory / "server.pem"
        make_certificate(self.authority, certificate, name, valid_until)
        _require_password(services.database_url)
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.network.slow_network", str(certificate)),
                *(postgresql_socket(services.database_url), urlsplit(services.redis_url).path),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._postgresql_port, self._redis_port = self._ask("ports")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()  # ends with its stdin

    def database_url(self, database: str) -> str:
        return (
            f"postgresql://remote:{PASSWORD}@{HOST}:{self._postgresql_port}/{database}"
            f"?sslmode=verify-full&sslrootcert={quote(str(self.authority))}"
        )

    def redis_url(self, database: int) -> str:
        authority = quote(str(self.authority))
        return f"rediss://{HOST}:{self._redis_port}/{database}?ssl_ca_certs={authority}"

    def set_round_trip(self, seconds: float) -> None:
        """Set the round trip of all packets sent from now on."""
        self._ask("round trip", seconds)

    def reset_count(self) -> None:
        self._ask("reset")

    def sequential_round_trips(self) -> int:
        """Return those between the reset and now, by responses that have been delivered."""
        return int(self._ask("count", time.perf_counter()))

    def _ask(self, *question: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(question), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())


def _require_password(database_url: str) -> None:
    """Of a role that may do all; the others are let in as before."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        if _one(connection, "SELECT count(*) FROM pg_roles WHERE rolname = 'remote'"):
            return
        connection.execute(f"CREATE ROLE remote SUPERUSER LOGIN PASSWORD '{PASSWORD}'")
        file = _one(connection, "SHOW hba_file")
        rules = ["local all remote scram-sha-256", *_one(connection, READ_RULES).splitlines()]
        values = sql.SQL(", ").join(sql.SQL("({})").format(rule) for rule in rules)
        connection.execute(sql.SQL("COPY (VALUES {}) TO {}").format(values, file))
        connection.execute("SELECT pg_reload_conf()")


def _one(connection: psycopg.Connection[Any], query: LiteralString) -> Any:
    """The query's one value."""
    row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def postgresql_socket(database_url: str) -> str:
    (directory,) = parse_qs(urlsplit(database_url).query)["host"]
    return f"{unquote(directory)}/.s.PGSQL.5432"


class Clock:
    """Counts sequential round trips."""

    def __init__(self) -> None:
        self._deepened_at = [0.0]
        """When the first response of each depth was delivered, by `time.perf_counter`."""

    def sent(self) -> int:
        """Return the depth of a request that a client has just sent."""
        return len(self._deepened_at)

    def delivered(self, depth: int) -> None:
        """Record that a client has received the response to a request of that depth."""
        if depth == len(self._deepened_at):
            self._deepened_at.append(time.perf_counter())

    def depth_at(self, seconds: float) -> int:
        """Return the depth of the deepest response that was delivered by then."""
        return sum(0 < at <= seconds for at in self._deepened_at)


class Relay:
    """All connections, in one thread."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context
        self.round_trip_seconds = 0.0
        self.clock = Clock()
        self.selector = selectors.SelectSelector()  # epoll's time-outs are whole milliseconds
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0

    def listen(self, server_path: str) -> int:
        """Return the port of a listener for the server's Unix socket."""
        listener = socket.create_server((HOST, 0))

        def accept() -> None:
            client, _ = listener.accept()
            Link(self, client, server_path)

        self.selector.register(listener, selectors.EVENT_READ, accept)
        return int(listener.getsockname()[1])

    def at(self, due_seconds: float, action: Callable[[], None]) -> None:
        """Schedule the action by `time.perf_counter`; those due at the same time stay in order."""
        self._number += 1
        heapq.heappush(self._due, (due_seconds, self._number, action))

    def run(self) -> None:
        """Run until an action raises SystemExit."""
        while True:
            for key, _ in self.selector.select(self._sleep_seconds()):
                key.data()
            while self._due and self._due[0][0] <= time.perf_counter():
                heapq.heappop(self._due)[2]()

    def _sleep_seconds(self) -> float | None:
        if not self._due:
            return None
        return max(0.0, self._due[0][0] - time.perf_counter() - SPIN_SECONDS)


class Link:
    """A client's connection, and the server's behind it."""

    def __init__(self, relay: Relay, client: socket.socket, server_path: str) -> None:
        self._relay = relay
        self._client = client
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._server = socket.socket(socket.AF_UNIX)
        self._server.connect(server_path)
        self._is_new = True
        self._received, self._to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = relay.context.wrap_bio(self._received, self._to_send, server_side=True)
        self._has_shaken_hands = self._has_closed = False
        self._to_server_from = self._to_client_from = 0.0
        self._clock, self._depth = relay.clock, 0
        relay.selector.register(client, selectors.EVENT_READ, self._read_client)
        relay.selector.register(self._server, selectors.EVENT_READ, self._read_server)

    def _read_client(self) -> None:
        now = time.perf_counter()
        packet = _received(self._client)
        half_seconds = self._relay.round_trip_seconds / 2
        arrives = now + half_seconds
        if self._is_new:  # for the TCP handshake, which a local one does not take
            self._is_new = False
            arrives += 2 * half_seconds
        self._to_server_from = arrives = max(arrives, self._to_server_from)
        if not packet:
            self._relay.selector.unregister(self._client)
            self._relay.at(arrives, lambda: _end(self._server))
        elif packet == SSL_REQUEST and not self._has_shaken_hands:
            self._send_to_client(arrives + half_seconds, b"S")
        else:
            self._received.write(packet)
            self._pass_request(arrives)

    def _pass_request(self, arrives: float) -> None:
        plain = self._decrypt()
        if handshake := self._to_send.read():
            self._send_to_client(arrives + self._relay.round_trip_seconds / 2, handshake)
        if plain:
            # A response to what was sent before a reset deepens only the clock of that time.
            self._clock = self._relay.clock
            self._depth = self._clock.sent()
            self._relay.at(arrives, lambda: _send(self._server, plain))
        if self._has_closed:
            self._relay.at(arrives, lambda: _end(self._server))

    def _read_server(self) -> None:
        now = time.perf_counter()
        plain = _received(self._server)
        arrives = now + self._relay.round_trip_seconds / 2
        if not plain:
            self._relay.selector.unregister(self._server)
            self._relay.at(max(arrives, self._to_client_from), lambda: _end(self._client))
            return
        self._tls.write(plain)
        self._send_to_client(arrives, self._to_send.read(), self._depth)

    def _send_to_client(self, arrives: float, packet: bytes, depth: int = 0) -> None:
        self._to_client_from = arrives = max(arrives, self._to_client_from)
        clock = self._clock

        def deliver() -> None:
            clock.delivered(depth)
            _send(self._client, packet)

        self._relay.at(arrives, deliver)

    def _decrypt(self) -> bytes:
        """Return the decrypted data; empty for a client that does not trust the certificate."""
        plain = b""
        try:
            if not self._has_shaken_hands:
                self._tls.do_handshake()
                self._has_shaken_hands = True
            while chunk := self._tls.read(CHUNK_BYTES):
                plain += chunk
            self._has_closed = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            self._has_closed = True
        return plain


def _received(source: socket.socket) -> bytes:
    """Return the data; empty when the other side has closed."""
    try:
        return source.recv(CHUNK_BYTES)
    except OSError:
        return b""


def _send(target: socket.socket, packet: bytes) -> None:
    with suppress(OSError):  # the other side has closed
        target.sendall(packet)


def _end(target: socket.socket) -> None:
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


def main() -> None:
    """Execute the commands of `SlowNetwork`, a line of JSON each, until stdin ends."""
    certificate, *server_paths = sys.argv[1:]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.set_alpn_protocols(["postgresql"])  # demanded by `sslnegotiation=direct`
    relay = Relay(context)
    ports = [relay.listen(path) for path in server_paths]

    def execute() -> None:
        line = sys.stdin.readline()
        if not line:
            sys.exit()
        print(json.dumps(_execute(relay, ports, *json.loads(line))), flush=True)

    relay.selector.register(sys.stdin, selectors.EVENT_READ, execute)
    relay.run()


def _execute(relay: Relay, ports: list[int], command: str, seconds: float = 0.0) -> Any:
    match command:
        case "ports":
            return ports
        case "round trip":
            relay.round_trip_seconds = seconds
        case "reset":
            relay.clock = Clock()
        case "count":
            return relay.clock.depth_at(seconds)
    return None


if __name__ == "__main__":
    main()
