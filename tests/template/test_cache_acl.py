"""The commands that the template's Valkey allows its user: those that the functions run, no others.

The functions run as that user of a real Valkey, through every step of the cache's protocol and of
the limits. `ACL LOG` has what they were denied.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
import redis
from redis.exceptions import NoPermissionError

from shared.cache import pages
from shared.errors import DatabaseUnavailable
from tests.conftest import Worker
from tests.in_process import client_of
from tests.template.stacks import Stack

USER = "functions"
PASSWORD = "password"
ADA = {"name": "Ada", "email": "ada@example.org"}
ACCESS = Stack(Profile="standard").properties("User")["AccessString"]
COMMANDS = re.findall(r"\+(\w+)", ACCESS)


@pytest.fixture
def allow(cache: redis.Redis) -> Iterator[Any]:
    """Sets the user's rights, as an access string of ElastiCache has them."""

    def allow(access: str) -> None:
        rules = ["reset", f">{PASSWORD}", *access.split()]
        cache.execute_command("ACL", "SETUSER", USER, *rules)  # type: ignore[no-untyped-call]
        cache.acl_log_reset()

    yield allow
    cache.acl_deluser(USER)
    cache.acl_log_reset()


def denied(cache: redis.Redis) -> set[str]:
    """The commands that users were denied."""
    return {str(entry["object"]) for entry in cache.acl_log()}


@pytest.fixture
def run_all_steps(
    worker: Worker, emptied: None, cache: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], None]:
    """Hits, misses, writes, an expired fence, a lease released after an error, and limits."""

    def run_all_steps() -> None:
        worker.restart(REDIS_URL=_as_user(cache), READ_LIMIT="1000", WRITE_LIMIT="1000")
        _run_all_steps(cache, monkeypatch)

    return run_all_steps


def _run_all_steps(cache: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    with client_of() as api:
        api.post("/writers", json=ADA)
        api.post("/writers", json=ADA)  # 409: the fence is withdrawn
        for _ in range(2):
            api.get("/writers")
        api.get("/articles?writer_id=1")
        cache.zadd("fences", {"writers|crashed": 1})  # long expired
        api.get("/writers")
        with monkeypatch.context() as patches:
            patches.setattr("shared.database.PagedQuery.fetch", _fail)
            api.get("/writers?page=2")
        api.get("/health")
        cache.script_flush()  # and its commands by EVAL
        api.get("/writers?page=3")


async def _fail(*_arguments: object) -> None:
    raise DatabaseUnavailable("for this test")


def _as_user(cache: redis.Redis) -> str:
    """The URL of the server's socket for the user."""
    options = cache.connection_pool.connection_kwargs
    return f"unix://{USER}:{PASSWORD}@{quote(options['path'])}?db=0"


def test_the_functions_run_nothing_that_is_denied(
    allow: Any, run_all_steps: Callable[[], None], cache: redis.Redis
) -> None:
    allow(ACCESS)
    run_all_steps()
    assert denied(cache) == set()


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_is_needed(
    command: str,
    allow: Any,
    run_all_steps: Callable[[], None],
    cache: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pages, "LEASE_WAIT_SECONDS", 0.0)
    allow(f"{ACCESS} -{command}")
    run_all_steps()
    assert command in denied(cache)


@pytest.mark.parametrize(
    "command", ["FLUSHALL", "KEYS *", "CONFIG GET *", "SCAN 0", "ACL WHOAMI", "MONITOR", "SHUTDOWN"]
)
def test_other_commands_are_denied(command: str, allow: Any, cache: redis.Redis) -> None:
    allow(ACCESS)
    with (
        redis.Redis.from_url(_as_user(cache)) as user,
        pytest.raises(NoPermissionError),
    ):
        user.execute_command(*command.split())
