"""`python -m local demo-data`: add fake users and posts to the database.

Rows are added to existing ones in batches of `BATCH_ROWS`, each one COPY in one transaction, so
that finished batches stay if a run is interrupted. The created_at of users ascends with their id
within a run, over three years up to now. The authors of posts are users of the same run or, without
any, existing users. Other columns that need a value get one of their type. The tables' triggers
keep row counts exact, and when `run` returns, no stale page is cached.

Indexes and constraints stay in place during the load: the API may run at the same time.
"""

import argparse
import os
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import partial
from itertools import chain, islice, repeat
from random import Random
from time import monotonic
from typing import TYPE_CHECKING, Any

from local.console import Console
from local.demo.rows import Authors, Post, User, post_rows, user_rows
from local.errors import LocalError

# psycopg, redis, rich and SQLAlchemy are imported where they are used: every command of
# `python -m local` imports this module for its arguments.
if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[Any]

BATCH_ROWS = 5_000
NOTICE_EVERY_SECONDS = 5.0
REDIS_TIMEOUT_SECONDS = 3.0
ADVISORY_LOCK = 4_410_926_733  # arbitrary, but unique in the database

DEFAULT_ROWS = {"users": 10_000, "posts": 50_000}
COLUMNS = {
    "users": ("name", "email", "created_at"),
    "posts": ("user_id", "title", "content", "created_at"),
}
"""The columns of a row's values; those that a table no longer has are left out."""

AUTHOR_SHARE = 0.35
"""The share of users who write posts; up to `FEW_USERS`, all of them do."""
FEW_USERS = 100
MAX_AUTHORS = 1_000_000
"""Authors are kept in memory, 16 bytes each."""

SESSION_SETTINGS = {
    # The database's own settings are for the API's short statements.
    "statement_timeout": "0",
    "transaction_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    # While it waits for an open transaction, requests wait for it.
    "lock_timeout": "10s",
    # VACUUM does not mark rows as visible to all transactions before they are on the disk.
    "synchronous_commit": "on",
}

LAST_ID = """
SELECT coalesce(greatest(
    (SELECT max(id) FROM {0}),
    pg_sequence_last_value(pg_get_serial_sequence('{0}', 'id')::regclass)
), 0)
"""
USERS_ABOVE = """
SELECT id, extract(epoch FROM created_at)::float8 FROM users
WHERE id > %s AND created_at <= %s ORDER BY created_at, id
"""
UNBUFFERED_INDEXES = """
SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
WHERE indrelid = %s::regclass AND 'fastupdate=false' = ANY (reloptions)
"""
TOTAL = "SELECT coalesce(sum(row_count), 0)::bigint FROM row_counts WHERE table_name = %s"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    for table, count in DEFAULT_ROWS.items():
        text = f"{table} to add; default: {count}"
        parser.add_argument(f"--{table}", type=_row_count, default=count, metavar="N", help=text)
    parser.add_argument(
        "--seed", type=int, metavar="N", help="any number: the same one gives the same data"
    )


def run(arguments: argparse.Namespace, database_url: str, redis_url: str) -> int:
    """Return the exit code 0. Raises LocalError, with the number of rows that were added."""
    import psycopg

    console = Console()
    loaded = Counter(dict.fromkeys(DEFAULT_ROWS, 0))
    started = monotonic()
    try:
        with _session(database_url) as connection:
            try:
                _load(connection, arguments, console, loaded)
            finally:
                _invalidate_pages(database_url, redis_url, console)
            # For the planner's statistics and for index-only scans.
            console.step("Analyzing the tables")
            connection.execute(f"VACUUM (ANALYZE) {', '.join(DEFAULT_ROWS)}")
            totals = {table: _value(connection, TOTAL, table) for table in DEFAULT_ROWS}
    except psycopg.errors.UndefinedTable:
        raise LocalError("the database has no tables yet; run: make migrate") from None
    except psycopg.Error as error:
        reason = str(error).partition("\n")[0]
        raise LocalError(f"PostgreSQL: {reason} ({_text(loaded)} were added)") from None
    except KeyboardInterrupt:
        console.step(f"Interrupted; {_text(loaded)} were added")
        raise
    seconds = monotonic() - started
    console.step(f"Added {_text(loaded)} in {seconds:.1f} s; there are {_text(totals)} now")
    return 0


def _row_count(argument: str) -> int:
    if not argument.isdecimal():
        raise argparse.ArgumentTypeError(f"{argument!r} is not a number of rows")
    return int(argument)


def _text(row_counts: dict[str, int]) -> str:
    return " and ".join(f"{count:,} {table}" for table, count in row_counts.items())


@contextmanager
def _session(database_url: str) -> Iterator["Connection"]:
    """Open a session. Raises LocalError if another run is in progress."""
    import psycopg

    with psycopg.connect(database_url, autocommit=True) as connection:
        for name, value in SESSION_SETTINGS.items():
            connection.execute(f"SET {name} = '{value}'")
        # Two concurrent runs would generate the same addresses.
        if not _value(connection, "SELECT pg_try_advisory_lock(%s)", ADVISORY_LOCK):
            raise LocalError("demo data is being loaded already; wait for it")
        try:
            yield connection
        finally:
            # Otherwise PostgreSQL releases it only some time after the connection was closed.
            with suppress(psycopg.Error):
                connection.execute("SELECT pg_advisory_unlock(%s)", (ADVISORY_LOCK,))


def _load(
    connection: "Connection",
    arguments: argparse.Namespace,
    console: Console,
    loaded: dict[str, int],
) -> None:
    """Counts the rows in `loaded`, batch by batch."""

    def copy(table: str, rows: Iterable[User | Post], total: int) -> None:
        with _progress(console, table, total) as advance:
            for batch_rows in _copy(connection, table, rows):
                loaded[table] += batch_rows
                advance(batch_rows)

    random = Random(arguments.seed)  # noqa: S311
    now = _value(connection, "SELECT now()")
    last_user_id = _value(connection, LAST_ID.format("users"))
    copy("users", user_rows(random, arguments.users, last_user_id + 1, now), arguments.users)
    if arguments.posts:
        authors = _authors(connection, random, last_user_id if arguments.users else 0, now)
        copy("posts", post_rows(random, arguments.posts, authors, now), arguments.posts)


def _copy(connection: "Connection", table: str, rows: Iterable[User | Post]) -> Iterator[int]:
    """Load the rows in batches; yield the size of each once it is committed."""
    from local.demo.columns import needed_values
    from shared.database.models import METADATA

    model, known = METADATA.tables[table], COLUMNS[table]
    kept = [number for number, name in enumerate(known) if name in model.columns]
    needed = needed_values(model, known)
    columns = ", ".join([*(known[number] for number in kept), *needed])
    rows = iter(rows)
    for first in rows:
        batch_rows = 0
        others = _numbered(connection, table, needed.values()) if needed else repeat(())
        with (
            connection.transaction(),
            _deferred_search_index(connection, table),
            connection.cursor() as cursor,
            cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy,
        ):
            batch = chain([first], islice(rows, BATCH_ROWS - 1))
            for row, more in zip(batch, others, strict=False):
                copy.write_row([*(row[number] for number in kept), *more])
                batch_rows += 1
        yield batch_rows


def _numbered(
    connection: "Connection", table: str, values: Iterable[str]
) -> Sequence[tuple[str, ...]]:
    """Return the texts of these values for the next rows of the table, by their ids."""
    last_id = _value(connection, LAST_ID.format(table))
    texts = ", ".join(f"({value})::text" for value in values)
    numbers = f"generate_series({last_id + 1}, {last_id + BATCH_ROWS}) n"
    return connection.execute(f"SELECT {texts} FROM {numbers}").fetchall()  # noqa: S608


@contextmanager
def _deferred_search_index(connection: "Connection", table: str) -> Iterator[None]:
    """Collect the index entries of a batch, and insert them together, in a third of the time.

    This is part of the transaction, so a killed load leaves the index unchanged. The cost: requests
    of a running API that use the table wait for the end of a batch, about 0.2 s.
    """
    indexes = [name for (name,) in connection.execute(UNBUFFERED_INDEXES, (table,))]
    for index in indexes:
        connection.execute(f"ALTER INDEX {index} SET (fastupdate = true)")
    yield
    for index in indexes:
        connection.execute(f"ALTER INDEX {index} SET (fastupdate = false)")
        connection.execute(f"SELECT gin_clean_pending_list('{index}')")


def _authors(connection: "Connection", random: Random, above_id: int, now: datetime) -> Authors:
    """Return some of the users above that id. Raises LocalError if there are none."""
    count = _value(connection, "SELECT count(*) FROM users WHERE id > %s", above_id)
    share = min(AUTHOR_SHARE, MAX_AUTHORS / count) if count > FEW_USERS else 1
    authors = Authors(array("q"), array("d"))
    with connection.transaction(), connection.cursor("authors") as cursor:
        cursor.itersize = BATCH_ROWS
        for user_id, joined in cursor.execute(USERS_ABOVE, (above_id, now)):
            if random.random() < share:
                authors.ids.append(user_id)
                authors.joined.append(joined)
    if not authors.ids:
        raise LocalError("there are no users to write posts; add some: --users 1000")
    return authors


def _invalidate_pages(database_url: str, redis_url: str, console: Console) -> None:
    """Void all pages; a page that is being populated is not stored."""
    from redis import Redis, RedisError
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    os.environ["DATABASE_URL"] = database_url  # required by the settings
    from shared.cache.scripts import ALL_TABLES, VOID_TABLES, key, new_token

    try:
        with Redis.from_url(
            redis_url,
            socket_timeout=REDIS_TIMEOUT_SECONDS,
            socket_connect_timeout=REDIS_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 1),
        ) as client:
            client.eval(VOID_TABLES.text, 1, key("generations"), new_token(), ALL_TABLES)
    except RedisError:
        console.notice("Redis does not respond: cached pages may be stale until they expire")


def _value(connection: "Connection", query: str, *parameters: object) -> Any:
    row = connection.execute(query, parameters).fetchone()
    assert row is not None
    return row[0]


@contextmanager
def _progress(console: Console, table: str, total: int) -> Iterator[Callable[[int], None]]:
    """Yield a function to call with the size of each batch: it advances a progress bar on a
    terminal, else it prints a line every few seconds."""
    from rich import progress
    from rich.console import Console as Terminal

    terminal = Terminal()
    if terminal.is_terminal:
        columns = (
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeRemainingColumn(),
        )
        with progress.Progress(*columns, console=terminal) as bars:
            yield partial(bars.advance, bars.add_task(table, total=total))
        return
    rows = 0
    printed_at = monotonic()

    def advance(batch_rows: int) -> None:
        nonlocal rows, printed_at
        rows += batch_rows
        if monotonic() - printed_at >= NOTICE_EVERY_SECONDS:
            printed_at = monotonic()
            console.step(f"{rows:,} of {total:,} {table}")

    yield advance
