"""Dumps by real pg_dump, and what holds in the databases into which they are restored."""

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from threading import Event
from time import monotonic, sleep

import psycopg
import pytest

from local.services import Services, running_services
from local.services.postgresql import postgres_binary
from migrations import upkeep
from migrations.handler import handler
from shared.database.driver import TIMEOUTS
from shared.database.models import METADATA
from tests.conftest import Worker
from tests.example.models import EXAMPLE, create_tables
from tests.migrations.conftest import Migrate, Schema, new_database
from tests.migrations.counts import assert_counts_are_exact, counted
from tests.migrations.test_handler import AT_HEAD, settings
from tests.resources import values_of

COUNT = 5000
ROWS = f"""
INSERT INTO writers (name, email, created_at)
SELECT 'Ada', gen_random_uuid(), now() - n * interval '1 minute' FROM generate_series(1, {COUNT}) n;
INSERT INTO articles (writer_id, title, content) SELECT id, 'T', 'C' FROM writers WHERE id > 10;
DELETE FROM writers WHERE id % 3 = 0
"""
DATA = ("--data-only", "--exclude-table=alembic_version")


def dump(url: str, *options: str) -> bytes:
    command = [str(postgres_binary("pg_dump")), "--no-owner", *options, "-d", url]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout


def load(url: str, script: bytes) -> None:
    """Raises CalledProcessError at the first statement that fails."""
    command = [str(postgres_binary("psql")), "--no-psqlrc", "-v", "ON_ERROR_STOP=1", "-d", url]
    subprocess.run(command, input=script, stdout=subprocess.PIPE, check=True)


def wait_for_lock(connection: Schema) -> None:
    """Until a session waits for a table's lock."""
    deadline = monotonic() + 10
    waiting = "SELECT FROM pg_locks WHERE locktype = 'relation' AND NOT granted"
    while not connection.execute(waiting).rowcount:
        assert monotonic() < deadline


@pytest.fixture(autouse=True)
def _example_is_repaired(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "METADATA", EXAMPLE)


@pytest.fixture
def target_url(services: Services) -> Iterator[str]:
    with new_database(services) as url:
        yield url


@pytest.fixture
def migrate_target(worker: Worker, schema: Schema, target_url: str) -> Migrate:
    """Migrate the dump's target; its source is migrated."""
    worker.restart(DATABASE_URL=target_url)
    return lambda **event: handler(event, None)


@pytest.fixture
def source(example: Schema) -> Schema:
    example.execute(ROWS)
    return example


@pytest.mark.parametrize(
    "options",
    [DATA, (*DATA, "--disable-triggers"), (*DATA, "--inserts", "--rows-per-insert=500")],
    ids=["copy", "disabled-triggers", "inserts"],
)
def test_data_is_restored_into_a_migrated_database_with_exact_counts(
    source: Schema, empty_url: str, target_url: str, migrate_target: Migrate, options: list[str]
) -> None:
    migrate_target()
    create_tables()
    load(target_url, dump(empty_url, *options))
    with psycopg.connect(target_url) as target:
        assert_counts_are_exact(target)
        assert counted(target, "writers") == counted(source, "writers") > COUNT / 2
        assert counted(target, "articles") == counted(source, "articles")
    assert migrate_target() == AT_HEAD


def test_a_whole_dump_is_restored_with_exact_counts_and_gets_its_settings_from_the_migrations(
    source: Schema, empty_url: str, target_url: str, migrate_target: Migrate
) -> None:
    load(target_url, dump(empty_url))
    assert settings(target_url) == {}
    assert migrate_target()["repaired"] == [f"setting {name}" for name in [*TIMEOUTS, "jit"]]
    assert settings(target_url) == {**TIMEOUTS, "jit": "off"}
    assert migrate_target() == AT_HEAD

    with psycopg.connect(target_url, autocommit=True) as target:
        assert_counts_are_exact(target)
        assert counted(target, "writers") == counted(source, "writers")
        target.execute("DELETE FROM writers WHERE id < 100")
        target.execute(ROWS)
        assert_counts_are_exact(target)


def test_tables_without_their_counts_are_counted_by_the_migrations(
    source: Schema, empty_url: str, target_url: str, migrate_target: Migrate
) -> None:
    migrate_target()
    create_tables()
    tables = ("--table=writers", "--table=articles", "--disable-triggers")
    load(target_url, dump(empty_url, *DATA, *tables))
    with psycopg.connect(target_url, autocommit=True) as target:
        assert counted(target, "writers") == 0
        assert migrate_target()["repaired"] == ["row_counts of writers", "row_counts of articles"]
        assert_counts_are_exact(target)
        assert counted(target, "writers") == counted(source, "writers")
    assert migrate_target() == AT_HEAD


@pytest.fixture
def logical(tmp_path: Path, services: Services, worker: Worker) -> Iterator[tuple[str, str]]:
    """URLs of two migrated databases on a server that can replicate them."""

    def server() -> AbstractContextManager[Services]:
        return running_services(tmp_path, redis_url=services.redis_url, ephemeral=True)

    with server() as first, psycopg.connect(first.database_url, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET wal_level = logical")
        connection.execute("CREATE DATABASE replica")
    with server() as restarted:
        replica_url = restarted.database_url.replace("/blog?", "/replica?")
        for url in (restarted.database_url, replica_url):
            worker.restart(DATABASE_URL=url)
            handler({}, None)
            create_tables()
        yield restarted.database_url, replica_url


def test_a_logical_replica_has_exact_counts_and_keeps_them_when_it_takes_over(
    logical: tuple[str, str],
) -> None:
    source_url, replica_url = logical
    with (
        psycopg.connect(source_url, autocommit=True) as source,
        psycopg.connect(replica_url, autocommit=True) as replica,
    ):
        source.execute(ROWS)
        source.execute("CREATE PUBLICATION all_tables FOR ALL TABLES")
        source.execute("SELECT pg_create_logical_replication_slot('slot', 'pgoutput')")
        replica.execute("DELETE FROM alembic_version")
        # As the server reaches it: another user than ours may not pass through what is above.
        settings = "current_setting('data_directory'), current_setting('unix_socket_directories')"
        sockets = Path(*source.execute(f"SELECT {settings}").fetchall()[0])
        replica.execute(
            "CREATE SUBSCRIPTION all_tables"
            f" CONNECTION 'host={sockets} user=postgres dbname=blog'"
            " PUBLICATION all_tables WITH (create_slot = false, slot_name = slot)"
        )
        wait_until(replica, "SELECT every(srsubstate = 'r') FROM pg_subscription_rel")
        source.execute("DELETE FROM writers WHERE id < 1000")
        source.execute(ROWS)
        writers = counted(source, "writers")
        wait_until(replica, f"SELECT count(*) = {writers} FROM writers")

        replica.execute("ALTER SUBSCRIPTION all_tables DISABLE")
        replica.execute("ALTER SUBSCRIPTION all_tables SET (slot_name = NONE)")
        replica.execute("DROP SUBSCRIPTION all_tables")
        assert_counts_are_exact(replica)
        replica.execute("DELETE FROM writers WHERE id > 2000")
        assert_counts_are_exact(replica)
        sequences = ["sequence of articles.id", "sequence of writers.id"]
        assert handler({}, None) == AT_HEAD | {"repaired": sequences}
        replica.execute(ROWS)


def wait_until(connection: Schema, condition: str) -> None:
    deadline = monotonic() + 30
    while connection.execute(condition).fetchone() != (True,):
        assert monotonic() < deadline
        sleep(0.05)


def test_a_stricter_setting_of_the_operators_stays(
    schema: Schema, migrate: Migrate, empty_url: str
) -> None:
    database = schema.info.dbname
    schema.execute(f"ALTER DATABASE {database} SET statement_timeout = '2s'")
    schema.execute(f"ALTER DATABASE {database} SET transaction_timeout = '1min'")
    schema.execute(f"ALTER DATABASE {database} RESET lock_timeout")
    assert sorted(migrate()["repaired"]) == ["setting lock_timeout", "setting transaction_timeout"]
    assert settings(empty_url) | {"statement_timeout": "2s"} == settings(empty_url)
    assert settings(empty_url)["transaction_timeout"] == "9s"


def test_writers_wait_for_a_recount_and_are_in_it(
    example: Schema, migrate: Migrate, empty_url: str
) -> None:
    example.execute("SET session_replication_role = replica")
    example.execute("INSERT INTO writers (name, email) VALUES ('A', 'a@example.org')")
    with psycopg.connect(empty_url) as writer:
        writer.execute("INSERT INTO writers (name, email) VALUES ('B', 'b@example.org')")
        with ThreadPoolExecutor() as threads:
            run = threads.submit(migrate)
            wait_for_lock(example)
            writer.commit()
            assert run.result()["repaired"] == ["row_counts of writers"]
    assert counted(example, "writers") == 2
    assert_counts_are_exact(example)


IDENTITIES = [
    (table.name, column.name)
    for table in METADATA.sorted_tables
    for column in table.columns
    if column.identity is not None
]


@pytest.mark.parametrize(("table", "column"), IDENTITIES)
def test_rows_that_were_imported_with_their_ids_leave_no_sequence_behind(
    schema: Schema, migrate: Migrate, table: str, column: str
) -> None:
    schema.execute("SET session_replication_role = replica")  # no foreign keys, no counts
    values = values_of(METADATA.tables[table])
    names = ", ".join(values)
    numbered = ", ".join(values.values())
    insert = f"INSERT INTO {table} ({column}, {names}) OVERRIDING SYSTEM VALUE"
    schema.execute(f"{insert} SELECT n, {numbered} FROM generate_series(5, 7) n".encode())
    assert f"sequence of {table}.{column}" in migrate()["repaired"]
    assert migrate() == AT_HEAD
    schema.execute(
        f"INSERT INTO {table} ({names}) SELECT {numbered} FROM (SELECT 8) _ (n)".encode()
    )
    assert schema.execute(f"SELECT max({column}) FROM {table}".encode()).fetchone() == (8,)


def test_a_sequence_that_is_ahead_stays(example: Schema, migrate: Migrate) -> None:
    example.execute("SELECT setval('writers_id_seq', 100, false)")
    assert migrate() == AT_HEAD
    example.execute("INSERT INTO writers (name, email) VALUES ('A', 'a@example.org')")
    assert example.execute("SELECT id FROM writers").fetchone() == (100,)
    example.execute("DELETE FROM writers")
    assert migrate() == AT_HEAD
    row = example.execute("INSERT INTO writers (name, email) VALUES ('A', 'a@e') RETURNING id")
    assert row.fetchone() == (101,)


def test_a_sequence_is_repaired_while_others_insert_and_no_id_is_given_twice(
    example: Schema, migrate: Migrate, empty_url: str
) -> None:
    """An import is still open when the migrations begin; another writer inserts all the while."""
    stop = Event()
    given: list[int] = []

    def insert() -> None:
        with psycopg.connect(empty_url, autocommit=True) as writer:
            while not stop.is_set():
                email = f"{len(given)}@example.org"
                with suppress(psycopg.errors.UniqueViolation):
                    statement = "INSERT INTO writers (name, email) VALUES ('A', %s) RETURNING id"
                    given.extend(writer.execute(statement, [email]).fetchone() or ())

    with psycopg.connect(empty_url) as importer, ThreadPoolExecutor() as threads:
        importer.execute(
            "INSERT INTO writers (id, name, email) OVERRIDING SYSTEM VALUE"
            " SELECT n, 'A', n || '@import' FROM generate_series(1, 500) n"
        )
        example.execute(
            "INSERT INTO writers (id, name, email) OVERRIDING SYSTEM VALUE VALUES (600, 'A', 'a')"
        )
        writing = threads.submit(insert)
        run = threads.submit(migrate)
        wait_for_lock(example)
        importer.commit()
        assert "sequence of writers.id" in run.result()["repaired"]
        reached = len(given) + 20
        while len(given) < reached:
            assert not writing.done()
        stop.set()
        writing.result()
    assert given == sorted(set(given))
    assert min(given[-20:]) > 600
