"""Keeps what clients ask of PostgreSQL, read off the wire by a relay before its Unix socket.

    with Recorder("/dir/.s.PGSQL.5432") as recorder:
        …                        # clients at 127.0.0.1, recorder.port, without TLS
    recorder.statements

Source of the messages' layout: PostgreSQL's chapter "Message Formats".
"""

import socket
import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

CHUNK_BYTES = 64 * 1024
LENGTH_BYTES = 4
POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Statement:
    """A statement's text; `prepared_as` is its name at the server, empty if it is not prepared."""

    text: str
    prepared_as: str = ""


class Recorder(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, server_path: str) -> None:
        super().__init__(("127.0.0.1", 0), socketserver.BaseRequestHandler)
        self.server_path = server_path
        self.statements: list[Statement] = []
        self.port = int(self.server_address[1])
        self._thread = threading.Thread(
            target=self.serve_forever, args=(POLL_SECONDS,), daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self.shutdown()
        self._thread.join()
        super().__exit__(*error)

    def finish_request(self, request: Any, client_address: object) -> None:
        """A client's connection, from its beginning to its end."""
        client: socket.socket = request
        with socket.socket(socket.AF_UNIX) as server:
            server.connect(self.server_path)
            responses = threading.Thread(target=_pass_on, args=(server, client), daemon=True)
            responses.start()
            received = bytearray()
            messages = _messages(received)
            while chunk := client.recv(CHUNK_BYTES):
                received += chunk
                while message := next(messages):
                    self._note(*message)
                server.sendall(chunk)
            with suppress(OSError):  # the server may have closed it already
                server.shutdown(socket.SHUT_RDWR)
            responses.join()

    def _note(self, kind: bytes, content: bytes) -> None:
        if kind == b"Q":
            self.statements.append(Statement(content.split(b"\0")[0].decode()))
        elif kind == b"P":
            name, text = content.split(b"\0")[:2]
            self.statements.append(Statement(text.decode(), name.decode()))


def _messages(received: bytearray) -> Iterator[tuple[bytes, bytes] | None]:
    """Takes whole messages off `received`; None where the next one is not there yet.

    The first one of a connection, which begins it, has no type.
    """
    type_bytes = 0
    while True:
        head_bytes = type_bytes + LENGTH_BYTES
        if len(received) < head_bytes:
            yield None
            continue
        (length,) = struct.unpack_from("!I", received, type_bytes)
        if len(received) < type_bytes + length:
            yield None
            continue
        yield bytes(received[:type_bytes]), bytes(received[head_bytes : type_bytes + length])
        del received[: type_bytes + length]
        type_bytes = 1


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while chunk := source.recv(CHUNK_BYTES):
            target.sendall(chunk)
