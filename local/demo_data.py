"""`python -m local demo-data`: fills the database with made-up users and posts.

Adds to what is there, in batches of `BATCH_ROWS`; each is one COPY and one transaction, so that
what was finished stays when a run ends early. Users' created_at ascends with their id within a
run, over three years up to now; posts go to the users of the same run, or without any to the
users that are there. Row counts stay exact, by the tables' own triggers. When `run` returns, no
page from before is cached.

Indexes and constraints stay in place while it loads: the API may run meanwhile.
"""

import argparse
import sys
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import chain, islice
from pathlib import Path
from random import Random
from time import monotonic
from typing import TYPE_CHECKING, Any

from local.console import Console
from local.demo_rows import CHUNK_ROWS, Authors, post_lines, user_lines
from local.errors import LocalError

# psycopg, redis and rich are imported where they are used: every command of `python -m local`
# imports this module for its arguments.
if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[Any]

LAYER = Path(__file__).parents[1] / "layers" / "blog"
DEFAULT_USERS = 10_000
DEFAULT_POSTS = 50_000
BATCH_ROWS = 100_000
NOTICE_EVERY_SECONDS = 5.0
REDIS_TIMEOUT_SECONDS = 3.0
ADVISORY_LOCK = 4_410_926_733  # any number that nothing else in the database locks

AUTHOR_SHARE = 0.35
"""The others only read."""
FEW_USERS = 100
"""Of so few every one may write."""
MAX_AUTHORS = 1_000_000
"""They are kept in memory, 24 bytes each."""

SESSION_SETTINGS = {
    # The database's own settings are for the API's short statements.
    "statement_timeout": "0",
    "transaction_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    # Of rows that are not on the disk yet VACUUM does not say that everybody sees them.
    "synchronous_commit": "on",
}

COPY_USERS = "COPY users (name, email, created_at) FROM STDIN"
COPY_POSTS = "COPY posts (user_id, title, content, created_at) FROM STDIN"
LAST_USER_ID = """
SELECT coalesce(greatest(
    (SELECT max(id) FROM users),
    pg_sequence_last_value(pg_get_serial_sequence('users', 'id')::regclass)
), 0)
"""
USERS_ABOVE = """
SELECT id, extract(epoch FROM created_at)::float8 FROM users
WHERE id > %s AND created_at <= %s ORDER BY created_at, id
"""
TOTAL = "SELECT coalesce(sum(row_count), 0)::bigint FROM row_counts WHERE table_name = %s"


@dataclass
class Loaded:
    """Rows of finished batches."""

    users: int = 0
    posts: int = 0

    def __str__(self) -> str:
        return f"{self.users:,} users and {self.posts:,} posts"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    for rows_name, count in (("users", DEFAULT_USERS), ("posts", DEFAULT_POSTS)):
        text = f"{rows_name} to add; default: {count}"
        parser.add_argument(
            f"--{rows_name}", type=_row_count, default=count, metavar="N", help=text
        )
    parser.add_argument(
        "--seed", type=int, metavar="N", help="any number: the same one makes up the same data"
    )


def run(arguments: argparse.Namespace, database_url: str, redis_url: str) -> int:
    """Returns the exit code 0. Raises LocalError, which says what of the run stays."""
    import psycopg

    console = Console()
    generation_keys = _generation_keys()
    loaded = Loaded()
    started = monotonic()
    try:
        with _session(database_url) as connection:
            try:
                _load(connection, arguments, console, loaded)
            finally:
                _end_cached_pages(redis_url, generation_keys, console)
            _vacuum(connection, console)
            totals = Loaded(_total(connection, "users"), _total(connection, "posts"))
    except psycopg.errors.UndefinedTable:
        raise LocalError("the database has no tables yet; run: make migrate") from None
    except psycopg.Error as error:
        reason = str(error).partition("\n")[0]
        raise LocalError(f"PostgreSQL: {reason} ({loaded} were added)") from None
    except BaseException as ending:
        # Ctrl-C: KeyboardInterrupt, or what the command line makes of the signal.
        if not isinstance(ending, Exception):
            console.step(f"Interrupted; what was finished stays: {loaded}")
        raise
    console.step(f"Added {loaded} in {monotonic() - started:.1f} s; there are {totals} now")
    return 0


def _row_count(argument: str) -> int:
    if not argument.isdecimal():
        raise argparse.ArgumentTypeError(f"{argument!r} is not a number of rows")
    return int(argument)


@contextmanager
def _session(database_url: str) -> Iterator["Connection"]:
    """Raises LocalError when another run is at work."""
    import psycopg

    with psycopg.connect(database_url, autocommit=True) as connection:
        for name, value in SESSION_SETTINGS.items():
            connection.execute(f"SET {name} = '{value}'")
        # Two runs at once would make up the same addresses.
        if not _value(connection, "SELECT pg_try_advisory_lock(%s)", ADVISORY_LOCK):
            raise LocalError("demo data is being loaded already; wait for it")
        yield connection


def _load(
    connection: "Connection", arguments: argparse.Namespace, console: Console, loaded: Loaded
) -> None:
    random = Random(arguments.seed)  # noqa: S311
    now = _value(connection, "SELECT now()")
    last_user_id = _value(connection, LAST_USER_ID)
    users = user_lines(random, arguments.users, last_user_id + 1, now)
    with _progress(console, "users", arguments.users) as advance:
        for batch_rows in _copy(connection, COPY_USERS, users, advance):
            loaded.users += batch_rows
    if not arguments.posts:
        return
    above_id = last_user_id if arguments.users else 0
    authors = _read_authors(connection, random, above_id, now)
    posts = post_lines(random, arguments.posts, authors, now)
    with _progress(console, "posts", arguments.posts) as advance:
        for batch_rows in _copy(connection, COPY_POSTS, posts, advance):
            loaded.posts += batch_rows


def _copy(
    connection: "Connection",
    statement: str,
    chunks: Iterator[list[str]],
    advance: Callable[[int], None],
) -> Iterator[int]:
    """Loads the chunks in batches; yields how many rows each had once it is committed."""
    for first in chunks:
        rows = 0
        batch = chain([first], islice(chunks, BATCH_ROWS // CHUNK_ROWS - 1))
        with (
            connection.transaction(),
            connection.cursor() as cursor,
            cursor.copy(statement) as copy,
        ):
            for lines in batch:
                copy.write("".join(lines))
                rows += len(lines)
                advance(len(lines))
        yield rows


def _read_authors(
    connection: "Connection", random: Random, above_id: int, now: datetime
) -> Authors:
    """Some of the users with ids above that one. Raises LocalError when there are none."""
    count = _value(connection, "SELECT count(*) FROM users WHERE id > %s", above_id)
    share = min(AUTHOR_SHARE, MAX_AUTHORS / count) if count > FEW_USERS else 1
    authors = Authors(array("q"), array("d"))
    with connection.transaction(), connection.cursor("authors") as cursor:
        cursor.itersize = CHUNK_ROWS
        for user_id, joined in cursor.execute(USERS_ABOVE, (above_id, now)):
            if random.random() < share:
                authors.ids.append(user_id)
                authors.joined.append(joined)
    if not authors.ids:
        raise LocalError("there are no users to write posts; add some: --users 1000")
    return authors


def _generation_keys() -> list[str]:
    # `python -m local` has the layer on its import path only when make calls it.
    sys.path.append(str(LAYER))
    from blog.cache import PageCache

    return [PageCache(name).generation_key for name in ("users", "posts")]


def _end_cached_pages(redis_url: str, generation_keys: list[str], console: Console) -> None:
    """A page that is being filled ends with its generation too: after COMMIT no fence is needed."""
    from redis import Redis, RedisError
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    try:
        with Redis.from_url(
            redis_url,
            socket_timeout=REDIS_TIMEOUT_SECONDS,
            socket_connect_timeout=REDIS_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 1),
        ) as client:
            client.delete(*generation_keys)
    except RedisError:
        console.notice("Redis does not answer: cached pages stay old until their time is over")


def _vacuum(connection: "Connection", console: Console) -> None:
    """For the planner's statistics, and for scans of indexes alone."""
    console.step("Analyzing the tables")
    connection.execute("VACUUM (ANALYZE) users, posts")


def _total(connection: "Connection", table: str) -> int:
    return int(_value(connection, TOTAL, table))


def _value(connection: "Connection", query: str, *parameters: object) -> Any:
    row = connection.execute(query, parameters).fetchone()
    assert row is not None
    return row[0]


@contextmanager
def _progress(console: Console, rows_name: str, total: int) -> Iterator[Callable[[int], None]]:
    """A function to call with each number of rows: a bar on a terminal, else a line at times."""
    from rich import progress
    from rich.console import Console as Terminal

    terminal = Terminal()
    if not terminal.is_terminal:
        yield _Notices(console, rows_name, total).advance
        return
    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=terminal) as bars:
        yield partial(bars.advance, bars.add_task(rows_name, total=total))


class _Notices:
    """A line every few seconds."""

    def __init__(self, console: Console, rows_name: str, total: int) -> None:
        self._console = console
        self._rows_name = rows_name
        self._total = total
        self._rows = 0
        self._noticed_at = monotonic()

    def advance(self, rows: int) -> None:
        self._rows += rows
        if monotonic() - self._noticed_at < NOTICE_EVERY_SECONDS:
            return
        self._noticed_at = monotonic()
        self._console.step(f"{self._rows:,} of {self._total:,} {self._rows_name}")
