"""Row counts beside random statements of every kind, in transactions that overlap."""

from collections.abc import Callable
from random import Random

import psycopg
import pytest

from shared.database.models import BLOCK_IDS
from tests.migrations.conftest import Schema
from tests.migrations.counts import assert_counts_are_exact

OPERATIONS = 120
SESSIONS = 3
LONGEST_TRANSACTION = 4
CHECK_EVERY = 10
REJECTED = (
    psycopg.errors.CheckViolation,
    psycopg.errors.FeatureNotSupported,  # TRUNCATE in another isolation level
    psycopg.errors.ForeignKeyViolation,
    psycopg.errors.GeneratedAlways,  # a change of an id
    psycopg.errors.LockNotAvailable,
    psycopg.errors.SerializationFailure,
    psycopg.errors.UniqueViolation,
)
WRITERS = "INSERT INTO public.writers (name, email, created_at)"
NEW = "'Ada', gen_random_uuid()"
DATE = "now() - random() * interval '1 year'"
STATEMENTS: tuple[Callable[[Random], str], ...] = (
    lambda _: f"{WRITERS} VALUES ({NEW}, {DATE})",
    lambda random: f"{WRITERS} SELECT {NEW}, {DATE} FROM generate_series(1, {rows(random)})",
    lambda random: (
        "INSERT INTO public.writers (id, name, email) OVERRIDING SYSTEM VALUE"
        f" VALUES ({random.choice((an_id(random), an_id(random), 0, 2**63 - 1))}, {NEW})"
    ),
    lambda random: (
        f"WITH gone AS (DELETE FROM public.writers WHERE {few(random)} RETURNING name, email)"
        f" {WRITERS} SELECT name, 'again-' || email, {DATE} FROM gone"
    ),
    lambda random: (
        f"{WRITERS} SELECT {NEW}, {DATE} FROM public.writers WHERE {few(random)}"
        " ON CONFLICT DO NOTHING"
    ),
    lambda random: (
        "INSERT INTO public.writers (id, name, email) OVERRIDING SYSTEM VALUE"
        f" SELECT id, {NEW} FROM public.writers WHERE {few(random)}"
        f" ON CONFLICT (id) DO UPDATE SET created_at = {DATE}"
    ),
    lambda random: (
        "MERGE INTO public.writers"
        f" USING generate_series({an_id(random)}, {an_id(random)}, 97) AS n"
        " ON id = n WHEN MATCHED AND id % 2 = 0 THEN DELETE"
        f" WHEN MATCHED THEN UPDATE SET created_at = {DATE}"
        f" WHEN NOT MATCHED THEN INSERT (name, email) VALUES ({NEW})"
    ),
    lambda random: f"UPDATE public.writers SET created_at = {DATE} WHERE {few(random)}",
    lambda random: f"UPDATE public.writers SET id = DEFAULT WHERE {few(random)}",
    lambda random: f"DELETE FROM public.writers WHERE {few(random)}",
    lambda random: (
        "INSERT INTO public.articles (writer_id, title, content, created_at)"
        f" SELECT id, 'T', 'C', {DATE} FROM public.writers LIMIT {rows(random)}"
    ),
    lambda random: (
        f"UPDATE public.articles SET title = 'U', created_at = {DATE} WHERE {few(random)}"
    ),
    lambda random: f"DELETE FROM public.articles WHERE {few(random)}",
    lambda random: random.choice(("TRUNCATE public.articles", "TRUNCATE public.writers CASCADE")),
    lambda _: "COPY",
    lambda _: "SAVEPOINT here",
    lambda _: "ROLLBACK TO here",
)


def rows(random: Random) -> int:
    return random.choice((2, 30, 3000))


def an_id(random: Random) -> int:
    return random.randint(1, 3 * BLOCK_IDS)


def few(random: Random) -> str:
    first = an_id(random)
    return f"id BETWEEN {first} AND {first + random.choice((1, 50, BLOCK_IDS))}"


class Session:
    """A client with a random transaction at a time; no schema is on its search path."""

    def __init__(self, url: str, random: Random) -> None:
        self._random = random
        self._left = 0
        self._connection = psycopg.connect(url, autocommit=True)
        self._connection.execute("SET search_path = ''")
        self._connection.execute("SET lock_timeout = '20ms'")

    def goes_on(self) -> None:
        """By one statement, or to the end of the transaction."""
        try:
            if self._left == 0:
                level = self._random.choice(("READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"))
                self._connection.execute(f"BEGIN ISOLATION LEVEL {level}")
                self._connection.execute("SAVEPOINT here")
                self._left = self._random.randint(1, LONGEST_TRANSACTION)
            self._run(self._random.choice(STATEMENTS)(self._random))
            self._left -= 1
            if self._left == 0:
                self._connection.execute(self._random.choice(("COMMIT", "COMMIT", "ROLLBACK")))
        except REJECTED:
            self.gives_up()

    def gives_up(self) -> None:
        self._connection.execute("ROLLBACK")
        self._left = 0

    def _run(self, statement: str) -> None:
        if statement != "COPY":
            self._connection.execute(statement)
            return
        with self._connection.cursor().copy("COPY public.writers (name, email) FROM STDIN") as copy:
            for _ in range(rows(self._random)):
                copy.write_row(("Ada", str(self._random.random())))

    def close(self) -> None:
        self._connection.close()


@pytest.mark.parametrize("seed", range(3))
def test_row_counts_are_exact_whatever_is_written(
    example: Schema, empty_url: str, seed: int
) -> None:
    random = Random(seed)
    sessions = [Session(empty_url, random) for _ in range(SESSIONS)]
    for number in range(OPERATIONS):
        random.choice(sessions).goes_on()
        if number % CHECK_EVERY == 0:
            assert_counts_are_exact(example)
    for session in sessions:
        session.gives_up()
        session.close()
    assert_counts_are_exact(example)
    assert example.execute("SELECT count(*) FROM row_counts").fetchone() != (0,)
