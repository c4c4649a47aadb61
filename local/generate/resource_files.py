"""The files of a new resource, for `local.generate.resource`, which then formats them.

docs/adding-a-resource.md explains them by an example.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple


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


@dataclass(frozen=True)
class Parent:
    """The resource to whose rows the new rows belong; they are deleted with them."""

    name: str
    item: str
    is_owner: bool
    """Whether callers own its rows: then they may write their own rows of the new resource."""

    @property
    def key(self) -> str:
        return f"{self.item}_id"


@dataclass(frozen=True)
class NewResource:
    name: str
    item: str
    fields: tuple[Field, ...]
    parent: Parent | None = None
    has_owners: bool = False
    """Whether its rows are callers, who write their own, and what belongs to it."""

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
        """The description of the migration: `Comments of tickets`."""
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


def foreign_key(table: str) -> str:
    return f'ForeignKey("{table}.id", ondelete="CASCADE")'


def model(new: NewResource) -> str:
    lines = [
        "id: Named[int] = Column(BigInteger, Identity(always=True), primary_key=True)",
        *(f"{one.name}: Named[{one.value}] = Column({one.type.column})" for one in new.fields),
        "created_at: Named[datetime] = Column(DateTime(timezone=True), server_default=func.now())",
    ]
    index = info = ""
    if parent := new.parent:
        key = foreign_key(parent.name)
        lines.insert(1, f"{parent.key}: Named[int] = Column(BigInteger, {key})")
        index = f'\n    Index("{new.name}_{parent.key}_id_idx", "{parent.key}", "id"),'
        info = f'\n    info={{SCOPE: "{parent.key}"}},'
    columns = f"{new.item_class}Columns"
    return f"""
class {columns}(TypedColumns):
    {_indented(lines)}


{new.name} = Table(
    "{new.name}",
    METADATA,
    {columns},
    CheckConstraint(ID_RANGE, name="{new.name}_id_range"),{index}{info}
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
prepare(handler, "/{new.name}", "/{new.name}/1")
'''


def schemas(new: NewResource) -> str:
    create, update, shown = (
        [f"{one.name}: {one.body}{' = None' * one.is_nullable}" for one in new.fields],
        [f"{one.name}: {one.body}" for one in new.fields],
        [f"{one.name}: {one.shown}" for one in new.fields],
    )
    parameters = ""
    if parent := new.parent:
        for lines in (create, update, shown):
            lines.insert(0, f"{parent.key}: Id")
        whose = f'Field(description="Only this {parent.item.replace("_", " ")}\'s.")'
        parameters = f"""

class {new.item_class}ListParameters(PageParameters):
    {parent.key}: Annotated[IdParameter | None, {whose}] = None
"""
    code = f'''
class {new.item_class}Create(Body):
    """All fields of {new.an_item}, to create or replace one."""

    {_indented(create)}


class {new.item_class}Update(Changes, total=False):
    """The fields of {new.an_item} to change; a field that is left out keeps its value."""

    {_indented(update)}


class {new.item_class}Public(Shown):
    {_indented(["id: Id", *shown, "created_at: datetime"])}


class {new.item_class}Page(OffsetPage[{new.item_class}Public]):
    """A page of {new.title}."""
{parameters}'''
    doc = f'"""Request and response schemas of the {new.title}."""\n\n'
    return f"{doc}{imports_of(code, SCHEMA_IMPORTS)}\n{code}"


def queries(new: NewResource) -> str:
    owner = f", owner={new.name}.c.id" if new.has_owners else ""
    of_one = ""
    bind = ""
    if parent := new.parent:
        column = f"{new.name}.c.{parent.key}"
        owner = f", owner={column}" if parent.is_owner else ""
        bind = "bindparam, "
        of_one = (
            f"OF_{parent.item.upper()} = PagedQuery(select(*{new.name}.c).where({column} == "
            f'bindparam("{parent.key}")), {new.name}.c.id, counted=True)\n'
        )
    return f'''"""SQL of the {new.title}: statements built once, each run in one round trip."""

from sqlalchemy import {bind}select

from shared.database import Item, PagedQuery
from shared.database.models import {new.name}

ITEM = Item({new.name}{owner})
ALL = PagedQuery(select(*{new.name}.c), {new.name}.c.id, counted=True)
{of_one}'''


def routes(new: NewResource) -> str:
    name, item, class_ = new.name, new.item, new.item_class
    created, raises, error, scope, which = "", "", "", "", ""
    if new.has_owners:
        created, error = "raises=[AlreadyTaken]", "from shared.errors import AlreadyTaken\n"
    parameters, paged = "PageParameters", "from shared.http.pagination import PageParameters\n"
    listing = "return await queries.ALL.fetch(reader, query.position, query.limit)"
    if parent := new.parent:
        created = raises = "raises=[InvalidReference]"
        error = "from shared.errors import InvalidReference\n"
        scope = f', scope="{parent.key}"'
        which = f": all, or one {parent.item.replace('_', ' ')}'s"
        parameters, paged = f"{class_}ListParameters", ""
        listing = f"""listing = queries.ALL if query.{parent.key} is None else queries.OF_{parent.item.upper()}
    values = {{"{parent.key}": query.{parent.key}}}
    return await listing.fetch(reader, query.position, query.limit, values)"""
    names = [f"{class_}{name}" for name in ("Create", "Page", "Public", "Update")]
    schemas = ", ".join([*names, parameters] if parent else names)
    return f'''"""HTTP routes of the {new.title}."""

from {name} import queries
from {name}.schemas import {schemas}
{error}from shared.http.fields import Id
{paged}from shared.http.resource import PageResult, Reader, Resource, Row, Transaction

{name} = Resource("{name}", "{item}", {class_}Public)


@{name}.create({created})
async def create_{item}(transaction: Transaction, body: {class_}Create) -> Row:
    """Create {new.an_item}."""
    return await queries.ITEM.insert(transaction, body.model_dump())


@{name}.list({class_}Page, cached=True{scope})
async def list_{name}(reader: Reader, query: {parameters}) -> PageResult:
    """List {new.title}, oldest first{which}."""
    {listing}


@{name}.read()
async def get_{item}(reader: Reader, {item}_id: Id) -> Row:
    """Return one {new.item_title}."""
    return await queries.ITEM.find(reader, {item}_id)


@{name}.replace({raises})
async def replace_{item}(transaction: Transaction, {item}_id: Id, body: {class_}Create) -> Row:
    """Replace all fields of {new.an_item}."""
    return await queries.ITEM.update(transaction, {item}_id, body.model_dump())


@{name}.update({raises})
async def update_{item}(transaction: Transaction, {item}_id: Id, body: {class_}Update) -> Row:
    """Change the given fields of {new.an_item}."""
    return await queries.ITEM.update(transaction, {item}_id, body)


@{name}.delete()
async def delete_{item}(transaction: Transaction, {item}_id: Id) -> None:
    """Delete {new.an_item}."""
    await queries.ITEM.delete(transaction, {item}_id)
'''


def deployment(new: NewResource) -> str:
    path = f"/{new.name}"
    limits = "RouteSettings: {ThrottlingRateLimit: 50, ThrottlingBurstLimit: 50}"
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
        OptionsCollection: {{Type: HttpApi, Properties: {{ApiId: !Ref Api, Path: {path}, Method: OPTIONS,
          {limits}}}}}
        OptionsItem: {{Type: HttpApi, Properties: {{ApiId: !Ref Api, Path: "{path}/{{proxy+}}", Method: OPTIONS,
          {limits}}}}}

"""


def test(new: NewResource) -> str:
    """Return the tests of the resource's own rules: its callers and its parent."""
    parent = new.parent
    sample = ", ".join(f'"{one.name}": {one.type.sample}' for one in new.fields)
    if parent is None:
        pytest = "" if new.has_owners else "import pytest\n\n"
        return f'''"""Rules of the {new.title}; those of every resource are in tests/every_resource."""

{pytest}from tests.conftest import ApiOf

BODY = {{{sample}}}

{_written_by_callers(new) if new.has_owners else _written_by_administrators(new, "", "")}'''
    own = "" if parent.is_owner else "import pytest\n"
    claims = "from tests.auth.claims import ISSUER\n" if parent.is_owner else ""
    rules = (
        _written_by_owners(new, parent)
        if parent.is_owner
        else _written_by_administrators(
            new, "database: Database, ", "\n    insert_rows(database, 1, 1)"
        )
    )
    whose = parent.item.replace("_", " ")
    return f'''"""Rules of the {new.title}; those of every resource are in tests/every_resource."""

from typing import Any

import httpx
import psycopg
{own}
{claims}from tests.conftest import ApiOf
from tests.resources import insert_rows

Database = psycopg.Connection[Any]
BODY = {{"{parent.key}": 1, {sample}}}


def ids(api: httpx.Client, **filters: int) -> list[int]:
    return [one["id"] for one in api.get("/{new.name}", params=filters).json()["data"]]


def test_{new.name}_of_one_{parent.item}_are_listed(api: httpx.Client, database: Database) -> None:
    insert_rows(database, 1, 3)  # 1 and 2 are of {whose} 1, 3 is of {whose} 3
    assert ids(api) == [1, 2, 3]
    assert ids(api, {parent.key}=1) == [1, 2]


def test_{new.name}_of_an_unknown_{parent.item}_are_rejected(api: httpx.Client) -> None:
    response = api.post("/{new.name}", json=BODY)
    assert response.status_code == 400
    assert response.json()["detail"] == "{parent.key}: there is no such {parent.item}."


def test_{new.name}_are_deleted_with_their_{parent.item}(
    api: httpx.Client, database: Database
) -> None:
    insert_rows(database, 1, 3)
    assert api.delete("/{parent.name}/1").status_code == 204
    assert ids(api) == [3]

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
    return f'''
def test_callers_write_only_their_own_{new.name}(api_of: ApiOf, database: Database) -> None:
    insert_rows(database, 1, 3)
    database.execute("INSERT INTO identities VALUES (%s, 'ada', 1)", [ISSUER])
    ada = api_of("author", subject="ada")
    assert ada.post("/{new.name}", json=BODY).status_code == 201
    assert ada.post("/{new.name}", json=BODY | {{"{parent.key}": 3}}).status_code == 403
    assert ada.patch("/{new.name}/1", json={{"{parent.key}": 3}}).status_code == 403
    assert ada.delete("/{new.name}/3").status_code == 403
    assert ada.delete("/{new.name}/1").status_code == 204
'''


SCHEMA_IMPORTS = {
    "datetime": ("date", "datetime"),
    "decimal": ("Decimal",),
    "typing": ("Annotated",),
    "uuid": ("UUID",),
    "pydantic": ("Field", "JsonValue", "StrictBool"),
    "shared.http.fields": (
        *("Body", "Changes", "Content", "Date", "Id", "IdParameter", "Integer", "JsonObject"),
        *("Line", "OneLine", "Shown", "Timestamp"),
    ),
    "shared.http.pagination": ("OffsetPage", "PageParameters"),
}
MODEL_IMPORTS = {
    "datetime": ("date", "datetime"),
    "decimal": ("Decimal",),
    "typing": ("Any",),
    "uuid": ("UUID",),
    "sqlalchemy": (
        *("BigInteger", "Boolean", "CheckConstraint", "Column", "Date", "DateTime", "ForeignKey"),
        *("Identity", "Index", "Integer", "Named", "Numeric", "Table", "Text", "TypedColumns"),
        *("Uuid", "func"),
    ),
    "sqlalchemy.dialects.postgresql": ("JSONB",),
    "shared.database.dependencies": ("SCOPE",),
}


def imports_of(code: str, known: dict[str, tuple[str, ...]]) -> str:
    """Return the imports of the known names that the code uses."""
    used = set(re.findall(r"\w+", code))
    found = {module: sorted(used.intersection(names)) for module, names in known.items()}
    return "".join(
        f"from {one} import {', '.join(names)}\n" for one, names in found.items() if names
    )


def _indented(lines: list[str]) -> str:
    return "\n    ".join(lines)
