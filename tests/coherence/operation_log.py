"""The operations of one worker, appended to a file of its own, one JSON array a line.

    ["write", register, value, start_ns]     before the handler is called
    ["acknowledged", end_ns]                 after it has answered: the write above
    ["page", {register: value}]              a content that the worker had not read just before
    ["read", start_ns, end_ns, hit]          of the page above
    ["failed", status]                       neither acknowledged nor read

Each line is one unbuffered `write`, so that a killed worker leaves all that it did; a line that
the kill cut off is dropped. A write whose acknowledgement is missing may have happened or not.
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.coherence.history import Read, Write


class OperationLog:
    """The writing end, of one worker."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._values: Mapping[str, str] | None = None

    def write_begins(self, register: str, value: str, start_ns: int) -> None:
        self._append("write", register, value, start_ns)

    def write_acknowledged(self, end_ns: int) -> None:
        self._append("acknowledged", end_ns)

    def read(self, start_ns: int, end_ns: int, values: Mapping[str, str], *, hit: bool) -> None:
        if values is not self._values:
            self._values = values
            self._append("page", values)
        self._append("read", start_ns, end_ns, hit)

    def failed(self, status: int) -> None:
        self._append("failed", status)

    def _append(self, *operation: object) -> None:
        os.write(self._file, json.dumps(operation).encode() + b"\n")


@dataclass
class Operations:
    """What all workers of a phase did."""

    writes: list[Write] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    hits: int = 0
    failures: int = 0

    @property
    def acknowledged(self) -> int:
        return sum(write.acknowledged_ns is not None for write in self.writes)


def read_operations(paths: Iterable[Path]) -> Operations:
    operations = Operations()
    for path in paths:
        _add_operations(operations, path)
    return operations


def count_operations(paths: Iterable[Path]) -> tuple[int, int]:
    """Reads and acknowledged writes so far, without a look into the lines."""
    contents = [path.read_bytes() for path in paths]
    reads = sum(content.count(b'\n["read"') for content in contents)
    return reads, sum(content.count(b'\n["acknowledged"') for content in contents)


def _add_operations(operations: Operations, path: Path) -> None:
    values: dict[str, str] = {}
    for line in path.read_bytes().split(b"\n")[:-1]:
        match json.loads(line):
            case "write", register, value, start_ns:
                operations.writes.append(Write(register, value, start_ns, None))
            case "acknowledged", end_ns:
                operations.writes[-1] = replace(operations.writes[-1], acknowledged_ns=end_ns)
            case "page", dict(values):
                pass
            case "read", start_ns, end_ns, hit:
                operations.reads.append(Read(start_ns, end_ns, values))
                operations.hits += hit
            case _:
                operations.failures += 1
