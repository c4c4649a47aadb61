"""Tasks that run at the same time end together: none is left on a connection.

`tests.in_process` asserts of every request of every test that no task outlives it.
"""

import asyncio
from typing import Any

import pytest

from shared.database import Transaction
from shared.errors import NotFound
from tests.failures.conftest import PATCH, ProxiedApi, Route
from tests.failures.proxy import Failure
from tests.transactions import NothingInvalidated, statement_of, write

INSERT = "INSERT INTO writers (name, email) VALUES ('Bob', 'bob@example.org')"
ABSENT = Route("PATCH", "/writers/4711", 404, b"UPDATE", {"name": "Unknown"})


class FailingWithdrawal(NothingInvalidated):
    async def rolled_back(self) -> None:
        raise RuntimeError("a bug of the cache")


@pytest.mark.parametrize("failure", [Failure.LATENCY, Failure.BLACKHOLE, Failure.RESET])
def test_a_rollback_ends_although_what_runs_beside_it_fails(
    proxied: ProxiedApi, failure: Failure
) -> None:
    """A rollback on a connection that is closed meanwhile would end the process."""

    async def insert(block: Transaction) -> None:
        await block.execute(statement_of(INSERT))
        proxied.postgresql.failure = failure
        raise NotFound("There is no such thing.")

    async def request() -> set[asyncio.Task[Any]]:
        with pytest.raises(RuntimeError):
            await write(insert, FailingWithdrawal())
        return asyncio.all_tasks() - {asyncio.current_task()}

    proxied.start()
    assert not proxied.worker.run(request())
    proxied.heal()
    assert proxied.call(PATCH).response.status_code == PATCH.status
    assert proxied.writers() == [(1, "Countess", "ada@example.org")]


@pytest.mark.parametrize("failure", [Failure.BLACKHOLE, Failure.LATENCY, Failure.RESET])
def test_a_limit_that_waits_for_a_cancelled_fence_lets_the_request_through(
    proxied: ProxiedApi, failure: Failure
) -> None:
    """The limiter's call is sent with the fence's, which the rollback stops awaiting."""
    proxied.start()
    proxied.worker.restart(WRITE_LIMIT="100", REDIS_TIMEOUT_SECONDS="1")
    proxied.transport.seconds = 10.0
    assert proxied.call(PATCH).response.status_code == PATCH.status
    proxied.redis.failure = failure
    assert proxied.call(ABSENT).response.status_code == ABSENT.status
