"""The migrated schema: as the models declare it, with indexes that queries use."""

from collections.abc import Callable

import psycopg
import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Table, create_engine

from local.generate.catalog import differences
from local.services import Services
from migrations.handler import handler
from migrations.triggers import (
    forget_responses_by_key,
    forget_responses_of,
    forget_responses_when_set,
)
from shared.cache.scripts import FENCE_SECONDS
from shared.database.models import BLOCK_IDS, METADATA
from shared.database.paged_query import has_row_counts
from shared.database.server import database_url
from tests.conftest import Worker
from tests.migrations.conftest import Migrate, Schema, new_database
from tests.migrations.counts import assert_counts_are_exact, counted
from tests.resources import RESOURCE_TABLES, values_of


def test_models_and_migrations_make_the_same_schema(migrated_url: str) -> None:
    engine = create_engine(migrated_url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        found = differences(connection, METADATA)
    engine.dispose()
    assert list(map(str, found)) == []


def test_a_fence_outlives_any_transaction(migrated: Schema) -> None:
    row = migrated.execute(
        "SELECT extract(epoch FROM current_setting('transaction_timeout')::interval)"
    ).fetchone()
    assert row is not None
    assert 0 < row[0] < FENCE_SECONDS


def test_every_session_has_the_settings(migrated: Schema) -> None:
    settings = {
        "TimeZone": "UTC",
        "statement_timeout": "8s",
        "transaction_timeout": "9s",
        "idle_in_transaction_session_timeout": "5s",
        "lock_timeout": "3s",
        "jit": "off",
    }
    found = migrated.execute(
        "SELECT name, current_setting(name) FROM unnest(%s::text[]) name", [list(settings)]
    )
    assert dict(found.fetchall()) == settings


def test_every_cascade_finds_its_rows_by_an_index(migrated: Schema) -> None:
    indexed = migrated.execute(
        "SELECT i.indrelid::regclass::text, a.attname FROM pg_index i"
        " JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]"
    ).fetchall()
    references = [
        (table.name, column.name)
        for table in RESOURCE_TABLES
        for column in table.columns
        if column.foreign_keys
    ]
    assert set(references) <= set(indexed)


@pytest.mark.parametrize("table", [one for one in RESOURCE_TABLES if has_row_counts(one)], ids=str)
def test_ids_are_generated_and_within_the_range_of_pages(migrated: Schema, table: Table) -> None:
    columns, values = zip(*values_of(table).items(), strict=True)
    insert = f"INSERT INTO {table.name} (id, {', '.join(columns)})"
    rows = f"{', '.join(values)} FROM generate_series(1, 1) n"
    with pytest.raises(psycopg.errors.GeneratedAlways):
        migrated.execute(f"{insert} SELECT 7, {rows}".encode())
    for row_id in (-1, 0, 2**63 - BLOCK_IDS, 2**63 - 1):
        statement = f"{insert} OVERRIDING SYSTEM VALUE SELECT {row_id}, {rows}"
        with pytest.raises(psycopg.errors.CheckViolation, match=f"{table.name}_id_range"):
            migrated.execute(statement.encode())


def test_row_counts_are_exact_whatever_writes(example: Schema, empty_url: str) -> None:
    insert = INSERT_WRITERS
    example.execute(insert, [10])
    with psycopg.connect(empty_url, autocommit=True) as other:  # another shard
        other.execute(insert, [5])
        other.execute("DELETE FROM writers WHERE id <= 3")
    with example.cursor().copy("COPY writers (name, email) FROM STDIN") as copy:
        copy.write_row(("C", "copied@example.org"))
    example.execute(
        "INSERT INTO articles (writer_id, title, content) SELECT id, 'T', 'C' FROM writers"
    )
    example.execute("DELETE FROM writers WHERE id = 4")  # cascades
    example.execute("DELETE FROM writers WHERE id = 4")  # nothing

    assert (counted(example, "writers"), counted(example, "articles")) == (12, 12)
    example.execute("TRUNCATE articles CASCADE")
    assert (counted(example, "writers"), counted(example, "articles")) == (12, 0)
    example.execute("INSERT INTO articles (writer_id, title, content) VALUES (5, 'T', 'C')")
    example.execute("TRUNCATE writers CASCADE")
    assert (counted(example, "writers"), counted(example, "articles")) == (0, 0)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE writers SET id = DEFAULT",
        "INSERT INTO writers (id, name, email) OVERRIDING SYSTEM VALUE VALUES (1, 'B', 'b')"
        " ON CONFLICT (id) DO UPDATE SET id = DEFAULT",
        "MERGE INTO writers USING generate_series(1, 9) n ON id = n"
        " WHEN MATCHED THEN UPDATE SET id = DEFAULT",
        "UPDATE articles SET title = 'U', id = DEFAULT",
    ],
)
def test_ids_never_change(example: Schema, statement: str) -> None:
    example.execute("INSERT INTO writers (name, email) VALUES ('A', 'a@example.org')")
    example.execute("INSERT INTO articles (writer_id, title, content) VALUES (1, 'T', 'C')")
    with pytest.raises(
        psycopg.errors.GeneratedAlways, match=r"ids of (writers|articles) never change"
    ):
        example.execute(statement)
    assert_counts_are_exact(example)


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_truncate_is_rejected_where_its_snapshot_could_miss_counts(
    example: Schema, empty_url: str, level: str
) -> None:
    with psycopg.connect(empty_url) as other:
        other.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
        other.execute("SELECT FROM writers")
        example.execute("INSERT INTO writers (name, email) VALUES ('A', 'a@example.org')")
        with pytest.raises(psycopg.errors.FeatureNotSupported, match="READ COMMITTED"):
            other.execute("TRUNCATE writers CASCADE")
    assert_counts_are_exact(example)
    example.execute("TRUNCATE writers CASCADE")
    assert_counts_are_exact(example)
    assert counted(example, "writers") == 0


def test_rows_that_are_written_to_the_counts_from_outside_are_ignored(example: Schema) -> None:
    example.execute("INSERT INTO writers (name, email) VALUES ('A', 'a@example.org')")
    example.execute("INSERT INTO row_counts SELECT 'writers', 7, 0, 42, now(), now()")
    assert counted(example, "writers") == 1


BLOCKS = """
SELECT block, sum(row_count)::int, min(oldest), max(newest) FROM row_counts
WHERE table_name = 'writers' GROUP BY block HAVING sum(row_count) > 0 ORDER BY block
"""
BLOCKS_COUNTED = f"""
SELECT id / {BLOCK_IDS}, count(*)::int, min(created_at), max(created_at) FROM writers
GROUP BY 1 ORDER BY 1
"""
INSERT_WRITERS = """
INSERT INTO writers (name, email, created_at)
SELECT 'A', gen_random_uuid(), now() - n * interval '1 minute' FROM generate_series(1, %s) n
"""


def test_each_id_range_has_its_count_and_span(example: Schema) -> None:
    example.execute(INSERT_WRITERS, [2 * BLOCK_IDS])
    assert len(example.execute(BLOCKS).fetchall()) == 3
    assert example.execute(BLOCKS).fetchall() == example.execute(BLOCKS_COUNTED).fetchall()


def test_an_id_range_spans_dates_that_were_changed(example: Schema) -> None:
    example.execute(INSERT_WRITERS, [10])
    example.execute("UPDATE writers SET created_at = '2001-01-01' WHERE id = 3")
    example.execute("UPDATE writers SET created_at = '2100-01-01' WHERE id = 4")
    example.execute("UPDATE writers SET name = 'B'")
    assert example.execute(BLOCKS).fetchall() == example.execute(BLOCKS_COUNTED).fetchall()


def test_the_shards_of_a_finished_id_range_are_merged(example: Schema, empty_url: str) -> None:
    for writers in (BLOCK_IDS - 10, BLOCK_IDS, BLOCK_IDS, 10):
        with psycopg.connect(empty_url, autocommit=True) as another_shard:
            another_shard.execute(INSERT_WRITERS, [writers])
    shards = example.execute(
        "SELECT block, array_agg(shard >= 0) FROM row_counts GROUP BY block ORDER BY block"
    ).fetchall()

    assert shards[0] == (0, [False])
    assert shards[-1][1] == [True] * len(shards[-1][1])
    assert example.execute(BLOCKS).fetchall() == example.execute(BLOCKS_COUNTED).fetchall()


def test_a_shard_in_use_is_left_for_the_next_time(example: Schema, empty_url: str) -> None:
    with psycopg.connect(empty_url) as writer:
        writer.execute(INSERT_WRITERS, [20])
        writer.commit()
        writer.execute("DELETE FROM writers WHERE id <= 10")  # locks its shard
        example.execute("SET lock_timeout = '1s'")
        example.execute(INSERT_WRITERS, [3 * BLOCK_IDS])
    example.execute(INSERT_WRITERS, [BLOCK_IDS])
    assert example.execute(BLOCKS).fetchall() == example.execute(BLOCKS_COUNTED).fetchall()


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("Jo É", "j jo jo_ o o_ o_é _ _é é"),
        ("Weiß", "w we wei e ei eis i is iss s ss"),
        ("ΆΔΆ", "ά άδ άδά δ δά ά"),
        ("小", "小"),
        ("", ""),
    ],
)
def test_the_parts_of_a_name_are_its_letters_bigrams_and_trigrams(
    migrated: Schema, name: str, parts: str
) -> None:
    row = migrated.execute("SELECT DISTINCT name_parts(7, fold_case(%s))", [name]).fetchone()
    assert row is not None
    assert set(row[0]) == {f"7:{part.replace('_', ' ')}" for part in parts.split()}


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 7, 8, 11, 50, 200, 600])
def test_a_search_looks_up_few_parts(migrated: Schema, length: int) -> None:
    name = "".join(map(chr, range(0x4E00, 0x4E00 + length)))
    row = migrated.execute(
        "SELECT name_parts(7, %(name)s), search_parts(7, %(name)s)", {"name": name}
    ).fetchone()
    assert row is not None
    parts, searched = row
    assert set(searched) <= set(parts)
    assert 1 <= len(searched) <= 5
    assert {len(part) for part in searched} == {len("7:") + min(length, 3)}


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_case_is_folded_alike_whatever_the_databases_locale(
    services: Services, worker: Worker, locale: str
) -> None:
    options = f"TEMPLATE template0 LOCALE_PROVIDER libc LOCALE '{locale}'"
    with new_database(services, options) as url:
        worker.restart(DATABASE_URL=url)
        handler({}, None)
        with psycopg.connect(url) as connection:
            folded = connection.execute(
                "SELECT fold_case('ΓΙΏΡΓΟΣ ς ẞ ß İI\u0131 Жук ǅ')"
            ).fetchone()
    assert folded == ("γιώργο\u03c3 \u03c3 ss ss iii жук ǆ",)


def test_stored_responses_keep_their_resource_up_and_down(schema: Schema, migrate: Migrate) -> None:
    schema.execute(
        "INSERT INTO idempotency_keys (path, key, resource_id, fingerprint, body, expires_at)"
        " VALUES ('/writers', 'kept', 42, '\\x00', '{}', now()),"
        " ('/writers', 'forgotten', 7, NULL, NULL, now())"
    )
    migrate(action="downgrade", revision="0004")
    older = schema.execute("SELECT key, location, body FROM idempotency_keys").fetchall()
    assert older == [("kept", "/writers/42", "{}")]
    schema.execute("UPDATE idempotency_keys SET expires_at = now() + interval '1 day'")
    migrate()
    newer = schema.execute("SELECT key, resource_id, body FROM idempotency_keys").fetchall()
    assert newer == [("kept", 42, "{}")]


DELETE = "DELETE FROM made_rows WHERE id = %s"
SET = "UPDATE made_rows SET closed_at = now() WHERE id = %s"


@pytest.mark.parametrize(
    ("forget_responses", "arguments", "statement"),
    [
        pytest.param(forget_responses_of, (), DELETE, id="deleted by id"),
        pytest.param(forget_responses_by_key, ("code",), DELETE, id="deleted by key"),
        pytest.param(forget_responses_when_set, ("closed_at",), SET, id="closed"),
    ],
)
def test_stored_responses_are_found_by_their_index_however_few_there_were_before(
    schema: Schema,
    forget_responses: Callable[..., None],
    arguments: tuple[str, ...],
    statement: str,
) -> None:
    schema.execute(
        "CREATE TABLE made_rows (id bigint PRIMARY KEY, code text, closed_at timestamptz)"
    )
    engine = create_engine(database_url())
    with engine.begin() as connection, Operations.context(MigrationContext.configure(connection)):
        forget_responses("made_rows", *arguments)
    engine.dispose()
    schema.execute("INSERT INTO made_rows SELECT n, 'key-' || n FROM generate_series(1, 20) n")
    schema.execute("ALTER TABLE idempotency_keys SET (autovacuum_enabled = off)")
    schema.execute("VACUUM idempotency_keys")
    for row in range(1, 11):  # soon PostgreSQL would keep its plan
        schema.execute(statement, [row])
    schema.execute(
        "INSERT INTO idempotency_keys (path, key, resource_id, resource_key, body, expires_at)"
        " SELECT '/made_rows', n, n, 'key-' || n, '{}', now() FROM generate_series(1, 20000) n"
    )
    before = scans_of_keys(schema)
    schema.execute(statement, [20])
    assert scans_of_keys(schema) == before
    forgotten = "SELECT resource_id FROM idempotency_keys WHERE body IS NULL"
    assert schema.execute(forgotten).fetchall() == [(20,)]


def scans_of_keys(schema: Schema) -> object:
    """How often the whole table was read."""
    schema.execute("SELECT pg_stat_force_next_flush()")
    scans = "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'idempotency_keys'"
    return schema.execute(scans).fetchone()
