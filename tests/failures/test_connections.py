"""A connection attempt that the deadline cancels leaves no connection behind."""

import time

from tests.failures.conftest import READS, ProxiedApi, assert_problem
from tests.failures.proxy import Failure

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
