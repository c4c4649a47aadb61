"""The checker on small histories, on real workers for seconds, and on cache-aside."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.coherence.history import ABSENT, History, Read, Write
from tests.coherence.operation_log import OperationLog, count_operations, read_operations
from tests.coherence.prove import (
    ASIDE_PHASES,
    KINDS,
    PAIR_PHASES,
    PHASES,
    Goal,
    Outcome,
    Phase,
    Proof,
    Server,
    running_servers,
)
from tests.coherence.redis_servers import OneRedis, RedisPair
from tests.coherence.worker_process import Subject

BEFORE = {"writer 1": "initial", "total": "2"}


def history(*writes: Write) -> History:
    return History(BEFORE, writes)


def rename(value: str, start_ns: int, acknowledged_ns: int | None) -> Write:
    return Write("writer 1", value, start_ns, acknowledged_ns)


def recount(value: str, start_ns: int, acknowledged_ns: int | None) -> Write:
    return Write("total", value, start_ns, acknowledged_ns)


def name_read(value: str, start_ns: int, end_ns: int) -> Read:
    return Read(start_ns, end_ns, {"writer 1": value})


def total_read(value: str, start_ns: int, end_ns: int) -> Read:
    return Read(start_ns, end_ns, {"total": value})


class TestStale:
    def test_a_read_after_the_acknowledgement_must_show_the_write(self) -> None:
        (violation,) = history(rename("a", 10, 20)).stale_reads([name_read("initial", 21, 30)])
        assert (violation.kind, violation.expected) == ("stale", "a")
        assert str(violation) == (
            "stale: writer 1 is initial, expected a or later, read from 21 to 30 ns"
        )

    @pytest.mark.parametrize("value", ["initial", "a"])
    def test_a_read_that_overlaps_the_write_may_show_either(self, value: str) -> None:
        assert history(rename("a", 10, 20)).stale_reads([name_read(value, 20, 30)]) == []

    @pytest.mark.parametrize("value", ["a", "b"])
    def test_a_read_may_show_a_write_in_progress(self, value: str) -> None:
        written = history(rename("a", 10, 20), rename("b", 30, 40))
        assert written.stale_reads([name_read(value, 25, 35)]) == []

    def test_only_the_latest_acknowledged_write_counts(self) -> None:
        written = history(rename("b", 30, 40), rename("a", 10, 20))
        (violation,) = written.stale_reads([name_read("a", 50, 60)])
        assert (violation.value, violation.expected) == ("a", "b")

    @pytest.mark.parametrize("value", ["initial", "a"])
    def test_a_write_of_unknown_outcome_may_have_happened_or_not(self, value: str) -> None:
        assert history(rename("a", 10, None)).stale_reads([name_read(value, 50, 60)]) == []

    def test_an_acknowledged_write_ends_the_doubt_about_those_before(self) -> None:
        written = history(rename("a", 10, None), rename("b", 30, 40))
        (violation,) = written.stale_reads([name_read("a", 50, 60)])
        assert violation.kind == "stale"

    def test_a_repeated_value_counts_as_the_later_write(self) -> None:
        written = history(recount("3", 10, 20), recount("2", 30, 40))
        assert written.stale_reads([total_read("2", 50, 60)]) == []
        assert written.stale_reads([total_read("2", 22, 31)]) == []

    def test_a_repeated_value_does_not_count_as_a_write_that_has_not_begun(self) -> None:
        written = history(recount("3", 10, 20), recount("2", 30, 40))
        (violation,) = written.stale_reads([total_read("2", 22, 28)])
        assert (violation.kind, violation.expected) == ("stale", "3")

    @pytest.mark.parametrize(("value", "end_ns"), [("never", 60), ("a", 9)])
    def test_a_value_must_have_been_written(self, value: str, end_ns: int) -> None:
        (violation,) = history(rename("a", 10, 20)).stale_reads([name_read(value, 5, end_ns)])
        assert violation.kind == "unwritten"

    def test_all_registers_of_a_page_are_checked(self) -> None:
        page = Read(50, 60, {"writer 1": "a", "total": "2"})
        written = history(rename("a", 10, 20), recount("3", 10, 20))
        (violation,) = written.stale_reads([page])
        assert violation.register == "total"


class TestBackwards:
    def test_a_later_read_must_not_show_less(self) -> None:
        reads = [name_read("a", 11, 12), name_read("initial", 13, 14)]
        (violation,) = history(rename("a", 10, None)).backward_reads(reads)
        assert (violation.kind, violation.value, violation.expected) == (
            "backwards",
            "initial",
            "a",
        )

    def test_reads_that_overlap_may_differ(self) -> None:
        reads = [name_read("a", 11, 13), name_read("initial", 13, 14)]
        assert history(rename("a", 10, None)).backward_reads(reads) == []

    def test_the_order_of_the_reads_in_the_log_does_not_matter(self) -> None:
        reads = [name_read("initial", 13, 14), name_read("a", 11, 12)]
        assert len(history(rename("a", 10, None)).backward_reads(reads)) == 1

    def test_another_page_counts_too(self) -> None:
        reads = [Read(11, 12, {"writer 1": "a", "total": "2"}), name_read("initial", 13, 14)]
        assert len(history(rename("a", 10, None)).backward_reads(reads)) == 1

    def test_a_repeated_value_is_not_a_non_monotonic_read(self) -> None:
        written = history(recount("3", 10, 20), recount("2", 30, 40))
        reads = [total_read(value, start, start + 1) for value, start in (("3", 21), ("2", 31))]
        assert written.backward_reads(reads) == []

    def test_a_value_that_may_be_the_earlier_write_makes_no_read_non_monotonic(self) -> None:
        written = history(recount("3", 10, 20), recount("2", 21, None))
        reads = [total_read("2", 15, 22), total_read("3", 23, 24)]
        assert written.backward_reads(reads) == []

    def test_a_stale_read_makes_no_later_read_non_monotonic(self) -> None:
        written = history(rename("a", 10, 20), rename("b", 30, 40))
        reads = [name_read("initial", 50, 51), name_read("b", 52, 53)]
        assert written.backward_reads(reads) == []


class TestAbsent:
    """An article of a writer: `Write("article 1 of 2", …)` if it is the writer's, or no longer."""

    def test_a_register_that_was_never_written_is_absent(self) -> None:
        read = Read(10, 20, {"article 1 of 2": ABSENT})
        assert history().stale_reads([read]) == history().backward_reads([read]) == []
        (violation,) = history().stale_reads([Read(10, 20, {"article 1 of 2": "a"})])
        assert violation.kind == "unwritten"

    def test_a_read_of_a_deleted_value_is_stale(self) -> None:
        moves = Write("article 1 of 2", "a", 10, 20), Write("article 1 of 2", ABSENT, 30, 40)
        (violation,) = history(*moves).stale_reads([Read(50, 60, {"article 1 of 2": "a"})])
        assert (violation.kind, violation.expected) == ("stale", ABSENT)

    def test_a_read_without_an_acknowledged_value_is_stale(self) -> None:
        moved = history(Write("article 1 of 2", "a", 10, 20))
        (violation,) = moved.stale_reads([Read(50, 60, {"article 1 of 2": ABSENT})])
        assert (violation.kind, violation.expected) == ("stale", "a")

    def test_a_value_that_the_database_lacks_at_the_end_is_lost(self) -> None:
        (violation,) = history(Write("article 1 of 2", "a", 10, 20)).lost_writes(BEFORE)
        assert (violation.kind, violation.value, violation.expected) == ("lost", ABSENT, "a")


class TestLost:
    @pytest.mark.parametrize("final", ["a", "b"])
    def test_the_last_acknowledged_write_or_one_of_unknown_outcome_is_there(
        self, final: str
    ) -> None:
        written = history(rename("a", 10, 20), rename("b", 30, None))
        assert written.lost_writes({**BEFORE, "writer 1": final}) == []

    @pytest.mark.parametrize("final", ["initial", "never"])
    def test_an_acknowledged_write_must_be_there(self, final: str) -> None:
        (violation,) = history(rename("a", 10, 20)).lost_writes({**BEFORE, "writer 1": final})
        assert str(violation) == f"lost: writer 1 is {final}, expected a or later, at the end"


class TestOperationLog:
    def test_logged_operations_are_read_back(self, tmp_path: Path) -> None:
        path = tmp_path / "worker"
        log = OperationLog(path)
        values: Mapping[str, str] = {"total": "2"}
        page = log.page("list", values)
        log.read(page, 1, 2, hit=False)
        log.read(page, 3, 4, hit=True)
        log.write_begins({"writer 1": "a", "total": "3"}, 5)
        log.write_acknowledged(6)
        log.write_begins({"writer 1": "b"}, 7)
        log.failed(503)
        assert count_operations([path]) == (2, 1)
        operations = read_operations([path])
        assert operations.reads == [Read(1, 2, values), Read(3, 4, values)]
        assert operations.writes == [rename("a", 5, 6), recount("3", 5, 6), rename("b", 7, None)]
        assert (operations.acknowledged, operations.failures) == (1, 1)
        assert (operations.share_of_hits("list"), operations.share_of_hits("joined")) == (0.5, 0.0)

    def test_a_line_that_a_kill_cut_off_is_dropped(self, tmp_path: Path) -> None:
        path = tmp_path / "worker"
        OperationLog(path).write_begins({"writer 1": "a"}, 5)
        with path.open("a") as file:
            file.write('["acknow')
        assert read_operations([path]).writes == [rename("a", 5, None)]


QUICKLY = Goal(reads=300, acknowledged=15, at_most_seconds=60)
LONG_ENOUGH_TO_FAIL = Goal(reads=600, acknowledged=120, at_most_seconds=60)


def outcomes(
    subject: Subject, kind: type[Server], directory: Path, phases: Sequence[Phase], goal: Goal
) -> list[Outcome]:
    logs = directory / "operations"
    logs.mkdir(parents=True)
    with running_servers(directory, kind) as servers:
        proof = Proof(subject, servers, logs)
        found = list(proof.run(phases, goal))
    assert proof.errors == ""
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "phases"), [(OneRedis, PHASES), (RedisPair, PAIR_PHASES)], ids=["one", "pair"]
)
def test_no_read_is_stale_or_non_monotonic_and_no_write_lost(
    kind: type[Server], phases: Sequence[Phase], tmp_path: Path
) -> None:
    found = outcomes("project", kind, tmp_path, phases, QUICKLY)
    # A short phase may have none.
    hits = sum((outcome.operations.hits_of_kind for outcome in found), Counter[str]())
    assert hits.keys() == set(KINDS)
    for outcome in found:
        assert outcome.violations == [], outcome.phase
        assert outcome.reaches(QUICKLY)
        assert (outcome.disturbances["kill"] > 0) == outcome.phase.kills
        assert (outcome.disturbances["freeze"] > 0) == outcome.phase.freezes
        assert (outcome.disturbances["redis"] > 0) == (outcome.phase.happens is not None)


@pytest.mark.slow
def test_the_checker_catches_cache_aside(tmp_path: Path) -> None:
    # How many of its reads are stale depends on how the machine schedules it: some runs have none.
    for attempt in range(15):
        directory = tmp_path / str(attempt)
        (outcome,) = outcomes("aside", OneRedis, directory, ASIDE_PHASES, LONG_ENOUGH_TO_FAIL)
        if "stale" in {violation.kind for violation in outcome.violations}:
            return
    pytest.fail("no stale read was found")
