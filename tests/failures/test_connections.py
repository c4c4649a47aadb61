"""Connections: to one host of several, lost if nothing is acknowledged, closed if they are late."""

import os
import socket
import time

import pytest

from local.services import Services
from shared.database import Reader, read
from shared.database.connection import worker_connection
from tests.conftest import Worker
from tests.failures.conftest import READS, ProxiedApi, assert_problem, postgresql_socket
from tests.failures.proxy import FailingProxy, Failure
from tests.transactions import REQUEST, statement_of

WAIT_SECONDS = 5.0


def test_a_connection_that_is_made_after_the_deadline_is_closed(proxied: ProxiedApi) -> None:
    proxied.start()
    for _ in range(3):
        proxied.end_backends()
        proxied.postgresql.failure = Failure.LATENCY
        assert_problem(proxied.call(READS[1]), "deadline-exceeded")
        proxied.heal()
        deadline = time.monotonic() + WAIT_SECONDS
        while connections(proxied):
            assert time.monotonic() < deadline
            time.sleep(0.02)


def connections(proxied: ProxiedApi) -> int:
    row = proxied.database.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s",
        [proxied.worker.service],
    ).fetchone()
    assert row is not None
    return int(row[0])


async def query(reader: Reader) -> object:
    return (await reader.execute(statement_of("SELECT 42"))).scalar()


def test_of_several_hosts_the_one_that_responds_is_used(worker: Worker, services: Services) -> None:
    with FailingProxy(postgresql_socket(services)) as proxy:
        hosts = f"127.0.0.1:1,127.0.0.1:{proxy.port}"
        worker.restart(DATABASE_URL=f"postgresql://postgres@{hosts}/blog?sslmode=disable")
        assert worker.run(read(REQUEST, query)) == 42
        worker.close()


@pytest.mark.linux
@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux has the option")
@pytest.mark.parametrize(("connect_seconds", "milliseconds"), [("1", 3000), ("5", 5000)])
def test_a_connection_whose_data_is_not_acknowledged_in_time_is_lost(
    worker: Worker, services: Services, connect_seconds: str, milliseconds: int
) -> None:
    async def user_timeout() -> int:
        async with worker_connection().acquire(REQUEST.record) as (_, driver):
            with socket.socket(fileno=os.dup(driver.pgconn.socket)) as same:
                return same.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)

    with FailingProxy(postgresql_socket(services)) as proxy:
        worker.restart(
            DATABASE_URL=f"postgresql://postgres@127.0.0.1:{proxy.port}/blog?sslmode=disable",
            DATABASE_CONNECT_TIMEOUT_SECONDS=connect_seconds,
        )
        assert worker.run(user_timeout()) == milliseconds
        worker.close()
