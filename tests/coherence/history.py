"""Checks a recorded history of writes and reads for consistency; pure, O(n log n).

A register is a value that one writer at a time sets, such as a writer's name or the number of
writers. So its writes are in a total order, that of their starts, and a value that was read stands
for one or more versions: the positions at which it was written. A read shows several registers at
once, as a page does, and a write may set several. A register without an initial value, or a deleted
one, is `ABSENT`. All times are of one clock.

Violations:

- stale: the read began after a write was acknowledged, and shows an older version
- backwards: the read began after another read had ended, and shows an older version than that one
- lost: the final version is older than a write that was acknowledged
- unwritten: no write of this value had begun when it was read

A write that was never acknowledged (its writer died, or its outcome is unknown) may or may not have
been made. If a value was written more than once, each check assumes the version that is no
violation, so there are no false alarms.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["stale", "backwards", "lost", "unwritten"]

ABSENT = "absent"
INITIAL = 0
"""The version that every register has before the first write."""


@dataclass(frozen=True, slots=True)
class Write:
    register: str
    value: str
    start_ns: int
    acknowledged_ns: int | None


@dataclass(frozen=True, slots=True)
class Read:
    start_ns: int
    end_ns: int
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Violation:
    """`read` is None where the final state is at fault; `expected` is the oldest value allowed."""

    kind: Kind
    register: str
    value: str
    expected: str
    read: Read | None = None

    def __str__(self) -> str:
        what = f"{self.kind}: {self.register} is {self.value}, expected {self.expected} or later"
        if self.read is None:
            return f"{what}, at the end"
        return f"{what}, read from {self.read.start_ns} to {self.read.end_ns} ns"


class Register:
    """The versions of one register, from 0, the initial one."""

    def __init__(self, initial: str, writes: Iterable[Write]) -> None:
        ordered = sorted(writes, key=lambda write: write.start_ns)
        self.values = [initial, *(write.value for write in ordered)]
        self._start_ns = [-1, *(write.start_ns for write in ordered)]
        acknowledged = [
            (write.acknowledged_ns, version)
            for version, write in enumerate(ordered, start=1)
            if write.acknowledged_ns is not None
        ]
        self._acknowledged_ns = [moment_ns for moment_ns, _ in acknowledged]
        self._acknowledged_versions = [version for _, version in acknowledged]
        self._versions: dict[str, list[int]] = {}
        for version, value in enumerate(self.values):
            self._versions.setdefault(value, []).append(version)

    def acknowledged_before(self, moment_ns: int) -> int:
        """The latest version that was acknowledged before the moment."""
        count = bisect_left(self._acknowledged_ns, moment_ns)
        return self._acknowledged_versions[count - 1] if count else INITIAL

    def last_acknowledged(self) -> int:
        return self._acknowledged_versions[-1] if self._acknowledged_versions else INITIAL

    def latest(self, value: str, moment_ns: int) -> int | None:
        """The latest version of this value whose writing had begun before the moment."""
        versions = self._versions.get(value, [])
        begun = bisect_left(self._start_ns, moment_ns)
        count = bisect_left(versions, begun)
        return versions[count - 1] if count else None

    def earliest(self, value: str, at_least: int) -> int:
        """The earliest version of this value that is `at_least`; there must be one."""
        versions = self._versions[value]
        return versions[bisect_left(versions, at_least)]


class History:
    """All writes of a run, and the values before the first."""

    def __init__(self, initial: Mapping[str, str], writes: Iterable[Write]) -> None:
        of_register: dict[str, list[Write]] = {register: [] for register in initial}
        for write in writes:
            of_register.setdefault(write.register, []).append(write)
        self._registers = {
            register: Register(initial.get(register, ABSENT), written)
            for register, written in of_register.items()
        }
        self._never_written = Register(ABSENT, ())

    def stale_reads(self, reads: Iterable[Read]) -> list[Violation]:
        """The violations of kind `stale` and `unwritten`, at most one a read."""
        found = (self._stale_value(read) for read in reads)
        return [violation for violation in found if violation is not None]

    def backward_reads(self, reads: Sequence[Read]) -> list[Violation]:
        """The violations of kind `backwards`, at most one a read; stale reads prove nothing here.

        Reads of different pages are compared too, in the registers that both show.
        """
        ended = sorted(reads, key=lambda read: read.end_ns)
        seen: dict[str, int] = {}
        violations: list[Violation] = []
        count = 0
        for read in sorted(reads, key=lambda read: read.start_ns):
            while ended[count].end_ns < read.start_ns:
                self._remember(seen, ended[count])
                count += 1
            if violation := self._backward_value(read, seen):
                violations.append(violation)
        return violations

    def lost_writes(self, final: Mapping[str, str]) -> list[Violation]:
        """The violations of kind `lost`; `final` is what the database has when all is over."""
        violations: list[Violation] = []
        for name in {**self._registers, **final}:
            register, value = self._register(name), final.get(name, ABSENT)
            floor = register.last_acknowledged()
            version = register.latest(value, _after(register))
            if version is None or version < floor:
                violations.append(Violation("lost", name, value, register.values[floor]))
        return violations

    def _register(self, name: str) -> Register:
        return self._registers.get(name, self._never_written)

    def _stale_value(self, read: Read) -> Violation | None:
        for name, value in read.values.items():
            register = self._register(name)
            floor = register.acknowledged_before(read.start_ns)
            version = register.latest(value, read.end_ns)
            if version is None:
                return Violation("unwritten", name, value, register.values[floor], read)
            if version < floor:
                return Violation("stale", name, value, register.values[floor], read)
        return None

    def _remember(self, seen: dict[str, int], read: Read) -> None:
        for name, value in read.values.items():
            register = self._register(name)
            floor = register.acknowledged_before(read.start_ns)
            version = register.latest(value, read.end_ns)
            if version is not None and version >= floor:
                seen[name] = max(seen.get(name, INITIAL), register.earliest(value, floor))

    def _backward_value(self, read: Read, seen: Mapping[str, int]) -> Violation | None:
        for name, value in read.values.items():
            register = self._register(name)
            version = register.latest(value, read.end_ns)
            floor = seen.get(name, INITIAL)
            if version is not None and version < floor:
                return Violation("backwards", name, value, register.values[floor], read)
        return None


def _after(register: Register) -> int:
    """A moment after the start of every write of the register."""
    return register._start_ns[-1] + 1
