"""Checks the cache's consistency on real workers, and prints each violation.

    python -m tests.coherence.prove                 the layer, with the tests' example; minutes
    python -m tests.coherence.prove --quick         a twentieth of the reads and writes
    python -m tests.coherence.prove --cache-aside   cache-aside, which fails in the first phase

Readers and writers run as processes of their own (`worker_process`) on a PostgreSQL and a Redis
that are started for the run. In nearly every phase workers are killed by SIGKILL, writers during a
request, and replaced; others are frozen by SIGSTOP, at any time or, writers, right after a
response, some for longer than a fence, and some until they are killed. In some phases Redis is also
flushed or restarted, fails over to a replica that lacks the latest writes, becomes read-only, or
denies writes by an ACL. A phase ends after a number of reads and acknowledged writes; then all its
workers are killed, and `history` checks what they recorded. All times are of `time.monotonic_ns`,
one clock for the whole machine.

While an ACL denies writes no worker is killed or frozen: a worker that starts then, and first uses
Redis when writes are allowed again, does not know that a write could not void its pages, which
expire by their TTL.

Non-monotonic reads are checked only if Redis keeps its data and accepts writes: after a flush a
reader may see an older state again, though never one older than an acknowledged write. The unknown
outcome of a write is looked up in the database before its writer's successor begins, when
PostgreSQL has ended the session.

Exits with 1 if there is a violation, a worker fails by itself, or a phase takes too long.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from local.services import running_services
from tests.coherence.history import History, Violation, Write
from tests.coherence.operation_log import Operations, count_operations, read_operations
from tests.coherence.redis_servers import OneRedis, RedisPair
from tests.coherence.worker_process import (
    ARTICLES,
    WRITERS,
    Assignment,
    Subject,
    database_values,
)

ROOT = Path(__file__).parents[2]
READERS = 3
RENAMERS = 2
MOVERS = 2
KILL_EVERY_SECONDS = (0.5, 3.5)
FREEZE_EVERY_SECONDS = (1.0, 5.0)
FROZEN_SECONDS = (0.0, 2.0)
FREEZES_AFTER_WRITES = 0.04
KILLED_WHILE_FROZEN = 0.3
REQUEST_SECONDS = 0.008
"""About how long a write takes here; a kill falls somewhere into it."""
PATIENCE_SECONDS = 0.5
TICK_SECONDS = 0.01
COUNT_EVERY_SECONDS = 1.0
SHOWN_VIOLATIONS = 5
KINDS = ("writers", "articles", "scoped", "joined")
COLUMNS = (
    *("phase", "reads", "acknowledged", "kills", "freezes", "times"),
    *(f"{kind} hits" for kind in KINDS),
    "failed",
    *("stale", "backwards", "lost", "unwritten", "seconds"),
)
FIRST_COLUMN = 20

Server = OneRedis | RedisPair


@dataclass(frozen=True)
class Goal:
    """A phase ends when both numbers are reached and all has happened that is to happen, and after
    the seconds at the latest."""

    reads: int
    acknowledged: int
    at_most_seconds: float

    def divided_by(self, number: int) -> "Goal":
        return Goal(self.reads // number, self.acknowledged // number, self.at_most_seconds)


@dataclass(frozen=True)
class Phase:
    """The failure of Redis, how often it happens, and whether workers are killed as well."""

    name: str
    happens: Callable[[Any], None] | None = None
    every_seconds: tuple[float, float] = (0.0, 0.0)
    kills: bool = True
    freezes: bool = True

    @property
    def keeps_redis_data(self) -> bool:
        return self.happens is None


PHASES = (
    Phase("workers killed"),
    Phase("Redis flushed", OneRedis.flush, (0.05, 5.0)),
    Phase("Redis restarted", OneRedis.restart, (3.0, 10.0)),
)
PAIR_PHASES = (
    Phase("Redis fails over", RedisPair.fail_over, (1.0, 6.0)),
    Phase("Redis read-only", RedisPair.be_read_only, (1.0, 6.0)),
    Phase("Redis denies writes", RedisPair.deny_writes, (0.5, 3.0), kills=False, freezes=False),
)
FULL_GOAL = Goal(reads=84_000, acknowledged=850, at_most_seconds=1800)
QUICK = 20
# One phase is enough to fail. Reads are stale that meet a write, so there are many of those.
ASIDE_PHASES = (Phase("workers killed", freezes=False),)
ASIDE_GOAL = Goal(reads=5_000, acknowledged=1_000, at_most_seconds=300)


@dataclass(frozen=True)
class Outcome:
    phase: Phase
    operations: Operations
    disturbances: Counter[str]
    violations: list[Violation]
    seconds: float

    def row(self) -> tuple[str, ...]:
        kinds = Counter(violation.kind for violation in self.violations)
        reads = len(self.operations.reads)
        return (
            self.phase.name,
            str(reads),
            str(self.operations.acknowledged),
            *(str(self.disturbances[name]) for name in ("kill", "freeze", "redis")),
            *(f"{self.operations.share_of_hits(kind):.1%}" for kind in KINDS),
            str(self.operations.failures),
            str(kinds["stale"]),
            str(kinds["backwards"]) if self.phase.keeps_redis_data else "-",
            str(kinds["lost"]),
            str(kinds["unwritten"]),
            f"{self.seconds:.0f}",
        )

    def reaches(self, goal: Goal) -> bool:
        operations = self.operations
        return len(operations.reads) >= goal.reads and operations.acknowledged >= goal.acknowledged


@dataclass(frozen=True)
class Servers:
    database_url: str
    redis: Server

    def create_database(self, name: str) -> str:
        """Its URL."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            connection.execute(f"CREATE DATABASE {name}")
        return self.database_url.replace("/blog?", f"/{name}?")


@contextlib.contextmanager
def running_servers(directory: Path, kind: type[Server]) -> Iterator[Servers]:
    """PostgreSQL and a Redis of this kind, for nobody else."""
    with running_services(directory / "database", ephemeral=True) as services:
        own_redis = (
            RedisPair(directory / "redis") if kind is RedisPair else OneRedis(directory / "redis")
        )
        own_redis.start()
        try:
            yield Servers(services.database_url, own_redis)
        finally:
            own_redis.stop()


class Nursery:
    """The other end of `worker_process.Nursery`."""

    def __init__(self, subject: Subject, environment: dict[str, str], errors: Path) -> None:
        self._errors = errors
        with errors.open("ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.coherence.worker_process", subject],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
            )

    def prepare(self) -> None:
        self._command({"prepare": True})

    def start(self, assignment: Assignment) -> int:
        return int(self._command({"start": dataclasses.asdict(assignment)})["pid"])

    def kill(self, pid: int) -> None:
        self._command({"kill": pid})

    def freeze(self, pid: int) -> None:
        self._command({"freeze": pid})

    def thaw(self, pid: int) -> None:
        self._command({"thaw": pid})

    def changes(self) -> tuple[list[int], list[int]]:
        """The processes that ended, and those that were frozen, since the last call."""
        response = self._command({"changes": True})
        return response["ended"], response["frozen"]

    def close(self) -> None:
        self._process.communicate()

    def _command(self, command: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the workers' parent ended: {self._errors.read_text()}")
        response: dict[str, Any] = json.loads(line)
        return response


class Fleet:
    """The workers of a phase: a place each, which a successor takes when one has ended."""

    def __init__(
        self, nursery: Nursery, connection: psycopg.Connection[Any], directory: Path
    ) -> None:
        self._nursery = nursery
        self._connection = connection
        self._directory = directory
        self._running: dict[int, Assignment] = {}
        self._thaw_at: dict[int, float] = {}
        self._started = 0

    @property
    def logs(self) -> list[Path]:
        return list(self._directory.iterdir())

    def start_all(self, reads_per_write: float, *, freezes: bool) -> None:
        writers, articles = range(1, WRITERS + 1), range(1, ARTICLES + 1)
        writer = Assignment(
            "",
            "counter",
            "",
            pause_reads=reads_per_write * (1 + RENAMERS + MOVERS),
            freezes=FREEZES_AFTER_WRITES if freezes else 0.0,
        )
        self._start(writer)
        for _ in range(READERS):
            self._start(Assignment("", "reader", ""))
        for first in range(RENAMERS):
            own = tuple(writers[first::RENAMERS])
            self._start(dataclasses.replace(writer, role="renamer", writers=own))
        for first in range(MOVERS):
            own = tuple(articles[first::MOVERS])
            self._start(dataclasses.replace(writer, role="mover", articles=own))

    def kill_one(self) -> None:
        if (pid := self._in_midst_of_a_request()) is not None:
            self._kill(pid)

    def freeze_one(self) -> None:
        """Whether for a while or until it is killed is decided when it has stopped."""
        if (pid := self._in_midst_of_a_request()) is not None:
            self._nursery.freeze(pid)

    def _in_midst_of_a_request(self) -> int | None:
        """One that is not frozen."""
        awake = self._running.keys() - self._thaw_at.keys()
        if not awake:
            return None
        pid = random.choice(list(awake))
        assignment = self._running[pid]
        if assignment.role != "reader":
            _await_write(Path(assignment.log))
            time.sleep(random.uniform(0, REQUEST_SECONDS))
        return pid

    def tend(self) -> int:
        """Replace who has ended, and thaw or kill who was frozen for long enough; how many have
        been frozen."""
        ended, frozen = self._nursery.changes()
        now = time.monotonic()
        self._thaw_at |= {pid: now + random.uniform(*FROZEN_SECONDS) for pid in frozen}
        for pid in ended:
            self._replace(pid)
        for pid in [pid for pid, thaw_at in self._thaw_at.items() if thaw_at < now]:
            if random.random() < KILLED_WHILE_FROZEN:
                self._kill(pid)
            else:
                del self._thaw_at[pid]
                self._nursery.thaw(pid)
        return len(frozen)

    def _kill(self, pid: int) -> None:
        self._nursery.kill(pid)
        self._replace(pid)

    def kill_all(self) -> None:
        for pid in self._running:
            self._nursery.kill(pid)
        for assignment in self._running.values():
            self._await_end_of_session(assignment.name)
        self._running.clear()
        self._thaw_at.clear()

    def _replace(self, pid: int) -> None:
        self._thaw_at.pop(pid, None)
        predecessor = self._running.pop(pid)
        self._await_end_of_session(predecessor.name)
        self._start(predecessor)

    def _start(self, like: Assignment) -> None:
        self._started += 1
        name = f"{like.role}-{self._directory.name}-{self._started}"
        extra = self._extra_writers() if like.role == "counter" else ()
        log = str(self._directory / name)
        assignment = dataclasses.replace(like, name=name, log=log, extra_writers=extra)
        Path(log).touch()
        self._running[self._nursery.start(assignment)] = assignment

    def _extra_writers(self) -> tuple[tuple[int, tuple[int, ...]], ...]:
        """Each with its articles."""
        statement = """
            SELECT writers.id, array_remove(array_agg(articles.id ORDER BY articles.id), NULL)
            FROM writers LEFT JOIN articles ON articles.writer_id = writers.id
            WHERE writers.id > %s GROUP BY writers.id
        """
        rows = self._connection.execute(statement, (WRITERS,))
        return tuple((writer_id, tuple(articles or ())) for writer_id, articles in rows)

    def _await_end_of_session(self, name: str) -> None:
        """Until then PostgreSQL may still commit what a killed worker sent."""
        statement = "SELECT 1 FROM pg_stat_activity WHERE application_name = %s"
        while self._connection.execute(statement, (name,)).fetchone():
            time.sleep(TICK_SECONDS / 10)


def _await_write(log: Path) -> None:
    """Until the worker begins its next write, as its log says; not for ever, as it may end."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    with log.open("rb") as file:
        file.seek(0, os.SEEK_END)
        while time.monotonic() < give_up_at:
            if b'["write"' in file.read():
                return
            time.sleep(TICK_SECONDS / 100)


class Disturbance:
    """Something that is done again and again, at random moments."""

    def __init__(
        self, name: str, act: Callable[[], None], every_seconds: tuple[float, float]
    ) -> None:
        self.name = name
        self._act = act
        self._every_seconds = every_seconds
        self._due = time.monotonic() + every_seconds[0]

    def act_if_due(self) -> bool:
        if time.monotonic() < self._due:
            return False
        self._act()
        self._due = time.monotonic() + random.uniform(*self._every_seconds)
        return True


class Proof:
    """Runs phases on one subject; what was written in earlier ones counts in later ones."""

    def __init__(self, subject: Subject, servers: Servers, directory: Path) -> None:
        self._subject = subject
        self._servers = servers
        self._directory = directory
        self._writes: list[Write] = []
        self._errors = directory / "errors.log"

    @property
    def errors(self) -> str:
        """The workers' stderr: tracebacks of exceptions that no handler caught."""
        return self._errors.read_text()

    def run(self, phases: Sequence[Phase], goal: Goal) -> Iterator[Outcome]:
        """Each phase's outcome as soon as it is known."""
        url = self._servers.create_database(f"coherence_{self._subject}")
        environment = self._environment(url)
        self._servers.redis.flush()
        with (
            psycopg.connect(url, autocommit=True) as connection,
            contextlib.closing(Nursery(self._subject, environment, self._errors)) as nursery,
        ):
            nursery.prepare()
            initial = database_values(connection)
            for number, phase in enumerate(phases):
                logs = self._directory / str(number)
                logs.mkdir()
                started_at = time.monotonic()
                fleet = Fleet(nursery, connection, logs)
                disturbances = self._disturb(fleet, phase, goal)
                seconds = time.monotonic() - started_at
                operations = read_operations(fleet.logs)
                self._writes += operations.writes
                history = History(initial, self._writes)
                violations = _violations(history, phase, operations, database_values(connection))
                yield Outcome(phase, operations, disturbances, violations, seconds)

    def _environment(self, database_url: str) -> dict[str, str]:
        return {
            **os.environ,
            "DATABASE_URL": database_url,
            "REDIS_URL": self._servers.redis.url,
            "TLS_REQUIRED": "false",
            "AUTH": "open",
            "LOG_LEVEL": "WARNING",
            "REDIS_TIMEOUT_SECONDS": "1",  # the machine may be busy
            "PYTHONPATH": os.pathsep.join(("functions", "layers/shared")),
        }

    def _disturb(self, fleet: Fleet, phase: Phase, goal: Goal) -> Counter[str]:
        """Runs the phase; how often each disturbance happened."""
        counts: Counter[str] = Counter()
        disturbances = self._disturbances(fleet, phase)
        fleet.start_all(goal.reads / goal.acknowledged, freezes=phase.freezes)
        started_at = counted_at = time.monotonic()
        while (now := time.monotonic()) - started_at < goal.at_most_seconds:
            if now - counted_at > COUNT_EVERY_SECONDS:
                reads, acknowledged = count_operations(fleet.logs)
                counted_at = time.monotonic()
                happened = all(counts[each.name] for each in disturbances)
                happened &= counts["freeze"] > 0 or not phase.freezes
                if happened and reads >= goal.reads and acknowledged >= goal.acknowledged:
                    break
            counts["freeze"] += fleet.tend()
            counts.update(each.name for each in disturbances if each.act_if_due())
            time.sleep(TICK_SECONDS)
        fleet.kill_all()
        return counts

    def _disturbances(self, fleet: Fleet, phase: Phase) -> list[Disturbance]:
        chosen = []
        if phase.kills:
            chosen.append(Disturbance("kill", fleet.kill_one, KILL_EVERY_SECONDS))
        if phase.freezes:
            chosen.append(Disturbance("asked to freeze", fleet.freeze_one, FREEZE_EVERY_SECONDS))
        if phase.happens is not None:
            happens = partial(phase.happens, self._servers.redis)
            chosen.append(Disturbance("redis", happens, phase.every_seconds))
        return chosen


def _violations(
    history: History, phase: Phase, operations: Operations, final: dict[str, str]
) -> list[Violation]:
    violations = history.stale_reads(operations.reads) + history.lost_writes(final)
    if phase.keeps_redis_data:
        violations += history.backward_reads(operations.reads)
    return violations


def print_row(row: Sequence[str]) -> None:
    widths = (FIRST_COLUMN, *(max(9, len(name) + 1) for name in COLUMNS[1:]))
    cells = [row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]
    print("".join(cells), flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Proves the cache's coherence.")
    parser.add_argument("--cache-aside", action="store_true", help="check that instead")
    parser.add_argument("--quick", action="store_true", help="fewer reads and writes")
    chosen = parser.parse_args(arguments)
    print_row(COLUMNS)
    if chosen.cache_aside:
        return int(not prove("aside", OneRedis, ASIDE_PHASES, ASIDE_GOAL))
    goal = FULL_GOAL.divided_by(QUICK) if chosen.quick else FULL_GOAL
    proved = [
        prove("project", OneRedis, PHASES, goal),
        prove("project", RedisPair, PAIR_PHASES, goal),
    ]
    return int(not all(proved))


def prove(subject: Subject, kind: type[Server], phases: Sequence[Phase], goal: Goal) -> bool:
    """Whether all phases reach the goal without a violation; prints a row for each."""
    proved = True
    with (
        tempfile.TemporaryDirectory(prefix="prove-") as name,
        running_servers(Path(name), kind) as servers,
    ):
        logs = Path(name) / "operations"
        logs.mkdir()
        proof = Proof(subject, servers, logs)
        for outcome in proof.run(phases, goal):
            print_row(outcome.row())
            for violation in outcome.violations[:SHOWN_VIOLATIONS]:
                print(f"  {violation}")
            proved = proved and not outcome.violations and outcome.reaches(goal)
        print(proof.errors, end="")
        return proved and not proof.errors


if __name__ == "__main__":
    sys.exit(main())
