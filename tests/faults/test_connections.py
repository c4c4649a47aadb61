"""A connection attempt that the deadline ends leaves no connection behind."""

import time

from tests.faults.conftest import READS, FaultyApi, assert_problem
from tests.faults.proxy import Fault

WAIT_SECONDS = 5.0


def test_a_connection_that_comes_too_late_is_closed(faulty: FaultyApi) -> None:
    faulty.start()
    for _ in range(3):
        faulty.end_backends()
        faulty.postgresql.fault = Fault.LATENCY
        assert_problem(faulty.call(READS[1]), "deadline-exceeded")
        faulty.heal()
        give_up = time.monotonic() + WAIT_SECONDS
        while connections(faulty):
            assert time.monotonic() < give_up
            time.sleep(0.02)


def connections(faulty: FaultyApi) -> int:
    row = faulty.database.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s",
        [faulty.sandbox.service],
    ).fetchone()
    assert row is not None
    return int(row[0])
