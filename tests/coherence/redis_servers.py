"""The Redis of a phase of `prove`: one URL, and what can happen to the server behind it."""

import contextlib
import random
import time
from pathlib import Path

from tests.failures.proxy import FailingProxy
from tests.valkey import ValkeyServer

DOWN_SECONDS = (0.0, 0.5)
LOST_SECONDS = (0.0, 0.3)
"""Of writes that a failover loses, as they were not replicated yet."""
DEMOTED_SECONDS = (0.0, 0.2)
"""While the name still points to the old primary."""
REJECTED_SECONDS = (0.1, 1.5)


class OneRedis:
    """A Redis whose data ends with its process."""

    def __init__(self, directory: Path) -> None:
        self._server = ValkeyServer(directory)

    @property
    def url(self) -> str:
        return self._server.url

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self._server.kill()

    def flush(self) -> None:
        self._server.flush()

    def restart(self) -> None:
        self.stop()
        time.sleep(random.uniform(*DOWN_SECONDS))
        self.start()


class RedisPair:
    """A primary and its replica, behind one address that leads to the primary.

    A failover is unkind: it loses the latest writes, and the old primary keeps its data and its
    connections. Only connections made later lead to the new one.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.primary = ValkeyServer(directory / "first")
        self.replica = ValkeyServer(directory / "second")
        self._proxy = FailingProxy(self.primary.socket)
        self._running = contextlib.ExitStack()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._proxy.port}/0"

    def start(self) -> None:
        for server in (self.primary, self.replica, self._proxy):
            self._running.enter_context(server)
        self.replica.follow(self.primary)

    def stop(self) -> None:
        self._running.close()

    def flush(self) -> None:
        self.primary.flush()

    def fail_over(self) -> None:
        self.replica.follow(self.primary)
        self.replica.demote()
        time.sleep(random.uniform(*LOST_SECONDS))
        self.primary.demote()
        time.sleep(random.uniform(*DEMOTED_SECONDS))
        self.replica.promote()
        self._proxy.server_path = self.replica.socket
        self.primary, self.replica = self.replica, self.primary

    def be_read_only(self) -> None:
        self.primary.demote()
        time.sleep(random.uniform(*REJECTED_SECONDS))
        self.primary.promote()

    def deny_writes(self) -> None:
        self.primary.deny_writes()
        time.sleep(random.uniform(*REJECTED_SECONDS))
        self.primary.allow_writes()
