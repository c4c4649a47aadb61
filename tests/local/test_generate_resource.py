"""`make resource`: which names and types it takes. What it writes is in tests/install."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from local import ROOT
from local.generate import resource
from local.generate.repository import CommandError
from local.generate.resource import new_resource
from local.generate.resource_files import NewResource, Parent, schemas, with_article
from shared.database.models import METADATA
from tests.example.models import EXAMPLE
from tests.resources import OWNERS, RESOURCES

FIELDS = "content:text"


def column(field: str) -> tuple[str, str, str]:
    """The field's column, its type in Python, and its type in a body."""
    [parsed] = new_resource("things", "", field).fields
    return parsed.type.column, parsed.value, parsed.body


@pytest.mark.parametrize(
    ("name", "item"),
    [
        ("comments", "comment"),
        ("categories", "category"),
        ("boxes", "box"),
        ("branches", "branch"),
        ("classes", "class"),
        ("orders", "order"),
        ("line_items", "line_item"),
        ("houses", "house"),
        ("days", "day"),
    ],
)
def test_an_item_has_the_singular_of_the_name(name: str, item: str) -> None:
    assert resource.singular(name) == item


def test_another_singular_is_given() -> None:
    new = new_resource("flock", "", FIELDS, item="sheep")
    assert (new.item, new.item_class, new.an_item) == ("sheep", "Sheep", "a sheep")


@pytest.mark.parametrize(
    ("noun", "expected"),
    [("order", "an order"), ("unit", "a unit"), ("user", "a user"), ("update", "an update")],
)
def test_an_article_is_of_its_noun(noun: str, expected: str) -> None:
    assert with_article(noun) == expected


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("x:text", ("Text", "str", "Content")),
        ("x:str", ("Text", "str", "Line")),
        ("x:str(80)", ("Text", "str", "Annotated[str, OneLine(80)]")),
        ("x:str(010)", ("Text", "str", "Annotated[str, OneLine(10)]")),
        ("x:int?", ("Integer", "int | None", "Integer | None")),
        (
            "x:decimal",
            (
                "Numeric(12, 2)",
                "Decimal",
                "Annotated[Decimal, Digits(12, 2)]",
            ),
        ),
        (
            "x:decimal(6)",
            (
                "Numeric(6, 0)",
                "Decimal",
                "Annotated[Decimal, Digits(6, 0)]",
            ),
        ),
        ("x:float", ("Double", "float", "Float")),
        ("x:time", ("Time", "time", "Time")),
        ("x:datetime?", ("DateTime(timezone=True)", "datetime | None", "Timestamp | None")),
    ],
)
def test_a_field_has_a_column_and_types(field: str, expected: tuple[str, str, str]) -> None:
    assert column(field) == expected


@pytest.mark.parametrize(
    ("fields", "limit"),
    [
        ("a:text b:str c:decimal", 100),
        ("a:text b:text", 50),
        ("a:json? b:text", 50),
        ("a:str(7000) b:str(7000) c:decimal(1000,2)", 100),
        ("a:str(8000) b:str(8000)", 50),
        (" ".join(f"{name}:text" for name in "abcd"), 20),
    ],
)
def test_a_list_of_large_rows_has_a_lower_limit(fields: str, limit: int) -> None:
    new = new_resource("things", "", fields)
    assert new.limit == limit
    assert (f"limit_up_to({limit})" in schemas(new)) == (limit < 100)


@pytest.mark.parametrize("of", RESOURCES)
def test_rows_belong_to_those_of_another_resource(of: str) -> None:
    parent = new_resource("things", of, FIELDS).parent
    assert parent is not None
    assert parent.name == of
    assert parent.is_owner == (of == OWNERS)


@pytest.mark.parametrize(
    ("name", "of", "fields", "message"),
    [
        ("", "", FIELDS, "say, for example, NAME=tickets"),
        ("Comments", "", FIELDS, "NAME must be lower-case words"),
        ("my-comments", "", FIELDS, "NAME must be lower-case words"),
        ("../comments", "", FIELDS, "NAME must be lower-case words"),
        ("a_name_that_is_far_too_longs", "", FIELDS, "26 characters at most"),
        ("comment", "", FIELDS, "is not a regular plural.* ITEM="),
        ("glass", "", FIELDS, "is not a regular plural.* ITEM="),
        ("references", "", FIELDS, "this is a reserved word"),
        ("statistics", "", FIELDS, "is taken"),
        ("identities", "", FIELDS, "is taken"),
        ("things", "nothing", FIELDS, "OF=nothing: there is no such resource; there are"),
        ("things", "identities", FIELDS, "OF=identities: there is no such resource"),
        ("things", "meta", FIELDS, "OF=meta: there is no such resource"),
        ("things", "", "", "FIELDS is empty"),
        ("things", "", "content", "content: a field is name:type"),
        ("things", "", "content:text:int", "content:text:int: a field is name:type"),
        ("things", "", "Content:text", "a field must be lower-case words"),
        ("things", "", "content:string", "no such type; there are text, str, int, bool"),
        ("things", "", "content:text(3)", "only str"),
        ("things", "", "name:str(0)", "only str"),
        ("things", "", "name:str(3,1)", "only str"),
        ("things", "", "name:str(10001)", r"only str\(80\), up to 10000"),
        ("things", "", "price:decimal(2,2)", "only str"),
        ("things", "", "price:decimal(1001,2)", "only str"),
        ("things", "", "id:int", "id: the resource has this field already"),
        ("things", "", "a:int a:text", "a: the resource has this field already"),
        ("things", "", "class:text", "this is a reserved word"),
        ("things", "", "order:int", "this is a reserved word"),
        ("things", "", "count:int", "cannot have this name"),
        ("things", "", "model_fields:int", "cannot have this name"),
        ("things", "", "date:date", "cannot have this name"),
        ("things", "", "func:text", "cannot have this name"),
        ("queries", "", FIELDS, "is taken, by a module of each function"),
        ("logs", "", FIELDS, "is taken, by the module tests/logs.py"),
    ],
)
def test_invalid_arguments_are_rejected_before_anything_is_written(
    name: str, of: str, fields: str, message: str
) -> None:
    with pytest.raises(CommandError, match=message):
        new_resource(name, of, fields)


@pytest.mark.parametrize("name", [*RESOURCES, *METADATA.tables, *EXAMPLE.tables, "tests", "redis"])
def test_a_name_that_is_taken_is_rejected(name: str) -> None:
    with pytest.raises(CommandError, match="is taken"):
        new_resource(name, "", FIELDS)


def made_by_tests() -> Iterator[str]:
    """The names of tables in statements of the tests, and in modules that create them all."""
    for path in (ROOT / "tests").rglob("*.py"):
        code = path.read_text(encoding="utf-8")
        yield from re.findall(r"CREATE TABLE (?:IF NOT EXISTS )?(\w+) ", code)
        if ".create_all(" in code:
            yield from re.findall(r"= Table\(\s*\"(\w+)\"", code)


@pytest.mark.parametrize("name", sorted({*made_by_tests()}))
def test_a_name_of_a_table_that_tests_make_is_rejected(name: str) -> None:
    with pytest.raises(CommandError, match="is taken, by a table"):
        new_resource(name, "", FIELDS)


@pytest.mark.parametrize("name", ["date", "func", "int", "text"])
def test_a_name_that_the_models_use_is_rejected(name: str) -> None:
    """A table of this name would hide it from the models that follow."""
    with pytest.raises(CommandError, match=f"NAME={name} is taken, by a name that the models use"):
        new_resource(name, "", FIELDS, item="thing")


def test_an_item_of_another_table_is_rejected() -> None:
    with pytest.raises(CommandError, match="ITEM=row_count is taken"):
        new_resource("things", "", FIELDS, item="row_count")


def test_a_name_of_a_folder_of_tests_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_changed_files(tmp_path)
    compiled = tmp_path / "tests" / "things" / "__pycache__" / "test_things.pyc"
    compiled.parent.mkdir(parents=True)
    compiled.touch()
    monkeypatch.setattr(resource, "ROOT", tmp_path)
    assert new_resource("things", "", FIELDS).name == "things"  # its code is gone
    (compiled.parents[1] / "test_things.py").touch()
    with pytest.raises(CommandError, match="is taken, by the folder tests/things"):
        new_resource("things", "", FIELDS)


@pytest.mark.parametrize("name", ["docs", "problems"])
def test_a_name_of_a_path_is_rejected(name: str) -> None:
    """As the new function's routes would take the path away from its function."""
    with pytest.raises(CommandError, match=f"is taken, by the path /{name}"):
        new_resource(name, "", FIELDS)


def test_a_name_of_a_path_that_only_the_template_has_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_changed_files(tmp_path)
    monkeypatch.setattr(resource, "ROOT", tmp_path)
    with (tmp_path / resource.TEMPLATE).open("a") as template:
        template.write('{Path: "/things/{proxy+}", Method: ANY}')
    with pytest.raises(CommandError, match="is taken, by the path /things/"):
        new_resource("things", "", FIELDS)
    assert new_resource("thing_parts", "", FIELDS).name == "thing_parts"


@pytest.mark.parametrize("kind", ["schema", "operation"])
def test_a_name_of_a_documented_schema_or_operation_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    known = {"schema": "ThingPage", "operation": "get_thing"}[kind]
    paths = {
        "/stats": {"get": {"operationId": "get_thing" if kind == "operation" else "get_stats"}}
    }
    schemas: dict[str, object] = {"ThingPage": {}} if kind == "schema" else {}
    document = tmp_path / "openapi.json"
    document.write_text(json.dumps({"paths": paths, "components": {"schemas": schemas}}))
    monkeypatch.setattr(resource, "OPENAPI_FILE", document)
    with pytest.raises(CommandError, match=f"the API's document has {known} already"):
        new_resource("things", "", FIELDS)


def copy_changed_files(folder: Path) -> None:
    for path in (resource.MODELS, resource.TEMPLATE):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, folder / path)


@pytest.fixture
def small_copy(tmp_path: Path) -> Path:
    """The files that `resource.write` changes, and the folders that it adds to."""
    copy_changed_files(tmp_path)
    (tmp_path / "functions").mkdir(exist_ok=True)
    (tmp_path / "tests").mkdir()
    return tmp_path


def test_nothing_is_left_of_a_resource_that_cannot_be_written(
    small_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files_of(small_copy)
    new = new_resource("things", "", FIELDS)
    monkeypatch.setattr(resource, "ROOT", small_copy)
    with pytest.raises(SystemExit):  # there are no migrations
        list(resource.write(new))
    assert files_of(small_copy) == before


def test_nothing_is_left_of_what_later_steps_have_written(
    small_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither new files and folders, nor changes of files."""
    derived = [small_copy / path for path in resource.DERIVED]
    known = [path if path.suffix else path / "known.json" for path in derived]
    for path in known:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("before")
    before = files_of(small_copy)

    def fail(*_: object) -> None:
        for path in known:
            path.write_text("changed")
        (small_copy / "local" / "events" / "things-get_thing.json").write_text("new")
        raise SystemExit(1)

    new = new_resource("things", "", FIELDS)
    monkeypatch.setattr(resource, "ROOT", small_copy)
    monkeypatch.setattr(resource, "run_module", lambda *_: None)
    monkeypatch.setattr(resource, "generate", fail)
    with pytest.raises(SystemExit):
        list(resource.write(new))
    assert files_of(small_copy) == before


def test_the_template_changes_after_the_migration_is_written(
    small_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = small_copy / resource.TEMPLATE
    before = template.read_text(encoding="utf-8")
    seen: list[str] = []
    monkeypatch.setattr(
        resource, "generate", lambda *_: seen.append(template.read_text(encoding="utf-8"))
    )
    monkeypatch.setattr(resource, "run_module", lambda *_: None)
    new = new_resource("things", "", FIELDS)
    monkeypatch.setattr(resource, "ROOT", small_copy)
    assert resource.TEMPLATE in resource.write(new)
    assert seen == [before]
    assert "ThingsFunction:" in template.read_text(encoding="utf-8")


def files_of(folder: Path) -> dict[Path, bytes]:
    """The contents of files; those of folders are empty."""
    paths = folder.glob("[a-z]*/**/*")
    return {path: path.read_bytes() if path.is_file() else b"" for path in paths}


@pytest.mark.parametrize("of", RESOURCES[:1])
def test_the_field_of_the_other_resource_is_taken(of: str) -> None:
    parent = new_resource("things", of, FIELDS).parent
    assert isinstance(parent, Parent)
    with pytest.raises(CommandError, match="has this field already"):
        new_resource("things", of, f"{parent.key}:int")
    with pytest.raises(CommandError, match="has this field already"):
        new_resource("things", of, FIELDS, key=parent.key)


@pytest.mark.parametrize("of", RESOURCES[:1])
def test_rows_that_belong_to_a_resource_cannot_be_owners(of: str) -> None:
    with pytest.raises(CommandError, match="leave out OF"):
        new_resource("things", of, FIELDS, has_owners=True)


@pytest.mark.skipif(OWNERS is None, reason="there are no owners")
def test_owners_are_of_one_table() -> None:
    with pytest.raises(CommandError, match=f"OWNERS=yes: callers own the rows of {OWNERS}"):
        new_resource("things", "", FIELDS, has_owners=True)


@pytest.mark.parametrize(
    ("key", "path_type", "parameter"),
    [("", "Id", "thing_id"), ("uuid", "UUID", "thing_id"), ("code", "ThingCode", "thing_code")],
)
def test_a_key_has_a_type(key: str, path_type: str, parameter: str) -> None:
    new = new_resource("things", "", FIELDS, key=key)
    assert (new.path_type, new.key) == (path_type, parameter)


@pytest.mark.parametrize(
    ("key", "has_owners", "message"),
    [
        ("Code", False, "KEY=Code: a field must be lower-case words"),
        ("class", False, "KEY=class: this is a reserved word"),
        ("content", False, "content: the resource has this field already"),
        ("created_at", False, "created_at: the resource has this field already"),
        ("uuid", True, "leave out KEY"),
    ],
)
def test_an_invalid_key_is_rejected(key: str, has_owners: bool, message: str) -> None:
    with pytest.raises(CommandError, match=message):
        new_resource("things", "", FIELDS, key=key, has_owners=has_owners)


def test_titles_are_words() -> None:
    new = NewResource("line_items", "line_item", (), Parent("orders", "order", is_owner=False))
    assert new.description == "Line items of orders"
    assert new.an_item == "a line item"
