"""A small process that cleans up after its owner, however the owner ends.

The owner holds the write end of a pipe to it. When the pipe closes, even by SIGKILL of the owner,
the reaper ends the sessions that it watches and, if the owner was killed, runs a command, such as
one that stops services. PR_SET_PDEATHSIG does not suffice: the kernel sends it when the starting
*thread* ends, and it does not reach the runtime below the emulator. The cost is an idle process.

Protocol, a line each on stdin: `watch PID`, `forget PID`, where PID leads a session, and `close 0`
at an orderly end.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from local import ROOT
from local.errors import LocalError

EXIT_SECONDS = 2.0


class Reaper:
    """Starts a reaper process; close it, or leave the `with` block, at an orderly end.

    `after_kill` is a command to run if the owner was killed.
    """

    def __init__(self, after_kill: Sequence[str] = ()) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "local.runtime.reaper", *after_kill],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def spawn(self, command: list[str], **options: Any) -> "subprocess.Popen[bytes]":
        """Start a process in a session of its own, which does not outlive the owner.

        Raises LocalError after `close`.
        """
        with self._lock:
            if self._stdin.closed:
                raise LocalError("the local runtime is ending")
            process = subprocess.Popen(command, start_new_session=True, **options)
            self._write(f"watch {process.pid}\n")
            return process

    def end(self, process: "subprocess.Popen[bytes]") -> None:
        """End the whole session of this process."""
        end_session(process.pid)
        process.wait()
        with self._lock:
            self._write(f"forget {process.pid}\n")  # the PID may be reused

    def close(self) -> None:
        """Let the reaper finish, and wait for it."""
        with self._lock, contextlib.suppress(BrokenPipeError):
            self._write("close 0\n")
            self._stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(EXIT_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _stdin(self) -> Any:
        return self._process.stdin

    def _write(self, line: str) -> None:
        # The reaper may have been killed; an orderly end does not need it.
        with contextlib.suppress(BrokenPipeError, ValueError):
            self._stdin.write(line.encode())
            self._stdin.flush()


def end_session(leader: int) -> None:
    """Kill every process of the leader's session, the leader last.

    Without /proc, kill the leader's process group, which does not suffice for the emulator: its
    runtime has a group of its own. The emulator is stopped first: if it were killed, the runtime
    would write a traceback, and if it ran, it could start another runtime.
    """
    _send(signal.SIGSTOP, leader)
    for _ in range(2):  # a process may fork while the list is read
        for entry in Path("/proc").glob("[0-9]*"):
            pid = int(entry.name)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if pid != leader and os.getsid(pid) == leader:
                    _send(signal.SIGKILL, pid)
    _send(signal.SIGKILL, -leader)


def _send(number: signal.Signals, pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def main() -> None:
    """Wait for the owner's end, then clean up."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sessions: set[int] = set()
    word = ""
    for line in sys.stdin:
        word, pid = line.split()
        (sessions.add if word == "watch" else sessions.discard)(int(pid))
    for session in sessions:
        end_session(session)
    if len(sys.argv) > 1 and word != "close":
        subprocess.run(sys.argv[1:], check=False)


if __name__ == "__main__":
    main()
