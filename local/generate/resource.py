"""A resource: `python -m local.generate.resource tickets --fields 'title:str'`.

Writes its model, a migration, its function and the function's block of the template, and a test of
its own rules; then the files that follow from the routes. Nothing is written unless all names are
valid. docs/adding-a-resource.md explains the files (`local.generate.resource_files`).
"""

import argparse
import ast
import json
import keyword
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from pydantic import BaseModel
from sqlalchemy import Row

from local import ROOT
from local.generate import resource_files as files
from local.generate.api_page import API_PAGE
from local.generate.openapi import OPENAPI_FILE
from local.generate.repository import (
    FUNCTIONS,
    RESERVED,
    CommandError,
    generate,
    resources,
    run_module,
)
from local.generate.resource_files import Field, Key, NewResource, Parent, Type
from local.generate.sample_events import EVENTS
from shared.database import models
from shared.database.models import METADATA, identities
from shared.http.fields import (
    MAX_CONTENT_CHARACTERS,
    MAX_JSON_CHARACTERS,
    MAX_LINE_CHARACTERS,
)
from shared.http.fields import Key as KeyType
from shared.http.resource import Resource
from tests.example.models import EXAMPLE

MODELS = "layers/shared/shared/database/models.py"
MIGRATIONS = "functions/migrations/versions"
TEMPLATE = "template.yaml"
DERIVED = tuple(str(path.relative_to(ROOT)) for path in (OPENAPI_FILE, EVENTS, API_PAGE))
WRITTEN = (MODELS, MIGRATIONS, TEMPLATE, *DERIVED)
"""The files and folders that the command changes, beside the resource's own."""
BEFORE = "  MetaFunction:\n"
"""The line of the template before which the function is inserted."""
OWNER = "    user_id: Named[int] = Column(BigInteger)\n"
"""The line of the identities' model without a table of owners."""
IDENTIFIER = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
MAX_CHARACTERS = 26
"""Of a name, so that an index with two names has at most PostgreSQL's 63 characters."""
FIELD = re.compile(
    r"(?P<name>\w+):(?P<type>[a-z]+)(\((?P<numbers>\d{1,9}(,\d{1,9})?)\))?(?P<null>\?)?"
)
SHADOWING = frozenset({"bool", "date", "datetime", "dict", "float", "func", "int", "str", "time"})
"""Fields and tables with these names would hide names that later columns use."""
OF_A_FUNCTION = frozenset({"app", "handler", "prepare", "queries", "routes", "schemas"})
"""Names that the files of each function use otherwise."""

OF_TESTS = "made_"
"""The beginning of the names of tables that tests make, beside those of tests/example."""
LINE = "One line"
TYPES: dict[str, Type] = {
    "text": Type(
        "Text", "str", "Content", '"Any number of lines."', max_characters=MAX_CONTENT_CHARACTERS
    ),
    "str": Type("Text", "str", "Line", f'"{LINE}"', max_characters=MAX_LINE_CHARACTERS),
    "int": Type("Integer", "int", "Integer", "1", "Integer"),
    "bool": Type("Boolean", "bool", "StrictBool", "True"),
    "float": Type("Double", "float", "Float", "1.5"),
    "decimal": Type("", "Decimal", "", '"1"'),
    "date": Type("Date", "date", "Date", '"2026-01-31"'),
    "time": Type("Time", "time", "Time", '"09:30:00"', "Time"),
    "datetime": Type("DateTime(timezone=True)", "datetime", "Timestamp", '"2026-01-31T12:00:00Z"'),
    "uuid": Type("Uuid", "UUID", "UUID", '"6f1c7b0e-3a52-4c8e-9d7f-0123456789ab"'),
    "json": Type(
        "JSONB(none_as_null=True)",
        "dict[str, Any]",
        "JsonObject",
        '{"key": "value"}',
        "dict[str, JsonValue]",
        MAX_JSON_CHARACTERS,
    ),
}
"""The types of fields by name; `str(80)` sets the length, `decimal(12,2)` the digits."""
DIGITS = (12, 2)
"""The default digits of a decimal: all, and those after the point."""
MAX_DIGITS = 1000
"""PostgreSQL's limit."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--of", default="")
    parser.add_argument("--item", default="")
    parser.add_argument("--key", default="")
    parser.add_argument("--fields", default="")
    parser.add_argument("--owners", choices=("", "yes"), default="")
    given = parser.parse_args()
    try:
        new = new_resource(
            given.name,
            given.of,
            given.fields,
            given.item,
            given.key,
            has_owners=given.owners == "yes",
        )
    except CommandError as error:
        sys.exit(str(error))
    for path in write(new):
        print(f"wrote {path}")
    print(f"Read the migration, then: make test ARGS=tests/{new.name}; then make test")


def new_resource(
    name: str, of: str, fields: str, item: str = "", key: str = "", *, has_owners: bool = False
) -> NewResource:
    """Return the resource. Raises `CommandError`."""
    if not name:
        raise CommandError("say, for example, NAME=tickets FIELDS='title:str due:date?'")
    _check_name("NAME", name, f"NAME={name}")
    _check_word(f"NAME={name}", name)
    if (owner := _taken_by(name)) is not None:
        raise CommandError(f"NAME={name} is taken, by {owner}")
    item = item or singular(name)
    _check_name("ITEM", item, f"ITEM={item}")
    if f"class {files.camel(item)}Columns(" in (ROOT / MODELS).read_text(encoding="utf-8"):
        raise CommandError(f"ITEM={item} is taken, by a row of another table")
    parent = _parent(of) if of else None
    if has_owners:
        _check_owners(of, key)
    parsed = tuple(_field(text) for text in fields.split())
    if not parsed:
        raise CommandError("FIELDS is empty: say, for example, FIELDS='content:text stars:int?'")
    type_ = _key(key)
    taken = {"created_at", *([parent.key] if parent else [])}
    for field_name in (type_.name, *(field.name for field in parsed)):
        if field_name in taken:
            raise CommandError(f"{field_name}: the resource has this field already")
        taken |= {field_name, "id"}
    new = NewResource(name, item, parsed, parent, has_owners, type_)
    _check_document(new)
    return new


def _taken_by(name: str) -> str | None:
    """Return a description of what has the name; folders without code may be left over."""
    if name in OF_A_FUNCTION:
        return "a module of each function"
    if name in METADATA.tables:
        return "a table"
    if name in SHADOWING or hasattr(models, name):
        return "a name that the models use"
    if name in EXAMPLE.tables or name.startswith(OF_TESTS):
        return "a table of the tests"
    spec = find_spec(name)
    if spec is not None and spec.origin is not None:
        return f"the module {spec.origin}"
    if any((ROOT / "tests" / name).rglob("*.py")):
        return f"the folder tests/{name}"
    if (ROOT / "tests" / f"{name}.py").exists():
        return f"the module tests/{name}.py"
    return next((f"the path {path}" for path in _paths() if path.split("/")[1] == name), None)


def _paths() -> Iterator[str]:
    """Yield the paths of all functions, whether the template or only their code has them."""
    yield from re.findall(r'Path: "?(/[^",}\s]+)', (ROOT / TEMPLATE).read_text(encoding="utf-8"))
    for file in FUNCTIONS.glob("*/routes.py"):
        for route in import_module(f"{file.parent.name}.handler").app.routes:
            yield route.path


def _check_document(new: NewResource) -> None:
    """Raise `CommandError` if the API's document has a schema or operation of the new names."""
    document = json.loads(OPENAPI_FILE.read_text(encoding="utf-8"))
    operations = (one for path in document["paths"].values() for one in path.values())
    known = {*document["components"]["schemas"], *(one["operationId"] for one in operations)}
    for name in re.findall(
        r"^(?:class|async def) (\w+)", files.schemas(new) + files.routes(new), re.M
    ):
        if name in known:
            raise CommandError(
                f"NAME={new.name} ITEM={new.item}: the API's document has {name} already"
            )


def _check_name(what: str, name: str, given: str) -> None:
    if not IDENTIFIER.fullmatch(name) or len(name) > MAX_CHARACTERS:
        raise CommandError(
            f"{given}: {what} must be lower-case words with underscores, such as line_items, of"
            f" {MAX_CHARACTERS} characters at most"
        )


def _check_word(given: str, name: str) -> None:
    if keyword.iskeyword(name) or name in RESERVED:
        raise CommandError(f"{given}: this is a reserved word of Python or SQL")


def singular(name: str) -> str:
    """Return the singular of a regular plural. Raises `CommandError`."""
    for plural, singular in ((r"ies", "y"), (r"(ss|x|ch|sh|z)es", r"\1"), (r"([^s])s", r"\1")):
        if re.search(f"{plural}$", name):
            return re.sub(f"{plural}$", singular, name)
    raise CommandError(f"NAME={name} is not a regular plural: name one item, ITEM=…")


def _parent(of: str) -> Parent:
    if of not in (known := resources()):
        raise CommandError(f"OF={of}: there is no such resource; there are {', '.join(known)}")
    resource = getattr(import_module(f"{of}.routes"), of)
    return Parent(of, resource.item, of in _owners(), _key_of(resource))


def _check_owners(of: str, key: str) -> None:
    if of:
        raise CommandError("OWNERS=yes: its rows belong to callers, so leave out OF")
    if key:
        raise CommandError("OWNERS=yes: rows that callers own have integer ids, so leave out KEY")
    if owners := _owners():
        raise CommandError(f"OWNERS=yes: callers own the rows of {', '.join(owners)} already")


def _owners() -> set[str]:
    """Return the name of the table of owners, if there is one."""
    return {key.column.table.name for key in identities.foreign_keys}


def _key_of(resource: Resource) -> Key:
    """Return the key of a resource, as rows that refer to it declare it."""
    field = resource.schema.model_fields[resource.key]
    for one in field.metadata:
        if isinstance(one, KeyType):
            body = f"Annotated[str, Key({one.pattern!r}, {one.example!r})]"
            return files.TEXT_KEY._replace(body=body, name=resource.key, example=one.example)
    type_ = files.ID_KEY if field.annotation is int else files.UUID_KEY
    return type_._replace(name=resource.key)


def _key(name: str) -> Key:
    """Return an id if the name is empty, a UUID, or a text key of this name.

    Raises `CommandError`.
    """
    if name in ("", "uuid"):
        return files.UUID_KEY if name else files.ID_KEY
    _check_field(name, f"KEY={name}")
    return files.TEXT_KEY._replace(name=name)


def _field(text: str) -> Field:
    match = FIELD.fullmatch(text)
    if match is None:
        raise CommandError(f"{text}: a field is name:type, or name:type? if it may be null")
    name = match["name"]
    _check_field(name, text)
    return Field(name, _type(text, match["type"], match["numbers"]), match["null"] is not None)


def _check_field(name: str, given: str) -> None:
    _check_name("a field", name, given)
    _check_word(given, name)
    if name in SHADOWING or any(hasattr(base, name) for base in (BaseModel, Row)):
        raise CommandError(f"{given}: a field cannot have this name, which its classes use")


def _type(text: str, name: str, numbers: str | None) -> Type:
    if name not in TYPES:
        raise CommandError(f"{text}: there is no such type; there are {', '.join(TYPES)}")
    type_ = TYPES[name]
    given = [int(number) for number in numbers.split(",")] if numbers else []
    match name, given:
        case "decimal", _:
            total, places = [*given, 0][:2] if given else DIGITS
            if places < total <= MAX_DIGITS:
                digits = f"{total}, {places}"
                body = f"Annotated[Decimal, Digits({digits})]"
                return type_._replace(
                    column=f"Numeric({digits})", body=body, max_characters=total + len("-.")
                )
        case "str", [maximum] if 0 < maximum <= MAX_CONTENT_CHARACTERS:
            sample = f'"{LINE[:maximum].strip()}"'
            body = f"Annotated[str, OneLine({maximum})]"
            return type_._replace(body=body, sample=sample, max_characters=maximum)
        case _, []:
            return type_
    raise CommandError(
        f"{text}: only str(80), up to {MAX_CONTENT_CHARACTERS}, and decimal(12,2), up to"
        f" {MAX_DIGITS}, take numbers"
    )


def write(new: NewResource) -> Iterator[str]:
    """Write the resource, and the files that follow from it; yield the paths of files to read.

    If a step fails, everything is undone.
    """
    function, tests = f"functions/{new.name}", f"tests/{new.name}"
    written = {
        f"{function}/__init__.py": "",
        f"{function}/handler.py": files.handler(new),
        f"{function}/schemas.py": files.schemas(new),
        f"{function}/queries.py": files.queries(new),
        f"{function}/routes.py": files.routes(new),
        f"{tests}/__init__.py": "",
        f"{tests}/test_{new.name}.py": files.test(new),
        MODELS: _with_model((ROOT / MODELS).read_text(encoding="utf-8"), new),
    }
    template = (ROOT / TEMPLATE).read_text(encoding="utf-8")
    with _undone_if_it_fails(function, tests):
        for path, text in written.items():
            (ROOT / path).parent.mkdir(exist_ok=True)
            (ROOT / path).write_text(text, encoding="utf-8")
        python = [path for path in written if path.endswith(".py")]
        for rule in ("F401", "I"):  # apart, as a line that is too long for both stays split
            run_module(ROOT, "ruff", "check", "-q", "--select", rule, "--fix", *python)
        generate(ROOT, new.description)
        run_module(ROOT, "ruff", "format", "-q", *python, MIGRATIONS)
        # Last: when it changes, `make run` starts again, and migrates the database.
        template = _with_function(template, files.deployment(new))
        (ROOT / TEMPLATE).write_text(template, encoding="utf-8")
    yield from written
    yield TEMPLATE


@contextmanager
def _undone_if_it_fails(*folders: str) -> Iterator[None]:
    before = _files(folders)
    try:
        yield
    except BaseException:
        for path in _files(folders).keys() - before.keys():
            path.unlink()
        for path, content in before.items():
            if not path.exists() or path.read_bytes() != content:
                path.write_bytes(content)
        for folder in map(ROOT.joinpath, folders):
            if not any(path.is_file() for path in folder.rglob("*")):
                shutil.rmtree(folder, ignore_errors=True)
        raise


def _files(folders: Iterable[str]) -> dict[Path, bytes]:
    """Return the contents of the files that a step may write: of these folders, and others."""
    places = [ROOT / place for place in (*folders, *WRITTEN)]
    paths = (path for place in places for path in (place, *place.rglob("*")))
    return {path: path.read_bytes() for path in paths if path.is_file()}


def _with_model(models: str, new: NewResource) -> str:
    """Return the models with another one, and with imports, which ruff merges."""
    if new.has_owners:
        assert models.count(OWNER) == 1, f"{MODELS} must have exactly one {OWNER!r}"
        owner = f"{OWNER[:-2]}, {files.foreign_key(new.name)})\n"
        models = models.replace(OWNER, owner)
    first = next(one for one in ast.parse(models).body if isinstance(one, ast.ImportFrom))
    lines = models.splitlines(keepends=True)
    before, after = lines[: first.lineno - 1], lines[first.lineno - 1 :]
    return "".join([*before, files.MODEL_IMPORTS, *after, "\n", files.model(new)])


def _with_function(template: str, function: str) -> str:
    before, anchor, after = template.partition(BEFORE)
    assert anchor, f"{TEMPLATE} has no line {BEFORE!r}"
    return f"{before}{function}{anchor}{after}"


if __name__ == "__main__":
    main()
