"""A small process that cleans up behind its owner, however the owner ends.

The owner holds the write end of a pipe to it. When the pipe closes, even by SIGKILL of the owner,
the reaper ends the sessions it was told of, and stops the services in `directory` when nobody else
uses them. PR_SET_PDEATHSIG would not do: the kernel sends it when the starting *thread* ends, and
it does not reach the runtime below the emulator. The cost is one idle Python process.

Protocol, one line each on stdin: `watch PID`, `forget PID`; PID leads a session.
"""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

REPOSITORY = Path(__file__).resolve().parents[2]
EXIT_SECONDS = 2.0


class Reaper:
    """Starts a reaper process; close it (or leave the `with` block) after an orderly end.

    `directory` is the data directory of services to stop, None when there are none.
    """

    def __init__(self, directory: Path | None = None) -> None:
        arguments = [str(directory)] if directory else []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "local.runtime.reaper", *arguments],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def watch(self, session: int) -> None:
        """End the session of this leader when the owner is gone."""
        self._tell(f"watch {session}\n")

    def forget(self, session: int) -> None:
        """The session has ended; its number may be used again by a stranger."""
        self._tell(f"forget {session}\n")

    def close(self) -> None:
        """Lets the reaper finish and waits for it."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(EXIT_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        # A reaper that was killed protects no more; the owner still ends its workers itself.
        with contextlib.suppress(BrokenPipeError, ValueError):
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()


def end_session(leader: int) -> None:
    """Kills every process of the leader's session, the leader last.

    The emulator gives the runtime a process group of its own, so killing one group is not enough.
    The emulator is halted first: gone, it would leave the runtime time for a traceback, and alive,
    it might start another one. Linux only, as the emulator is.
    """
    _send(signal.SIGSTOP, leader)
    for _ in range(2):  # a process may fork while the list is read
        for entry in Path("/proc").iterdir():
            pid = int(entry.name) if entry.name.isdigit() else leader
            if pid != leader and _session_of(pid) == leader:
                _send(signal.SIGKILL, pid)
    _send(signal.SIGKILL, leader)


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return None


def _send(number: signal.Signals, pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def main() -> None:
    """Waits for the owner's end, then cleans up."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sessions: set[int] = set()
    for line in sys.stdin:
        word, pid = line.split()
        (sessions.add if word == "watch" else sessions.discard)(int(pid))
    for session in sessions:
        end_session(session)
    if len(sys.argv) > 1:
        from local.services import stop_unused_services

        stop_unused_services(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
