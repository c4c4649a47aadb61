"""Demo data: how much of it there is, what it looks like, and how a load ends early."""

import argparse
import tracemalloc
import unicodedata
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from pydantic import TypeAdapter
from sqlalchemy import (
    ARRAY,
    Boolean,
    Column,
    ForeignKey,
    MetaData,
    Numeric,
    Table,
    Text,
    false,
    func,
)

from local.__main__ import main
from local.demo import data as demo_data
from local.demo.rows import (
    EMAIL_DOMAINS,
    RAREST_NAME,
    Authors,
    Post,
    User,
    post_rows,
    user_rows,
)
from local.errors import LocalError
from local.services import Services
from shared.database import models
from shared.database.models import METADATA
from shared.http.fields import Content, EmailAddress, Name, Title
from tests.layer.test_database_url import SCHEMES, in_form
from tests.resources import EMPTY

Database = psycopg.Connection[Any]
Load = Callable[..., None]

NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)
MEGABYTE = 1_000_000


@pytest.fixture
def load(services: Services, database: Database, cache: object) -> Load:
    """Loads demo data as the command line would, into the emptied database."""

    def load(*arguments: str) -> None:
        assert demo_data.run(parsed(*arguments), services.database_url, services.redis_url) == 0

    return load


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    demo_data.add_arguments(parser)
    return parser.parse_args(arguments)


def test_the_defaults_are_10_000_users_and_50_000_posts_and_no_seed() -> None:
    assert vars(parsed()) == {"users": 10_000, "posts": 50_000, "seed": None}


@pytest.mark.parametrize("count", ["-1", "many", "1.5", ""])
def test_an_invalid_number_of_rows_is_rejected(
    count: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parsed("--users", count)
    assert f"{count!r} is not a number of rows" in capsys.readouterr().err


def test_there_are_exactly_as_many_rows_as_asked_for(load: Load, database: Database) -> None:
    load("--users", "1234", "--posts", "2345")

    assert rows_and_totals(database) == {"users": (1234, 1234), "posts": (2345, 2345)}


def test_columns_of_which_it_knows_nothing_are_filled_if_they_must_be(
    load: Load, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = MetaData()
    users = METADATA.tables["users"].to_metadata(tables)
    posts = METADATA.tables["posts"].to_metadata(tables)
    users.append_column(Column("slug", Text, nullable=False))
    users.append_column(Column("plan", Text, nullable=False, info={models.ROW_VALUE: "'FREE'"}))
    posts.append_column(Column("prices", ARRAY(Numeric(10, 2)), nullable=False))
    posts.append_column(Column("editor_id", ForeignKey("users.id"), nullable=False))
    posts.append_column(Column("motto", Text))
    posts.append_column(Column("hidden", Boolean, nullable=False, server_default=false()))
    monkeypatch.setattr(models, "METADATA", tables)
    database.execute(
        "ALTER TABLE users ADD COLUMN slug text NOT NULL UNIQUE,"
        "ADD COLUMN plan text NOT NULL CHECK (plan = 'FREE');"
        "ALTER TABLE posts ADD COLUMN prices numeric(10, 2)[] NOT NULL, "
        "ADD COLUMN editor_id bigint NOT NULL REFERENCES users, ADD COLUMN motto text, "
        "ADD COLUMN hidden boolean NOT NULL DEFAULT false"
    )
    try:
        load("--users", "3", "--posts", "3")
        load("--users", "3", "--posts", "0")
        slugs = [f"slug {number}" for number in range(1, 7)]
        assert [slug for (slug,) in database.execute("SELECT slug FROM users ORDER BY id")] == slugs
        rows = database.execute("SELECT prices, editor_id, motto, hidden FROM posts ORDER BY id")
        assert rows.fetchall() == [([number], 1, None, False) for number in (1, 2, 3)]
    finally:
        database.execute(
            "ALTER TABLE posts DROP prices, DROP editor_id, DROP motto, DROP hidden;"
            "ALTER TABLE users DROP slug, DROP plan"
        )


def test_a_column_that_a_table_no_longer_has_is_left_out(
    load: Load, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    renamed = Table(
        "posts",
        MetaData(),
        *(
            Column(
                "headline" if column.name == "title" else column.name,
                column.type,
                nullable=False,
                server_default=column.server_default and func.now(),
            )
            for column in METADATA.tables["posts"].columns
            if column.name != "id"
        ),
    )
    tables = {**METADATA.tables, "posts": renamed}
    monkeypatch.setattr(models, "METADATA", SimpleNamespace(tables=tables))
    database.execute("ALTER TABLE posts RENAME title TO headline")
    try:
        load("--users", "3", "--posts", "2")
        rows = database.execute("SELECT headline FROM posts ORDER BY id").fetchall()
        assert rows == [("headline 1",), ("headline 2",)]
    finally:
        database.execute("ALTER TABLE posts RENAME headline TO title")


def test_the_last_line_has_what_was_added_and_the_totals(
    load: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    load("--users", "1000", "--posts", "20")
    load("--users", "500", "--posts", "0")

    last_line = capsys.readouterr().out.splitlines()[-1]
    assert "Added 500 users and 0 posts in " in last_line
    assert last_line.endswith("there are 1,500 users and 20 posts now")


def test_running_twice_adds_users_with_other_addresses(load: Load, database: Database) -> None:
    load("--users", "150", "--posts", "10", "--seed", "1")
    load("--users", "150", "--posts", "10", "--seed", "1")

    addresses = column(database, "SELECT lower(email) FROM users")
    assert len(set(addresses)) == 300
    assert rows_and_totals(database) == {"users": (300, 300), "posts": (20, 20)}


def test_a_run_may_start_as_soon_as_another_has_ended(load: Load, database: Database) -> None:
    for _ in range(5):
        load("--users", "1", "--posts", "0")
        assert column(database, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [0]


def test_addresses_are_new_after_users_were_deleted(load: Load, database: Database) -> None:
    load("--users", "50", "--posts", "0")
    database.execute("DELETE FROM users WHERE id % 2 = 0")
    load("--users", "50", "--posts", "0")

    assert rows_and_totals(database)["users"] == (75, 75)


def test_the_same_seed_gives_the_same_data(load: Load, database: Database) -> None:
    def loaded(seed: str) -> list[Any]:
        database.execute(EMPTY)
        load("--users", "110", "--posts", "110", "--seed", seed)
        users = database.execute("SELECT id, name, email FROM users ORDER BY id").fetchall()
        posts = database.execute("SELECT id, title, content FROM posts ORDER BY id").fetchall()
        return users + posts

    first = loaded("7")
    assert loaded("7") == first
    assert loaded("8") != first


def test_all_texts_are_valid_for_the_api() -> None:
    names, addresses, _ = zip(*users_of(2000), strict=True)
    _, titles, contents, _ = zip(*posts_of(500, authors=100), strict=True)

    for found, text_type in (
        (names, Name),
        (addresses, EmailAddress),
        (titles, Title),
        (contents, Content),
    ):
        texts = [*map(str, found)]
        assert TypeAdapter(list[text_type]).validate_python(texts) == texts  # type: ignore[valid-type]
        assert all(unicodedata.is_normalized("NFC", text) for text in texts)
        assert not any("\\" in text or "{" in text for text in texts)


def test_names_are_of_many_scripts_some_common_and_one_unique() -> None:
    names = [name for name, *_ in users_of(10_000)]
    frequency = Counter(names)
    assert frequency.most_common(1)[0][1] > 20
    assert sum(1 for count in frequency.values() if count == 1) > 1000
    assert frequency[RAREST_NAME] == 1
    scripts = {unicodedata.name(character).split()[0] for character in set("".join(names))}
    assert {"LATIN", "CYRILLIC", "GREEK", "ARABIC", "HEBREW", "DEVANAGARI", "THAI"} <= scripts
    assert {"CJK", "HIRAGANA", "HANGUL"} <= scripts


def test_a_few_users_write_most_posts() -> None:
    written = Counter(author for author, *_ in posts_of(10_000, authors=2000))
    assert len(written) < 1800
    assert 100 < max(written.values()) < 2000


def test_contents_differ_in_length_and_some_have_paragraphs() -> None:
    contents = [content for _, _, content, _ in posts_of(1000, authors=10)]
    assert min(map(len, contents)) < 80
    assert max(map(len, contents)) > 1000
    assert any("\n\n" in content for content in contents)


@pytest.mark.parametrize("table", ["users", "posts"])
def test_rows_are_in_the_order_of_time(load: Load, database: Database, table: str) -> None:
    load("--users", "150", "--posts", "300")

    times = column(database, f"SELECT created_at FROM {table} ORDER BY id")
    assert times == sorted(times)
    assert times[-1] <= datetime.now(UTC)


def test_users_joined_over_three_years_ever_more_of_them() -> None:
    times = [joined_at for *_, joined_at in users_of(2000)]
    assert times[-1] - times[0] == pytest.approx(timedelta(days=3 * 365), abs=timedelta(days=30))
    assert times[1000] > times[0] + (times[-1] - times[0]) * 0.6
    assert times[-10] > NOW - timedelta(days=7)


def test_no_post_is_older_than_its_author(load: Load, database: Database) -> None:
    load("--users", "100", "--posts", "1000")

    query = "SELECT posts.id FROM posts JOIN users ON users.id = user_id"
    assert column(database, f"{query} WHERE posts.created_at < users.created_at") == []


def test_posts_without_new_users_get_existing_ones(load: Load, database: Database) -> None:
    database.execute(
        "INSERT INTO users (name, email, created_at)"
        " VALUES ('A', 'a@example.org', now() - interval '1 day'), ('B', 'b@example.org', now())"
    )
    load("--users", "0", "--posts", "200")

    assert set(column(database, "SELECT user_id FROM posts")) <= {1, 2}
    assert rows_and_totals(database) == {"users": (2, 2), "posts": (200, 200)}


def test_posts_with_new_users_get_these(load: Load, database: Database) -> None:
    load("--users", "100", "--posts", "0")
    load("--users", "100", "--posts", "500")

    assert min(column(database, "SELECT user_id FROM posts")) > 100


def test_posts_without_any_user_are_an_error_of_one_line(load: Load) -> None:
    with pytest.raises(LocalError, match=r"^there are no users to write posts.*--users 1000$"):
        load("--users", "0", "--posts", "1")


def test_adding_no_rows_is_allowed(load: Load, database: Database) -> None:
    load("--users", "0", "--posts", "0")

    assert rows_and_totals(database) == {"users": (0, 0), "posts": (0, 0)}


def test_a_database_without_tables_is_an_error_that_names_the_solution(
    services: Services, database: Database
) -> None:
    database.execute("CREATE DATABASE without_tables")
    url = make_conninfo(services.database_url, dbname="without_tables")
    try:
        with pytest.raises(
            LocalError, match=r"^the database has no tables yet; run: make migrate$"
        ):
            demo_data.run(parsed(), url, services.redis_url)
    finally:
        database.execute("DROP DATABASE without_tables")


def test_an_error_of_the_database_is_one_line_with_the_rows_that_stay(
    load: Load, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_data, "BATCH_ROWS", 1000)
    # The address of the user in the middle of 2990, whose name is always the same.
    serial = 2990 // 2 + len(EMAIL_DOMAINS) + 1
    address = f"{RAREST_NAME.lower().replace(' ', '.')}{serial}"
    database.execute(
        "INSERT INTO users (name, email)"
        " SELECT 'Z', %s || '@' || domain FROM unnest(%s::text[]) domain",
        (address, list(EMAIL_DOMAINS)),
    )
    with pytest.raises(
        LocalError, match=r"^PostgreSQL: .+ \(1,000 users and 0 posts were added\)$"
    ):
        load("--users", "2990", "--posts", "0")


def test_a_second_run_at_the_same_time_is_rejected(load: Load, database: Database) -> None:
    database.execute("SELECT pg_advisory_lock(%s)", (demo_data.ADVISORY_LOCK,))
    with pytest.raises(LocalError, match=r"^demo data is being loaded already"):
        load()


def test_an_interrupted_run_leaves_its_finished_batches(
    load: Load,
    database: Database,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*arguments: Any) -> Iterator[User]:
        yield from islice(user_rows(*arguments), 500)
        raise KeyboardInterrupt

    monkeypatch.setattr(demo_data, "user_rows", interrupted)
    monkeypatch.setattr(demo_data, "BATCH_ROWS", 200)
    with pytest.raises(KeyboardInterrupt):
        load("--users", "900", "--posts", "10")

    assert rows_and_totals(database) == {"users": (400, 400), "posts": (0, 0)}
    last_line = capsys.readouterr().out.splitlines()[-1]
    assert last_line.endswith("Interrupted; 400 users and 0 posts were added")


def test_cached_pages_from_before_are_invalidated(api: httpx.Client, load: Load) -> None:
    assert api.get("/users").json()["total"] == 0
    assert api.get("/posts").json()["total"] == 0

    load("--users", "40", "--posts", "60")

    users = api.get("/users").json()
    assert (users["total"], len(users["data"])) == (40, 10)
    assert api.get("/posts").json()["total"] == 60


def test_without_redis_the_data_is_loaded_nevertheless(
    services: Services, database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = f"unix://{tmp_path}/valkey.sock"
    demo_data.run(parsed("--users", "10", "--posts", "10"), services.database_url, nowhere)

    assert rows_and_totals(database) == {"users": (10, 10), "posts": (10, 10)}
    assert "Redis does not respond" in capsys.readouterr().out


def test_the_planner_knows_the_tables_afterwards(load: Load, database: Database) -> None:
    load("--users", "200", "--posts", "300")

    tables = database.execute(
        "SELECT reltuples, relallvisible > 0.9 * relpages FROM pg_class"
        " WHERE oid IN ('users'::regclass, 'posts'::regclass) ORDER BY reltuples"
    )
    assert tables.fetchall() == [(200, True), (300, True)]


def test_without_a_terminal_there_are_lines_and_no_bar(
    load: Load, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_data, "NOTICE_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(demo_data, "BATCH_ROWS", 100)
    load("--users", "250", "--posts", "100")

    output = capsys.readouterr().out
    assert "100 of 250 users\n" in output
    assert "100 of 100 posts\n" in output
    assert not {"\r", "\x1b", "━"} & set(output)


def test_on_a_terminal_there_is_a_bar(
    load: Load, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    load("--users", "1000", "--posts", "100")

    output = capsys.readouterr().out
    assert "━" in output
    assert "1000/1000" in output


def test_a_load_leaves_the_search_index_as_it_was_and_its_users_are_found(
    api: httpx.Client, load: Load, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = "SELECT indexdef FROM pg_indexes WHERE tablename = 'users' ORDER BY indexname"
    before = column(database, query)
    load("--users", "300", "--posts", "0")
    assert column(database, query) == before
    found = api.get("/users/search", params={"name": RAREST_NAME}).json()["data"]
    assert [user["name"] for user in found] == [RAREST_NAME]

    monkeypatch.setattr(demo_data, "islice", interrupt)
    with pytest.raises(KeyboardInterrupt):
        load("--users", "300", "--posts", "0")
    assert column(database, query) == before


def test_memory_does_not_grow_with_the_rows() -> None:
    for rows in (users_of(4000), posts_of(4000, authors=5000)):
        next(rows)  # loads the vocabulary
        tracemalloc.start()
        assert sum(1 for _ in rows) == 3999
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak_bytes < 0.1 * MEGABYTE


def users_of(count: int) -> Iterator[User]:
    return user_rows(Random(1), count, 1, NOW)


def posts_of(count: int, authors: int) -> Iterator[Post]:
    """Posts of these users, of whom one joined in each second up to now."""
    joined = array("d", (NOW.timestamp() - seconds for seconds in range(authors, 0, -1)))
    return post_rows(Random(1), count, Authors(array("q", range(1, authors + 1)), joined), NOW)


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def rows_and_totals(database: Database) -> dict[str, tuple[int, int]]:
    """Of each table the rows there are, and the total that the lists show."""
    return {
        table: (
            column(database, f"SELECT count(*) FROM {table}")[0],
            column(
                database,
                "SELECT coalesce(sum(row_count), 0)::int FROM row_counts"
                f" WHERE table_name = '{table}'",
            )[0],
        )
        for table in ("users", "posts")
    }


def column(database: Database, query: str) -> list[Any]:
    return [value for (value,) in database.execute(query).fetchall()]


@pytest.mark.usefixtures("emptied")
def test_the_command_takes_other_forms_of_database_url(
    services: Services, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", in_form(SCHEMES[-1], services.database_url))
    monkeypatch.setenv("REDIS_URL", services.redis_url)
    assert main(["demo-data", "--users", "2", "--posts", "3"]) == 0
    output = capfd.readouterr().out
    assert "Added 2 users and 3 posts in " in output
    assert output.endswith("there are 2 users and 3 posts now\n")
