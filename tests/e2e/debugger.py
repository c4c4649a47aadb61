"""A debugger's side of the Debug Adapter Protocol, as far as one breakpoint needs it."""

import json
import socket
import time
from pathlib import Path
from typing import Any, Self

CONNECT_SECONDS = 60.0


class Debugger:
    """Attached to debugpy on a port of this machine.

    `remote_root` is what the debugged process calls the folder `local_root`.
    """

    def __init__(self, port: int, local_root: Path, remote_root: str) -> None:
        self._connection = _connect(port)
        self._stream = self._connection.makefile("rb")
        self._sequence = 0
        mappings = [{"localRoot": str(local_root), "remoteRoot": remote_root}]
        self._send("initialize", adapterID="test", pathFormat="path")
        self._send("attach", justMyCode=False, pathMappings=mappings)
        self.wait_for_event("initialized")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._connection.close()

    def break_at(self, path: Path, line: int) -> None:
        """Set the only breakpoint, and let the process start."""
        self._send("setBreakpoints", source={"path": str(path)}, breakpoints=[{"line": line}])
        self._send("configurationDone")

    def wait_for_stop(self) -> tuple[str, int]:
        """The name of the function and the line at which the process stopped."""
        thread = self.wait_for_event("stopped")["threadId"]
        frame = self._ask("stackTrace", threadId=thread, levels=1)["stackFrames"][0]
        return frame["name"], frame["line"]

    def let_go(self) -> None:
        """Let the process continue without a debugger."""
        self._send("disconnect", terminateDebuggee=False)

    def wait_for_event(self, name: str) -> Any:
        while True:
            message = self._receive()
            if message.get("event") == name:
                return message.get("body", {})

    def _ask(self, command: str, **arguments: Any) -> Any:
        sequence = self._send(command, **arguments)
        while True:
            message = self._receive()
            if message.get("request_seq") == sequence:
                assert message["success"], message
                return message["body"]

    def _send(self, command: str, **arguments: Any) -> int:
        self._sequence += 1
        request = {
            "seq": self._sequence,
            "type": "request",
            "command": command,
            "arguments": arguments,
        }
        body = json.dumps(request).encode()
        self._connection.sendall(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        return self._sequence

    def _receive(self) -> dict[str, Any]:
        length = 0
        while line := self._stream.readline().strip():
            if line.lower().startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        assert length, "the debugged process hung up"
        message: dict[str, Any] = json.loads(self._stream.read(length))
        return message


def _connect(port: int) -> socket.socket:
    """Docker accepts connections to a port before the process behind it listens: read a byte."""
    deadline = time.monotonic() + CONNECT_SECONDS
    while True:
        try:
            connection = socket.create_connection(("127.0.0.1", port), timeout=CONNECT_SECONDS)
            if connection.recv(1, socket.MSG_PEEK):
                return connection
            connection.close()
        except OSError:
            pass
        assert time.monotonic() < deadline, f"no debugger responds on port {port}"
        time.sleep(0.2)
