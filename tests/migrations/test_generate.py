"""`make migration`; docs/adding-a-resource.md, which a test carries out, writes one with it."""

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Connection,
    Date,
    DateTime,
    Double,
    Enum,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Interval,
    LargeBinary,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    Table,
    Text,
    Time,
    UniqueConstraint,
    Uuid,
    create_engine,
    func,
    inspect,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, ExcludeConstraint
from sqlalchemy.schema import SchemaItem
from sqlalchemy.types import TypeEngine

from local.generate import migration
from local.generate.catalog import Difference, differences
from migrations.handler import alembic_config
from shared.database import models
from shared.database.models import METADATA
from tests.resources import ROOT

VERSIONS = ROOT / "functions" / "migrations" / "versions"
TYPES: list[TypeEngine[Any]] = [
    Integer(),
    BigInteger(),
    Double(),
    Numeric(10, 2),
    Boolean(),
    Text(),
    LargeBinary(),
    Date(),
    DateTime(timezone=True),
    Time(),
    Interval(),
    Uuid(),
    JSON(),
    JSONB(),
    ARRAY(Text()),
    Enum("draft", "public", name="post_state"),
    Enum("it's", "so \\ so", r"a\:b", ":c", 'say "d"', "100 %", name="Mood of \"it's"),
]


@pytest.fixture
def config(empty_url: str, tmp_path: Path) -> Iterator[Config]:
    """Alembic's configuration of a database at the head; new revisions go to `tmp_path`."""
    engine = create_engine(empty_url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        config = alembic_config(connection)
        config.set_main_option("path_separator", "newline")
        config.set_main_option("version_locations", f"{VERSIONS}\n{tmp_path}")
        command.upgrade(config, "head")
        yield config
    engine.dispose()


@pytest.fixture
def declared(monkeypatch: pytest.MonkeyPatch) -> MetaData:
    """The models, to be changed by a test."""
    return declare(monkeypatch, {})


def connection_of(config: Config) -> Connection:
    connection: Connection = config.attributes["connection"]
    return connection


def columns(config: Config, table: str) -> list[str]:
    found = inspect(connection_of(config)).get_columns(table)
    connection_of(config).commit()
    return [column["name"] for column in found]


def enumerations(config: Config) -> list[str]:
    found = connection_of(config).execute(text("SELECT typname FROM pg_type WHERE typtype = 'e'"))
    names = [name for (name,) in found]
    connection_of(config).commit()
    return names


def values_of_enumerations(config: Config) -> set[str]:
    found = connection_of(config).execute(text("SELECT enumlabel FROM pg_enum"))
    values = set(found.scalars())
    connection_of(config).commit()
    return values


@pytest.mark.parametrize("message", ["", " "])
def test_a_migration_without_a_message_is_not_written(
    monkeypatch: pytest.MonkeyPatch, message: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["migration", message])
    before = sorted(VERSIONS.iterdir())
    with pytest.raises(SystemExit, match="MESSAGE"):
        migration.main()
    assert sorted(VERSIONS.iterdir()) == before


@pytest.mark.filterwarnings("ignore:Expression #1")
@pytest.mark.parametrize(
    "message", ['A "quoted" word', '"""', r"A back\Nslash", "\\", "100 % of ${this} {that} :other"]
)
def test_a_message_may_be_any_text(
    config: Config, declared: MetaData, tmp_path: Path, message: str
) -> None:
    Table("things", declared, Column("title", Text))
    assert migration.write_migration(config, message, tmp_path)
    [file] = tmp_path.glob("*.py")
    written = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    assert written == f"{message}.".replace('"""', "'''")


@pytest.mark.filterwarnings("ignore:Expression #1")
def test_nothing_is_written_where_nothing_changed(config: Config, tmp_path: Path) -> None:
    assert not migration.write_migration(config, "Nothing", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore:Expression #1")
def test_columns_of_each_type_are_added_and_removed_and_added_again(
    config: Config, declared: MetaData, tmp_path: Path
) -> None:
    table = min(declared.tables)
    before, known = columns(config, table), enumerations(config)
    added = [Column(f"added_{number}", type_) for number, type_ in enumerate(TYPES)]
    for column in added:
        declared.tables[table].append_column(column)
    assert migration.write_migration(config, "Types", tmp_path)
    for _ in range(2):
        command.upgrade(config, "head")
        assert columns(config, table) == [*before, *(column.name for column in added)]
        assert values_of_enumerations(config) >= {
            value for type_ in TYPES if isinstance(type_, Enum) for value in type_.enums
        }
        command.downgrade(config, "-1")
        assert columns(config, table) == before
        assert enumerations(config) == known


@pytest.mark.filterwarnings("ignore:Expression #1")
def test_columns_of_each_type_are_removed_and_added_again(
    config: Config, declared: MetaData, tmp_path: Path
) -> None:
    known = enumerations(config)
    added = [Column(f"column_{number}", type_) for number, type_ in enumerate(TYPES)]
    things = Table("made_things", declared, *added)
    assert migration.write_migration(config, "Things", tmp_path)
    command.upgrade(config, "head")
    declared.remove(things)
    Table("made_things", declared, Column("other", Text))
    assert migration.write_migration(config, "Other things", tmp_path)
    for _ in range(2):
        command.upgrade(config, "head")
        assert columns(config, "made_things") == ["other"]
        assert enumerations(config) == known
        command.downgrade(config, "-1")
        assert set(columns(config, "made_things")) == {column.name for column in added}


@pytest.mark.filterwarnings("ignore:Expression #1")
def test_a_table_has_the_triggers_that_its_columns_allow(
    config: Config, declared: MetaData, tmp_path: Path
) -> None:
    Table(
        "made_links",
        declared,
        Column("user_id", BigInteger, ForeignKey("audit_log.id"), primary_key=True),
        Column("other_id", BigInteger, ForeignKey("audit_log.id"), primary_key=True),
        Column("created_at", DateTime(timezone=True)),
    )
    Table(
        "made_things",
        declared,
        Column("id", BigInteger, Identity(always=True), primary_key=True),
        Column("created_at", DateTime(timezone=True)),
    )
    assert migration.write_migration(config, "Links", tmp_path)
    command.upgrade(config, "head")
    triggers = text(
        "SELECT DISTINCT tgrelid::regclass::text FROM pg_trigger"
        " WHERE NOT tgisinternal AND tgrelid IN ('made_links'::regclass, 'made_things'::regclass)"
    )
    assert connection_of(config).execute(triggers).scalars().all() == ["made_things"]
    connection_of(config).commit()
    command.downgrade(config, "-1")


@pytest.mark.filterwarnings("ignore:Expression #1")
def test_tables_are_dropped_after_what_refers_to_them(
    config: Config, declared: MetaData, tmp_path: Path
) -> None:
    """Whatever their names; the counts and the stored responses of a resource with it."""
    key = Column("id", BigInteger, Identity(always=True), primary_key=True)
    Table("made_things", declared, key, Column("created_at", DateTime(timezone=True)))
    for name in ("made_parts", "made_wholes"):
        Table(name, declared, Column("thing_id", ForeignKey("made_things.id", name=f"{name}_fkey")))
    keys = declared.tables["idempotency_keys"]
    keys.append_column(Column("thing_id", ForeignKey("made_things.id", name="keys_fkey")))
    assert migration.write_migration(config, "Things", tmp_path)
    command.upgrade(config, "head")
    for name in ("made_parts", "made_wholes", "made_things", "idempotency_keys"):
        declared.remove(declared.tables[name])
    models.idempotency_keys.to_metadata(declared)
    assert migration.write_migration(config, "No things", tmp_path)
    connection = connection_of(config)
    for _ in range(2):
        connection.execute(text("INSERT INTO made_things (created_at) VALUES (now())"))
        connection.commit()
        command.upgrade(config, "head")
        counted = "SELECT FROM row_counts WHERE table_name = 'made_things'"
        assert connection.execute(text(counted)).all() == []
        connection.commit()
        command.downgrade(config, "-1")
    assert columns(config, "made_things") == ["id", "created_at"]
    called = "SELECT tgfoid::regproc::text FROM pg_trigger WHERE tgrelid = 'made_things'::regclass"
    functions = set(connection.execute(text(called)).scalars())
    assert {"count_rows", "forget_responses"} <= functions
    assert "forget_responses_by_key" not in functions


@pytest.mark.filterwarnings("ignore:Expression #1", "ignore:Cannot correctly sort tables")
@pytest.mark.parametrize("use_alter", [False, True])
def test_tables_that_refer_to_themselves_and_each_other_are_made_and_dropped(
    monkeypatch: pytest.MonkeyPatch,
    config: Config,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    use_alter: bool,
) -> None:
    """And the types of their enumerations after them."""

    def refer(name: str, *others: str) -> list[SchemaItem]:
        keys = [ForeignKey(f"made_{one}.id", use_alter=use_alter) for one in others]
        columns = [
            Column(f"{one}_id", BigInteger, key) for one, key in zip(others, keys, strict=True)
        ]
        return [Column("id", BigInteger, primary_key=True), *columns, *state(f"{name}_x", "x")]

    circle = {"a": refer("a", "a", "b"), "b": refer("b", "c", "a"), "c": refer("c", "b", "a")}
    declared, without = declare(monkeypatch, circle), declare(monkeypatch, {})
    known = enumerations(config)
    for tables, message in ((declared, "Circle"), (without, "No circle")):
        monkeypatch.setattr(models, "METADATA", tables)
        assert migration.write_migration(config, message, tmp_path)
        command.upgrade(config, "head")
        assert different(config, tables) == []
    assert "WARNING" not in capsys.readouterr().err
    command.downgrade(config, "-1")
    assert different(config, declared) == []
    command.downgrade(config, "-1")
    assert different(config, without) == []
    assert enumerations(config) == known
    command.upgrade(config, "head")


def test_checks_are_added_and_removed(config: Config, declared: MetaData, tmp_path: Path) -> None:
    table = declared.tables[min(declared.tables)]
    before = checks(config, table.name)
    column = next(iter(table.columns)).name
    table.append_constraint(CheckConstraint(f"{column} IS NOT NULL", name="is_there"))
    assert migration.write_migration(config, "A check", tmp_path)
    for _ in range(2):
        command.upgrade(config, "head")
        assert checks(config, table.name) == before | {"is_there"}
        command.downgrade(config, "-1")
        assert checks(config, table.name) == before
    command.upgrade(config, "head")
    [one] = [one for one in table.constraints if one.name == "is_there"]
    table.constraints.remove(one)
    assert migration.write_migration(config, "No check", tmp_path)
    command.upgrade(config, "head")
    assert checks(config, table.name) == before
    command.downgrade(config, "-1")
    assert checks(config, table.name) == before | {"is_there"}


def checks(config: Config, table: str) -> set[str | None]:
    found = inspect(connection_of(config)).get_check_constraints(table)
    connection_of(config).commit()
    return {one["name"] for one in found}


@pytest.mark.filterwarnings("ignore:Expression #1")
def test_a_column_that_may_be_renamed_is_named(
    config: Config, declared: MetaData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Table("made_things", declared, Column("title", Text), Column("size", Integer))
    migration.write_migration(config, "Things", tmp_path)
    command.upgrade(config, "head")
    declared.remove(declared.tables["made_things"])
    Table("made_things", declared, Column("headline", Text), Column("size", Integer))
    capsys.readouterr()
    assert migration.write_migration(config, "Headline", tmp_path)
    [warning] = [line for line in capsys.readouterr().err.split("\n") if "renamed" in line]
    assert 'op.alter_column("made_things", "title", new_column_name="headline")' in warning


def numbers(*items: SchemaItem, **options: Any) -> tuple[SchemaItem, ...]:
    """The items of a table with these columns besides."""
    return (Column("number", BigInteger, **options), Column("other", BigInteger), *items)


def reference(**options: Any) -> tuple[SchemaItem, ...]:
    return (Column("id", BigInteger, ForeignKey("audit_log.id", name="log_fkey", **options)),)


def index(name: str, column: Any = "number", **options: Any) -> tuple[SchemaItem, ...]:
    return numbers(Index(f"made_{name}_idx", column, **options))


def state(name: str, *values: str) -> tuple[SchemaItem, ...]:
    return (Column("state", Enum(*values, name=f"made_{name}")),)


WRITTEN = {
    "default_added": (numbers(), numbers(server_default="7")),
    "default_changed": (numbers(server_default="7"), numbers(server_default="8")),
    "default_removed": (numbers(server_default="7"), numbers()),
    "default_of_text": (
        (Column("title", Text, server_default=""),),
        (Column("title", Text, server_default=r"it's :so, \:5 % {more}"),),
    ),
    "default_of_json": (
        (Column("details", JSONB),),
        (Column("details", JSONB, server_default=text("'{}'")),),
    ),
    "identity_added": (
        numbers(nullable=False),
        (Column("number", BigInteger, Identity(), nullable=False), numbers()[1]),
    ),
    "computed": (
        numbers(Column("twice", BigInteger, Computed("number * 2", persisted=True))),
        numbers(Column("twice", BigInteger, Computed("number + other", persisted=True))),
    ),
    "comment": (numbers(), numbers(comment="How many")),
    "column_collation": ((Column("title", Text),), (Column("title", Text(collation="C")),)),
    "not_null": (numbers(), numbers(nullable=False)),
    "check_changed": (
        numbers(CheckConstraint("number > 1", name="more")),
        numbers(CheckConstraint("number > 2", name="more")),
    ),
    "check_without_a_name": (numbers(), numbers(CheckConstraint("number > 1"))),
    "primary_key": (
        numbers(PrimaryKeyConstraint("number"), autoincrement=False),
        numbers(PrimaryKeyConstraint("number", "other")),
    ),
    "unique_nulls": (
        numbers(UniqueConstraint("number")),
        numbers(UniqueConstraint("number", postgresql_nulls_not_distinct=True)),
    ),
    "unique_include": (
        numbers(UniqueConstraint("number")),
        numbers(UniqueConstraint("number", postgresql_include=["other"])),
    ),
    "exclusion": (numbers(), numbers(ExcludeConstraint(("number", "="), using="btree"))),
    "on_delete": (reference(), reference(ondelete="CASCADE")),
    "on_update": (reference(onupdate="CASCADE"), reference()),
    "reference_deferrable": (reference(), reference(deferrable=True, initially="DEFERRED")),
    "reference_match": (reference(), reference(match="FULL")),
    "index_where": (index("where"), index("where", postgresql_where=text("other IS NULL"))),
    "index_using": (index("using"), index("using", postgresql_using="brin")),
    "index_include": (index("include"), index("include", postgresql_include=["other"])),
    "index_with": (index("with"), index("with", postgresql_with={"fillfactor": 50})),
    "index_order": (index("order"), index("order", text("number DESC"))),
    "index_operators": (
        index("operators", postgresql_using="brin"),
        index("operators", postgresql_using="brin", postgresql_ops={"number": "int8_bloom_ops"}),
    ),
    "enum_values": (state("added", "a", "d"), state("added", "it's", "a", r"b\:c", "d", "e")),
}
"""Changes of a table that are written: its items before and after."""
BY_HAND = [
    (numbers(), (Column("number", Date), numbers()[1]), "type of made_things.number: date in the"),
    (
        (Column("number", BigInteger, Identity()),),
        (Column("number", BigInteger, Identity(start=7)),),
        "identity of made_things.number: BY DEFAULT AS IDENTITY (START 7 ",
    ),
    (state("sorted", "a", "b"), state("sorted", "b", "a"), "enumeration of made_sorted: "),
    (
        numbers(),
        (numbers()[0], Column("other", BigInteger, Computed("number * 2", persisted=True))),
        "expression of made_things.other: ",
    ),
    (
        numbers(CheckConstraint("number > 1", name="more")),
        numbers(CheckConstraint("number > 1", name="more", comment="Why")),
        "comment of made_things.more: Why in the models, none in the database",
    ),
    (
        numbers(),
        numbers(CheckConstraint("unknown(number)", name="more")),
        "function unknown(bigint) does not exist",
    ),
    (
        numbers(),
        numbers(ExcludeConstraint(("number", "="), name="apart", using="gist")),
        "an extension, create it by a migration before: data type bigint has no default operator",
    ),
]
"""Tables before and after changes that are not written, and the warnings."""
EQUAL = {
    "text": (
        (Column("title", Text, server_default="a"),),
        (Column("title", Text, server_default=text("'a'::text")),),
    ),
    "number": (numbers(server_default="7"), numbers(server_default=text("'7'::bigint"))),
    "json": (
        (Column("details", JSONB, server_default=text("'{}'")),),
        (Column("details", JSONB, server_default=text("CAST('{}' AS jsonb)")),),
    ),
    "uuid": (
        (Column("id", Uuid, server_default=func.gen_random_uuid()),),
        (Column("id", Uuid, server_default=text("pg_catalog.gen_random_uuid()")),),
    ),
    "time": (
        (Column("at", DateTime(timezone=True), server_default=func.now()),),
        (Column("at", DateTime(timezone=True), server_default=text("NOW( )")),),
    ),
    "rule": (
        numbers(CheckConstraint("number > 1", name="more")),
        numbers(CheckConstraint("(number>1)", name="more")),
    ),
    "index": (
        (Column("title", Text), Index("made_titles_idx", text("((title || ' '::text) || title)"))),
        (Column("title", Text), Index("made_titles_idx", text("(title || ' ' || title)"))),
    ),
}
"""Other spellings of equal definitions."""


def declare(
    monkeypatch: pytest.MonkeyPatch, tables: Mapping[str, Iterable[SchemaItem]]
) -> MetaData:
    """Declare the models and these tables, by names that no product has."""
    copy = MetaData(naming_convention=METADATA.naming_convention)
    for table in METADATA.tables.values():
        table.to_metadata(copy)
    for name, items in tables.items():
        Table(f"made_{name}", copy, *items)
    monkeypatch.setattr(models, "METADATA", copy)
    return copy


def change(
    monkeypatch: pytest.MonkeyPatch,
    config: Config,
    folder: Path,
    changes: Mapping[str, tuple[Any, Any]],
) -> MetaData:
    """Migrate to the tables of before, write the migration to those of after; return these."""
    declared = declare(monkeypatch, {name: before for name, (before, _) in changes.items()})
    assert migration.write_migration(config, "Before", folder)
    command.upgrade(config, "head")
    assert different(config, declared) == []
    declared = declare(monkeypatch, {name: after for name, (_, after) in changes.items()})
    migration.write_migration(config, "After", folder)
    return declared


def different(config: Config, declared: MetaData) -> list[Difference]:
    found = differences(connection_of(config), declared)
    connection_of(config).commit()
    return found


@pytest.mark.filterwarnings("ignore:Expression #1", "ignore:Computed default")
def test_a_change_of_each_kind_is_written(
    monkeypatch: pytest.MonkeyPatch,
    config: Config,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    declared = change(monkeypatch, config, tmp_path, WRITTEN)
    assert "WARNING" not in capsys.readouterr().err
    changed = different(config, declared)
    tables = {one.table.removeprefix("made_") for one in changed}
    assert tables >= WRITTEN.keys() - {"enum_values"}
    values_stay = [one for one in changed if one.kind != "enumeration"]
    assert len(values_stay) == len(changed) - 1
    for _ in range(2):
        command.upgrade(config, "head")
        assert different(config, declared) == []
        command.downgrade(config, "-1")
        assert different(config, declared) == values_stay


@pytest.mark.filterwarnings("ignore:Expression #1", "ignore:Computed default")
@pytest.mark.parametrize(("before", "after", "message"), BY_HAND)
def test_a_change_that_is_not_written_is_reported(
    monkeypatch: pytest.MonkeyPatch,
    config: Config,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    before: tuple[SchemaItem, ...],
    after: tuple[SchemaItem, ...],
    message: str,
) -> None:
    change(monkeypatch, config, tmp_path, {"things": (before, after)})
    warnings = [line for line in capsys.readouterr().err.split("\n") if "by hand" in line]
    assert message in "\n".join(warnings)


@pytest.mark.filterwarnings("ignore:Expression #1")
def test_an_equal_definition_in_other_words_is_not_written(
    monkeypatch: pytest.MonkeyPatch, config: Config, tmp_path: Path
) -> None:
    declared = change(monkeypatch, config, tmp_path, EQUAL)
    assert different(config, declared) == []
    assert not list(tmp_path.glob("*_after.py"))
