"""The files of a new resource, for `local.generate.resource`.

They import all that such a file may use; ruff then removes what this one does not, and formats it.
docs/adding-a-resource.md explains them by an example.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from local.demo.columns import nth_key
from local.generate.page_sizes import largest_limit
from shared.http.pagination import MAX_LIMIT


class Type(NamedTuple):
    """The spellings of a field's type, and a value."""

    column: str
    """The type in the model."""
    value: str
    """The Python type that the database returns."""
    body: str
    """The type in the schema of a request's body."""
    sample: str
    """A value in the body of a test's request."""
    shown: str = ""
    """The type in the schema of a response; empty: as `value`."""
    max_characters: int = 40
    """In JSON."""


@dataclass(frozen=True)
class Field:
    """A field that clients write; one that is nullable may also be left out."""

    name: str
    type: Type
    is_nullable: bool = False

    @property
    def value(self) -> str:
        return self._optional(self.type.value)

    @property
    def body(self) -> str:
        return self._optional(self.type.body)

    @property
    def shown(self) -> str:
        return self._optional(self.type.shown or self.type.value)

    def _optional(self, annotation: str) -> str:
        return f"{annotation} | None" if self.is_nullable else annotation


class Key(NamedTuple):
    """A primary key, as the files of its resource, and of those that refer to it, declare it."""

    column: str
    """The type of the column."""
    value: str
    """The Python type, as the database returns it."""
    body: str
    """The type in paths, bodies and responses."""
    name: str = "id"
    query: str = ""
    """The type in a query; empty if it is `body`."""
    example: str = "key-1000"
    """One key, if it is a text."""

    def of_row(self, number: int) -> str:
        """Return the key of row `number` in the tests."""
        match self.value:
            case "int":
                return str(number)
            case "UUID":
                return str(UUID(int=number))
        return nth_key(self.example, number)

    def in_json(self, *rows: int) -> str:
        """Return the keys of these rows as a list's items in JSON and Python."""
        keys = map(self.of_row, rows)
        return ", ".join(keys if self.value == "int" else (f'"{key}"' for key in keys))


ID_KEY = Key("BigInteger", "int", "Id", query="IdParameter")
UUID_KEY = Key("Uuid", "UUID", "UUID")
TEXT_KEY = Key('Text(collation="C")', "str", "Annotated[str, Key()]")
GENERATED = {
    ID_KEY: "Column(BigInteger, Identity(always=True), primary_key=True)",
    UUID_KEY: "Column(Uuid, server_default=func.gen_random_uuid(), primary_key=True)",
}
"""The columns of keys that the database generates."""


SCHEMA_IMPORTS = """\
from datetime import date, datetime, time
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from pydantic import Field, JsonValue, StrictBool

from shared.http.fields import DECIMAL_DIGITS, Body, Changes, Content, Date, Digits, Float, Id
from shared.http.fields import IdParameter, Integer, JsonObject, Key, Line, OneLine, Shown, Time, Timestamp
from shared.http.pagination import OffsetPage, PageParameters, limit_up_to
"""
MODEL_IMPORTS = """\
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Date, DateTime, Double
from sqlalchemy import ForeignKey, Identity, Index, Integer, Named, Numeric, Table, Text, Time, TypedColumns, Uuid
from sqlalchemy import func
from sqlalchemy.dialects.postgresql import JSONB

from shared.database.dependencies import SCOPE
"""


@dataclass(frozen=True)
class Parent:
    """The resource that the new rows belong to; they are deleted with its rows."""

    name: str
    item: str
    is_owner: bool
    """Whether callers own its rows: then they may write their own rows of the new resource."""
    type: Key = ID_KEY

    @property
    def key(self) -> str:
        return f"{self.item}_{self.type.name}"


@dataclass(frozen=True)
class NewResource:
    name: str
    item: str
    fields: tuple[Field, ...]
    parent: Parent | None = None
    has_owners: bool = False
    """Whether callers own its rows: each may write its own, and the rows that belong to it."""
    type: Key = ID_KEY

    @property
    def key(self) -> str:
        """The parameter of its path."""
        return f"{self.item}_{self.type.name}"

    @property
    def path_type(self) -> str:
        """The type of that parameter."""
        return f"{self.item_class}{camel(self.type.name)}" if self.has_text_key else self.type.body

    @property
    def has_text_key(self) -> bool:
        return self.type.value == "str"

    @property
    def limit(self) -> int:
        """The maximum of its list's `limit`, so that Lambda can return the largest page."""
        return largest_limit({one.name: one.type.max_characters for one in self.fields})

    @property
    def has_list_parameters(self) -> bool:
        """Whether its list has parameters of its own: a filter or a lower limit."""
        return self.parent is not None or self.limit < MAX_LIMIT

    @property
    def list_parameters(self) -> str:
        """The class of the list's parameters."""
        return f"{self.item_class}ListParameters" if self.has_list_parameters else "PageParameters"

    @property
    def title(self) -> str:
        """The name in sentences: `line items`."""
        return self.name.replace("_", " ")

    @property
    def item_title(self) -> str:
        return self.item.replace("_", " ")

    @property
    def an_item(self) -> str:
        return with_article(self.item_title)

    @property
    def description(self) -> str:
        """The description of the resource, and of its migration: `Comments of tickets`."""
        of = f" of {self.parent.name.replace('_', ' ')}" if self.parent else ""
        return f"{self.title.capitalize()}{of}"

    @property
    def item_class(self) -> str:
        return camel(self.item)


def camel(name: str) -> str:
    """Return the name of a class: `LineItem` for `line_item`."""
    return name.title().replace("_", "")


def with_article(noun: str) -> str:
    is_vowel = re.match(r"[aeio]|u(?!ni|s[aei])", noun)
    return f"{'an' if is_vowel else 'a'} {noun}"


def foreign_key(table: str, key: str = "id") -> str:
    return f'ForeignKey("{table}.{key}", ondelete="CASCADE")'


def model(new: NewResource) -> str:
    key = GENERATED.get(new.type, f"Column({new.type.column}, primary_key=True)")
    lines = [
        f"{new.type.name}: Named[{new.type.value}] = {key}",
        *(f"{one.name}: Named[{one.value}] = Column({one.type.column})" for one in new.fields),
        "created_at: Named[datetime] = Column(DateTime(timezone=True), server_default=func.now())",
    ]
    index = info = ""
    if parent := new.parent:
        refers = foreign_key(parent.name, parent.type.name)
        column = f"Column({parent.type.column}, {refers})"
        lines.insert(1, f"{parent.key}: Named[{parent.type.value}] = {column}")
        names = f'"{parent.key}", "{new.type.name}"'
        index = f'\n    Index("{new.name}_{parent.key}_{new.type.name}_idx", {names}),'
        info = f'\n    info={{SCOPE: "{parent.key}"}},'
    columns = f"{new.item_class}Columns"
    check = (
        f'\n    CheckConstraint(ID_RANGE, name="{new.name}_id_range"),'
        if new.type == ID_KEY
        else ""
    )
    return f"""
class {columns}(TypedColumns):
    {_indented(lines)}


{new.name} = Table(
    "{new.name}",
    METADATA,
    {columns},{check}{index}{info}
)
"""


def handler(new: NewResource) -> str:
    return f'''"""Lambda handler of the {new.title}."""

from shared.coldstart import fast_imports, prepare

with fast_imports(deferred=("shared.database", "{new.name}.queries")):
    from {new.name}.routes import {new.name}
    from shared.http.application import create_app, lambda_handler

app = create_app({new.name}.router)
handler = lambda_handler(app)
prepare(handler, "/{new.name}", "/{new.name}/{new.type.of_row(1)}")
'''


def schemas(new: NewResource) -> str:
    create, update, shown = (
        [f"{one.name}: {one.body}{' = None' * one.is_nullable}" for one in new.fields],
        [f"{one.name}: {one.body}" for one in new.fields],
        [f"{one.name}: {one.shown}" for one in new.fields],
    )
    filters = []
    if new.limit < MAX_LIMIT:
        filters.append(f"limit: Annotated[int, limit_up_to({new.limit}), DECIMAL_DIGITS] = 10")
    if parent := new.parent:
        for lines in (create, update, shown):
            lines.insert(0, f"{parent.key}: {parent.type.body}")
        whose = f'Field(description="Only this {parent.item.replace("_", " ")}\'s.")'
        type_ = f"{parent.type.query or parent.type.body} | None"
        filters.append(f"{parent.key}: Annotated[{type_}, {whose}] = None")
    parameters = ""
    if new.has_list_parameters:
        parameters = f"""

class {new.list_parameters}(PageParameters):
    {_indented(filters)}
"""
    key = replaced = ""
    if new.has_text_key:
        key = f"{new.path_type} = {new.type.body}\n\n"
        replaced = f'''

class {new.item_class}Create({new.item_class}Replace):
    """All fields of {new.an_item}, to create one."""

    {new.type.name}: {new.path_type}
'''
    body, purpose = ("Replace", "replace") if new.has_text_key else ("Create", "create or replace")
    return f'''"""Request and response schemas of the {new.title}."""

{SCHEMA_IMPORTS}
{key}
class {new.item_class}{body}(Body):
    """{"The other" if key else "All"} fields of {new.an_item}, to {purpose} one."""

    {_indented(create)}
{replaced}

class {new.item_class}Update(Changes, total=False):
    """The fields of {new.an_item} to change; a field that is left out keeps its value."""

    {_indented(update)}


class {new.item_class}Public(Shown):
    {_indented([f"{new.type.name}: {new.path_type}", *shown, "created_at: datetime"])}


class {new.item_class}Page(OffsetPage[{new.item_class}Public]):
    """A page of {new.title}."""
{parameters}'''


def queries(new: NewResource) -> str:
    owner = f", owner={new.name}.c.id" if new.has_owners else ""
    of_one = ""
    if parent := new.parent:
        column = f"{new.name}.c.{parent.key}"
        owner = f", owner={column}" if parent.is_owner else ""
        of_one = (
            f"OF_{parent.item.upper()} = PagedQuery(select(*{new.name}.c).where({column} == "
            f'bindparam("{parent.key}")), {new.name}.c.{new.type.name}, counted=True)\n'
        )
    return f'''"""SQL of the {new.title}: statements built once, each run in one round trip."""

from sqlalchemy import bindparam, select

from shared.database import Item, PagedQuery
from shared.database.models import {new.name}

ITEM = Item({new.name}{owner})
ALL = PagedQuery(select(*{new.name}.c), {new.name}.c.{new.type.name}, counted=True)
{of_one}'''


def routes(new: NewResource) -> str:
    name, item, class_ = new.name, new.item, new.item_class
    key, type_, replace = new.key, new.path_type, "Create"
    scope, which, named = "", "", ""
    taken = ["AlreadyTaken"] if new.has_owners or new.has_text_key else []
    unknown = ["InvalidReference"] if new.parent else []
    order = "oldest first" if new.type == ID_KEY else f"by {new.type.name}"
    parameters = new.list_parameters
    listing = "return await queries.ALL.fetch(reader, query.position, query.limit)"
    if parent := new.parent:
        scope = f', scope="{parent.key}"'
        which = f": all, or one {parent.item.replace('_', ' ')}'s"
        listing = f"""listing = queries.ALL if query.{parent.key} is None else queries.OF_{parent.item.upper()}
    values = {{"{parent.key}": query.{parent.key}}}
    return await listing.fetch(reader, query.position, query.limit, values)"""
    if new.has_text_key:
        replace, named = "Replace", f', key="{new.type.name}"'
    created, raises = map(_raises, ([*taken, *unknown], unknown))
    schemas = ("Create", "ListParameters", "Page", "Public", "Replace", "Update")
    names = [*(f"{class_}{one}" for one in schemas), *([type_] if new.has_text_key else [])]
    return f'''"""{new.description}."""

from uuid import UUID

from {name} import queries
from {name}.schemas import {", ".join(names)}
from shared.errors import AlreadyTaken, InvalidReference
from shared.http.fields import Id
from shared.http.pagination import PageParameters
from shared.http.resource import PageResult, Reader, Resource, Row, Transaction

{name} = Resource("{name}", "{item}", {class_}Public{named})


@{name}.create({created})
async def create_{item}(transaction: Transaction, body: {class_}Create) -> Row:
    """Create {new.an_item}."""
    return await queries.ITEM.insert(transaction, body.model_dump())


@{name}.list({class_}Page, cached=True{scope})
async def list_{name}(reader: Reader, query: {parameters}) -> PageResult:
    """List {new.title}, {order}{which}."""
    {listing}


@{name}.read()
async def get_{item}(reader: Reader, {key}: {type_}) -> Row:
    """Return one {new.item_title}."""
    return await queries.ITEM.find(reader, {key})


@{name}.replace({raises})
async def replace_{item}(transaction: Transaction, {key}: {type_}, body: {class_}{replace}) -> Row:
    """Replace all fields of {new.an_item}."""
    return await queries.ITEM.update(transaction, {key}, body.model_dump())


@{name}.update({raises})
async def update_{item}(transaction: Transaction, {key}: {type_}, body: {class_}Update) -> Row:
    """Change the given fields of {new.an_item}."""
    return await queries.ITEM.update(transaction, {key}, body)


@{name}.delete()
async def delete_{item}(transaction: Transaction, {key}: {type_}) -> None:
    """Delete {new.an_item}."""
    await queries.ITEM.delete(transaction, {key})
'''


def _raises(errors: list[str]) -> str:
    return f"raises=[{', '.join(errors)}]" if errors else ""


def deployment(new: NewResource) -> str:
    path = f"/{new.name}"
    return f"""\
  {camel(new.name)}Function:
    Type: AWS::Serverless::Function
    DependsOn: Schema
    Metadata: {{BuildMethod: makefile, ContextPath: !Sub "layers/dependencies/${{Architecture}}"}}
    Properties:
      Description: {new.description} - create, read, update, delete, list.
      CodeUri: functions/{new.name}
      Handler: {new.name}.handler.handler
      VersionDescription: !GetAtt Configuration.Digest
      Policies: [!If [AnyAccess, !GetAtt Access.Outputs.Servers, !Ref AWS::NoValue]]
      Environment: {{Variables: {{SERVICE: {new.name}}}}}
      Events:
        Collection: {{Type: HttpApi, Properties: {{ApiId: !Ref Api, Path: {path}, Method: ANY}}}}
        Item: {{Type: HttpApi, Properties: {{ApiId: !Ref Api, Path: "{path}/{{proxy+}}", Method: ANY}}}}
        OptionsCollection: {{Type: HttpApi, Properties: {{ApiId: !Ref Api, Path: {path}, Method: OPTIONS}}}}
        OptionsItem: {{Type: HttpApi, Properties: {{ApiId: !Ref Api, Path: "{path}/{{proxy+}}", Method: OPTIONS}}}}

"""


def test(new: NewResource) -> str:
    """Return the tests of the resource's own rules: its callers and its parent."""
    parent = new.parent
    key = new.type
    sample = ", ".join(f'"{one.name}": {one.type.sample}' for one in new.fields)
    if new.has_text_key:
        sample += f', "{key.name}": {key.in_json(0)}'
    if parent is None:
        return f'''"""Rules of the {new.title}; those of every resource are in tests/every_resource."""

import pytest

from tests.conftest import ApiOf

BODY = {{{sample}}}

{_written_by_callers(new) if new.has_owners else _written_by_administrators(new, "", "")}'''
    rules = (
        _written_by_owners(new, parent)
        if parent.is_owner
        else _written_by_administrators(
            new, "database: Database, ", "\n    insert_rows(database, 1, 1)"
        )
    )
    whose = parent.item.replace("_", " ")
    one = parent.type.in_json(1)
    return f'''"""Rules of the {new.title}; those of every resource are in tests/every_resource."""

from typing import Any

import httpx
import psycopg
import pytest

from tests.auth.claims import ISSUER
from tests.conftest import ApiOf
from tests.resources import insert_rows

Database = psycopg.Connection[Any]
BODY = {{"{parent.key}": {one}, {sample}}}


def keys(api: httpx.Client, **filters: Any) -> list[Any]:
    return [one["{key.name}"] for one in api.get("/{new.name}", params=filters).json()["data"]]


def test_{new.name}_of_one_{parent.item}_are_listed(api: httpx.Client, database: Database) -> None:
    insert_rows(database, 1, 3)  # 1 and 2 are of {whose} 1, 3 is of {whose} 3
    assert keys(api) == [{key.in_json(1, 2, 3)}]
    assert keys(api, {parent.key}={one}) == [{key.in_json(1, 2)}]


def test_{new.name}_of_an_unknown_{parent.item}_are_rejected(api: httpx.Client) -> None:
    response = api.post("/{new.name}", json=BODY)
    assert response.status_code == 400
    assert response.json()["detail"] == "{parent.key}: there is no such {parent.item}."


def test_{new.name}_are_deleted_with_their_{parent.item}(
    api: httpx.Client, database: Database
) -> None:
    insert_rows(database, 1, 3)
    assert api.delete("/{parent.name}/{parent.type.of_row(1)}").status_code == 204
    assert keys(api) == [{key.in_json(3)}]

{rules}'''


def _written_by_administrators(new: NewResource, arguments: str, rows: str) -> str:
    return f"""
@pytest.mark.parametrize(("role", "created"), [("reader", 403), ("author", 403), ("admin", 201)])
def test_administrators_write_{new.name}(
    api_of: ApiOf, {arguments}role: str, created: int
) -> None:{rows}
    assert api_of(role).post("/{new.name}", json=BODY).status_code == created
"""


def _written_by_callers(new: NewResource) -> str:
    return f"""
def test_callers_have_one_{new.item}_each_and_write_no_other(api_of: ApiOf) -> None:
    ada, bob = api_of("author"), api_of("author", subject="bob")
    for caller, created in ((ada, 201), (bob, 201), (ada, 409)):
        assert caller.post("/{new.name}", json=BODY).status_code == created
    for path, changed, deleted in (("/{new.name}/2", 403, 403), ("/{new.name}/1", 200, 204)):
        assert ada.patch(path, json=BODY).status_code == changed
        assert ada.delete(path).status_code == deleted
"""


def _written_by_owners(new: NewResource, parent: Parent) -> str:
    key, other = new.type, parent.type.in_json(3)
    return f'''
def test_callers_write_only_their_own_{new.name}(api_of: ApiOf, database: Database) -> None:
    insert_rows(database, 1, 3)
    database.execute("INSERT INTO identities VALUES (%s, 'ada', %s)", [ISSUER, {parent.type.in_json(1)}])
    ada = api_of("author", subject="ada")
    assert ada.post("/{new.name}", json=BODY).status_code == 201
    assert ada.post("/{new.name}", json=BODY | {{"{parent.key}": {other}}}).status_code == 403
    assert ada.patch("/{new.name}/{key.of_row(1)}", json={{"{parent.key}": {other}}}).status_code == 403
    assert ada.delete("/{new.name}/{key.of_row(3)}").status_code == 403
    assert ada.delete("/{new.name}/{key.of_row(1)}").status_code == 204
'''


def _indented(lines: list[str]) -> str:
    return "\n    ".join(lines)
