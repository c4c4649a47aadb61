"""The operations of one worker, appended to a file of its own, one JSON array a line.

    ["write", {register: value}, start_ns]   before the handler is called
    ["acknowledged", end_ns]                 after its response: the write above
    ["page", kind, {register: value}]        a page's content, numbered from 0
    ["read", page, start_ns, end_ns, hit]    of the content of this number
    ["failed", status]                       neither acknowledged nor read

Each line is one unbuffered `write`, so that a killed worker leaves all that it did; a line that
the kill cut off is dropped. A write whose acknowledgement is missing may have happened or not.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.coherence.history import Read, Write


class OperationLog:
    """The writing end, of one worker."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._pages = 0

    def write_begins(self, values: Mapping[str, str], start_ns: int) -> None:
        self._append("write", values, start_ns)

    def write_acknowledged(self, end_ns: int) -> None:
        self._append("acknowledged", end_ns)

    def page(self, kind: str, values: Mapping[str, str]) -> int:
        """Return its number."""
        self._append("page", kind, values)
        self._pages += 1
        return self._pages - 1

    def read(self, page: int, start_ns: int, end_ns: int, *, hit: bool) -> None:
        self._append("read", page, start_ns, end_ns, hit)

    def failed(self, status: int) -> None:
        self._append("failed", status)

    def _append(self, *operation: object) -> None:
        os.write(self._file, json.dumps(operation).encode() + b"\n")


@dataclass
class Operations:
    """The operations of all workers of a phase."""

    writes: list[Write] = field(default_factory=list)
    """One for each register that is written."""
    reads: list[Read] = field(default_factory=list)
    reads_of_kind: Counter[str] = field(default_factory=Counter)
    hits_of_kind: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    failures: int = 0

    def share_of_hits(self, kind: str) -> float:
        return self.hits_of_kind[kind] / max(self.reads_of_kind[kind], 1)


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
    pages, begun = list[tuple[str, dict[str, str]]](), list[Write]()
    for line in path.read_bytes().split(b"\n")[:-1]:
        match json.loads(line):
            case "write", dict(written), start_ns:
                begun = [Write(name, value, start_ns, None) for name, value in written.items()]
                operations.writes += begun
            case "acknowledged", end_ns:
                operations.acknowledged += 1
                operations.writes[-len(begun) :] = [
                    replace(write, acknowledged_ns=end_ns) for write in begun
                ]
            case "page", kind, dict(values):
                pages.append((kind, values))
            case "read", page, start_ns, end_ns, hit:
                kind, values = pages[page]
                operations.reads.append(Read(start_ns, end_ns, values))
                operations.reads_of_kind[kind] += 1
                operations.hits_of_kind[kind] += hit
            case _:
                operations.failures += 1
