"""The table of faults in docs/failure-modes.md, one row a test.

A row's name is the id of the test that proves it: `pytest tests/faults -k "<name>"` runs it, and
`rows(prefix)` parametrises the tests of a group. What a row promises is what its test asserts,
`seconds_at_most` included; None stands for Lambda's remaining time.
"""

from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Row:
    name: str
    client_sees: str
    seconds_at_most: float | None
    added: bool = False
    """The seconds come on top of what the answer takes otherwise."""

    def markdown(self) -> str:
        longest = "Lambda's time" if self.seconds_at_most is None else f"{self.seconds_at_most:g} s"
        longest = f"+{longest}" if self.added else longest
        return f"| `{self.name}` | {self.client_sees} | {longest} |"


UNAVAILABLE = "cached pages; for the rest 503 `database-unavailable`, nothing changed"
LATE = "cached pages; for the rest 503 `deadline-exceeded`, nothing changed"
SILENT = "cached pages; for the rest 503, nothing changed"
REPEATED = "nothing: done again on a fresh connection, written once"
UNKNOWN = "503 `outcome-unknown`, never repeated"
REFUSED = "503 `database-unavailable`, nothing changed"
FIRST_PAYS = "nothing; readers skip Redis for 2 s and probe it, writers ask it each time"
BACK = "nothing: the cache is used again, but no page from before a write that it missed"
NOTHING = "nothing"

ROWS = (
    Row("postgresql-away-refuse", UNAVAILABLE, 1.0),
    Row("postgresql-away-reset", UNAVAILABLE, 1.0),
    Row("postgresql-away-half-close", UNAVAILABLE, 1.0),
    Row("postgresql-away-blackhole", LATE, None),
    Row("postgresql-away-drip", LATE, None),
    Row("postgresql-slow-latency", "the answer, 1 s later for each round trip", 5.0),
    Row("postgresql-new-connection-blackhole", SILENT, None),
    Row("postgresql-new-connection-drip", SILENT, None),
    Row("postgresql-mid-query-refuse", UNAVAILABLE, 1.0),
    Row("postgresql-mid-query-reset", UNAVAILABLE, 1.0),
    Row("postgresql-mid-query-half-close", UNAVAILABLE, 1.0),
    Row("postgresql-mid-query-blackhole", LATE, None),
    Row("postgresql-connection-lost-reset", REPEATED, 1.0),
    Row("postgresql-connection-lost-half-close", REPEATED, 1.0),
    Row("postgresql-commit-lost-reset", UNKNOWN, 1.0),
    Row("postgresql-commit-lost-half-close", UNKNOWN, 1.0),
    Row("postgresql-commit-lost-blackhole", UNKNOWN, None),
    Row("postgresql-commit-answer-lost-reset", UNKNOWN, 1.0),
    Row("postgresql-commit-answer-lost-half-close", UNKNOWN, 1.0),
    Row("postgresql-commit-answer-lost-blackhole", UNKNOWN, None),
    Row("postgresql-rollback-blackhole", "nothing: the silent connection is replaced", 1.0),
    Row("postgresql-rested-blackhole", "nothing: the dead connection is replaced", 2.0),
    Row("postgresql-restart", "503 `database-unavailable` while it is away, then nothing", 1.0),
    Row("postgresql-terminated-mid-query", REPEATED, 1.0),
    Row("postgresql-terminated-at-commit", UNKNOWN, 1.0),
    Row("postgresql-refuses-statement-timeout", REFUSED, 1.0),
    Row("postgresql-refuses-lock-timeout", REFUSED, 1.0),
    Row("postgresql-refuses-read-only", REFUSED, 1.0),
    Row("postgresql-refuses-serialization-failure", REFUSED, 1.0),
    Row("postgresql-too-many-connections", REFUSED, 1.0),
    Row("redis-away-refuse", FIRST_PAYS, 0.3, added=True),
    Row("redis-away-reset", FIRST_PAYS, 0.3, added=True),
    Row("redis-away-half-close", FIRST_PAYS, 0.3, added=True),
    Row("redis-away-blackhole", FIRST_PAYS, 0.3, added=True),
    Row("redis-away-latency", FIRST_PAYS, 0.3, added=True),
    Row("redis-away-drip", FIRST_PAYS, 0.3, added=True),
    Row("redis-mid-query-reset", FIRST_PAYS, 0.3, added=True),
    Row("redis-mid-query-blackhole", FIRST_PAYS, 0.3, added=True),
    Row("redis-at-commit-refuse", FIRST_PAYS, 0.3, added=True),
    Row("redis-at-commit-reset", FIRST_PAYS, 0.3, added=True),
    Row("redis-at-commit-blackhole", FIRST_PAYS, 0.3, added=True),
    Row("redis-rejects-demoted", FIRST_PAYS, 0.3, added=True),
    Row("redis-rejects-acl", FIRST_PAYS, 0.3, added=True),
    Row("redis-fails-over", "nothing: the new primary is used at once", 0.3, added=True),
    Row("redis-back", BACK, 0.3, added=True),
    Row("frozen-sandbox-read", NOTHING, 2.0),
    Row("frozen-sandbox-write", NOTHING, 2.0),
)


def rows(prefix: str) -> pytest.MarkDecorator:
    """Parametrises a test with the rows whose names begin so; the test's id is the row's name."""
    chosen = [row for row in ROWS if row.name.startswith(prefix)]
    assert chosen
    return pytest.mark.parametrize("row", chosen, ids=[row.name for row in chosen])


def markdown_table() -> str:
    head = "| fault | what a client sees | at most |\n|---|---|---|\n"
    return head + "".join(f"{row.markdown()}\n" for row in ROWS)
