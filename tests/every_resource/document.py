"""The lists and writes in the OpenAPI document, from which this folder's suites derive all paths.

Private lists are apart, for tests/auth/test_private_lists.py.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

import httpx
from sqlalchemy import Boolean, Column, DefaultClause, Enum, Table

from local.generate.http_semantics import resolved
from local.generate.openapi import OPENAPI_FILE
from local.generate.sample_events import sample_events
from shared.auth.permissions import OWN, ROLES, grant_of
from shared.database.models import METADATA
from shared.http.route import PERMISSION, PRIVATE
from tests.resources import (
    CACHED_LISTS,
    KEY_PARAMETERS,
    KINDS,
    RESOURCE_OF,
    RESOURCES,
    column_of,
    is_done,
    is_last_of_pair,
    is_link,
    is_one_to_one,
    key_for,
    key_of,
    letters,
    linked,
    unique_references,
)

DOCUMENT = json.loads(OPENAPI_FILE.read_text(encoding="utf-8"))
POSITIONS = ("cursor", "page", "skip")
LONG_AGO = "2001-01-01"
Filters = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class PaginatedList:
    """A list with one set of filters, each of which matches rows of `insert_rows`."""

    resource: str
    template: str
    """Its path, as the document has it."""
    parameters: frozenset[str]
    filters: Filters
    key: str
    """The field of the key of its items."""
    is_cached: bool

    def __str__(self) -> str:
        return self.url()

    @property
    def path(self) -> str:
        """Its path; the parameters in it are row 1."""
        return target_of(self.template, 1)

    @property
    def is_private(self) -> bool:
        """Whether each caller has pages of its own."""
        return PRIVATE in DOCUMENT["paths"][self.template]["get"]

    @property
    def table(self) -> str:
        """The table of its items."""
        return table_of(self.template).name

    @property
    def column(self) -> str:
        """The column of the key of its items."""
        column = column_of(METADATA.tables[self.table], self.key)
        assert column is not None
        return column.name

    @property
    def fields(self) -> set[str]:
        """The fields of its items."""
        return {*_item_schema(DOCUMENT["paths"][self.template]["get"])["properties"]}

    @property
    def max_limit(self) -> int:
        maximum: int = query_schemas(self.template)["limit"]["maximum"]
        return maximum

    @property
    def is_whole(self) -> bool:
        """Whether it contains every row of its table."""
        return not self.filters and "{" not in self.template

    @property
    def has_offsets(self) -> bool:
        """Whether it is also read by `skip` and by `page`, and has a total."""
        return "skip" in self.parameters

    @property
    def references(self) -> list[str]:
        """The filters, and parameters of the path, that are ids: row 1 of another resource."""
        return [
            *(name for name, _ in self.filters if _is_reference(table_of(self.template), name)),
            *re.findall(r"\{(\w+)\}", self.template),
        ]

    def selects_values(self, name: str) -> bool:
        """Whether the filter selects rows by another value than a key: not one that orders them."""
        schema = query_schemas(self.template)[name]
        is_order = "enum" in schema and "default" in schema
        return name not in self.references and not is_order

    def url(self, **parameters: object) -> str:
        given = dict(self.filters) | {name: str(value) for name, value in parameters.items()}
        path = target_of(self.template, 1, given)
        for name in re.findall(r"\{(\w+)\}", self.template):
            given.pop(name, None)
        return str(httpx.URL(path, params=given)) if given else path

    def keys(self, response: httpx.Response) -> list[Any]:
        assert response.status_code == 200, response.text
        return [item[self.key] for item in response.json()["data"]]


@dataclass(frozen=True)
class Write:
    """A request that changes a resource, with a valid body if it takes one."""

    kind: str
    method: str
    template: str
    """Its path, as the document has it."""
    table: str
    body: dict[str, Any] | None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def path(self) -> str:
        path, last = self.target_of(1), self.template.rpartition("/")[2]
        if self.kind != "link":
            return path
        return f"{path.rpartition('/')[0]}/{target_of(last, 3)}"  # not linked yet

    @property
    def documented(self) -> dict[str, Any]:
        found: dict[str, Any] = DOCUMENT["paths"][self.template][self.method.lower()]
        return found

    @property
    def is_idempotent(self) -> bool:
        """Whether it takes an `Idempotency-Key`."""
        parameters = map(documented, self.documented.get("parameters", []))
        return "Idempotency-Key" in {parameter["name"] for parameter in parameters}

    @property
    def body_schema(self) -> dict[str, Any]:
        """The JSON Schema of its body."""
        content: dict[str, Any] = self.documented["requestBody"]["content"]
        return documented(content["application/json"]["schema"])

    @property
    def fields(self) -> dict[str, dict[str, Any]]:
        """The JSON Schemas of its body's fields; none without a body."""
        return self.body_schema["properties"] if self.body else {}

    @property
    def required(self) -> list[str]:
        return [*self.body_schema.get("required", [])] if self.body else []

    @property
    def nullable(self) -> list[str]:
        """The fields of its body that may be null."""
        return [
            name
            for name, field in self.fields.items()
            if {"type": "null"} in field.get("anyOf", [field])
        ]

    @property
    def shown(self) -> list[str]:
        """The fields of its response; none if it has no content."""
        responses = self.documented["responses"]
        ok = responses.get("200") or responses.get("201")
        if ok is None:
            return []
        return [*documented(ok["content"]["application/json"]["schema"])["properties"]]

    @property
    def is_of_item(self) -> bool:
        """Whether it is at the path of an item, not below it."""
        return _is_item(self.template, self.table)

    def is_rejected(self, status: int) -> bool:
        """Whether the status is that of a rule of the resource that the row breaks."""
        return status == 409 and is_done(self.documented["operationId"], status)

    def is_done(self, response: httpx.Response) -> bool:
        """Whether the write was made, or rejected by a rule."""
        return response.is_success or self.is_rejected(response.status_code)

    def target_of(self, row: int | str) -> str:
        """Its own path, for the row of that number, or with that text for its key."""
        return target_of(self.template, row)

    def path_of(self, number: int) -> str:
        """The path of the item."""
        return path_of(self.table, number)

    def send(self, api: httpx.Client, path: str | None = None) -> httpx.Response:
        return api.request(self.method, path or self.path, json=self.body)


def documented(node: dict[str, Any]) -> dict[str, Any]:
    """Return the node of the document, or the component to which it refers."""
    return resolved(DOCUMENT, node)


def table_of(template: str) -> Table:
    """The table that the path of a list names last, `likes` of `/notes/{id}/likes`; or the table
    that links the last two, if it has the key of the items, the `label_id` of `/notes/{id}/labels`.
    """
    *others, last = (METADATA.tables[one] for one in template.split("/") if one in METADATA.tables)
    if others and column_of(last, _key_of_items(template)) is None:
        ends = {others[-1], last}
        [last] = [one for one in METADATA.sorted_tables if is_link(one) and linked(one) == ends]
    return last


def _is_reference(table: Table, name: str) -> bool:
    """Whether a filter is the key of a row of another table."""
    column = column_of(table, name)
    return name in KEY_PARAMETERS or (column is not None and bool(column.foreign_keys))


def is_set_by_changes(table: str, field: str) -> bool:
    """Whether every UPDATE sets the field's column."""
    column = column_of(METADATA.tables[table], field)
    return column is not None and column.onupdate is not None


def deprecated_fields(resource: str) -> set[str]:
    """The fields of an item that are former names of others."""
    if resource not in READABLE:
        return set()
    [item] = [one["get"] for path, one in DOCUMENT["paths"].items() if _is_item(path, resource)]
    content = item["responses"]["200"]["content"]["application/json"]["schema"]
    fields = documented(content)["properties"].items()
    return {name for name, field in fields if field.get("deprecated")}


def _is_item(path: str, resource: str) -> bool:
    return re.fullmatch(rf"/{resource}/{{\w+}}", path) is not None


def path_of(resource: str, number: int) -> str:
    """The path of the item with this number."""
    return f"/{resource}/{key_of(METADATA.tables[resource], number)}"


def target_of(template: str, row: int | str, given: Mapping[str, str] | None = None) -> str:
    """The path with the key of that row, or that text, for each of its parameters not given."""
    path = template
    for name in re.findall(r"\{(\w+)\}", template):
        key = row if isinstance(row, str) else key_for(name, row)
        path = path.replace(f"{{{name}}}", (given or {}).get(name) or str(key))
    return path


def url_of(template: str, row: int | str, method: str = "get") -> str:
    """The target of a request for that row, with the query that the operation requires."""
    query = QUERIES[DOCUMENT["paths"][template][method]["operationId"]]
    return "?".join(filter(None, (target_of(template, row), query)))


def stored(value: Any) -> Any:
    """The value of a JSON text, by which two representations of one number are equal."""
    if isinstance(value, dict):
        return {name: stored(one) for name, one in value.items()}
    if isinstance(value, list):
        return [stored(one) for one in value]
    if isinstance(value, str) and re.fullmatch(r"-?\d+(\.\d+)?", value):
        return Decimal(value)
    return value


def by_letters(body: Mapping[str, Any]) -> dict[str, Any]:
    """The members of an object by their `letters`."""
    return {letters(name): value for name, value in body.items()}


def follow(api: httpx.Client, url: str) -> Iterator[httpx.Response]:
    """The pages from `url` on, by their links."""
    next_url: str | None = url
    while next_url:
        response = api.get(next_url)
        assert response.headers["content-type"] == "application/json"
        yield response
        next_url = response.json()["next"]
        assert response.headers.get("link") == (f'<{next_url}>; rel="next"' if next_url else None)


def query_schemas(template: str) -> dict[str, dict[str, Any]]:
    """The JSON Schemas of the parameters of a GET; none without one."""
    parameters = DOCUMENT["paths"][template].get("get", {}).get("parameters", [])
    return {
        one["name"]: one["schema"] for one in map(documented, parameters) if one["in"] == "query"
    }


def _paginated_lists() -> Iterator[PaginatedList]:
    for path, operations in DOCUMENT["paths"].items():
        schemas = query_schemas(path)
        if "cursor" not in schemas:
            continue
        if (resource := operations["get"]["tags"][0]) not in RESOURCES:
            continue
        samples = {
            name: _samples(table_of(path), name, schema)
            for name, schema in schemas.items()
            if name not in {*POSITIONS, "limit"}
        }
        key = _key_of_items(path)
        is_cached = operations["get"]["operationId"] in CACHED_LISTS
        required = dict(parse_qsl(QUERIES[operations["get"]["operationId"]])).keys()
        for given in _choices(samples, required):
            if not _is_of_one_row(table_of(path), {name for name, _ in given}):
                yield PaginatedList(resource, path, frozenset(schemas), given, key, is_cached)


def _is_of_one_row(table: Table, filters: Set[str]) -> bool:
    """Whether the filters are references that are unique together."""
    columns = {column_of(table, name) for name in filters}
    return any(columns.issuperset(key) for key in unique_references(table))


def _choices(samples: Mapping[str, list[str]], required: Set[str]) -> Iterable[Filters]:
    """The required filters, each value of each filter with these, and all filters together."""
    first = {name: values[0] for name, values in samples.items() if values}
    always = {name: value for name, value in first.items() if name in required}
    alone = [always | {name: value} for name, values in samples.items() for value in values]
    return dict.fromkeys(tuple(sorted(one.items())) for one in (always, *alone, first))


def _samples(table: Table, name: str, schema: dict[str, Any]) -> list[str]:
    """Values of a filter, but for its default, that rows of `insert_rows` match: its examples, or
    what follows from the column of its name or from its type."""
    if (array := array_in(schema)) is not None:  # sent once
        firsts = [one for one, *_ in schema.get("examples", ())]
        return _samples(table, name, array["items"] | ({"examples": firsts} if firsts else {}))
    if examples := schema.get("examples"):
        return [_query_text(one) for one in examples]
    column = column_of(table, name)
    if column is not None and isinstance(column.type, Enum | Boolean):
        return [_value_in_rows(column)]
    if "enum" in schema:
        return [value for value in schema["enum"] if value != schema.get("default")]
    if name in KEY_PARAMETERS:
        return [str(key_for(name, 1))]
    types = [one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"]
    formats = {one.get("format") for one in types}
    if formats & {"date", "date-time"}:
        return [LONG_AGO if "date" in formats else f"{LONG_AGO}T00:00:00Z"]
    if any(one.get("type") in ("integer", "number") for one in types):
        return ["1"]
    return [name]


def array_in(schema: dict[str, Any]) -> dict[str, Any] | None:
    """The array among the types of a parameter, which may be sent several times; None without."""
    types: list[dict[str, Any]] = schema.get("anyOf", [schema])
    return next((one for one in types if one.get("type") == "array"), None)


def _value_in_rows(column: Column[Any]) -> str:
    """The value that the column has in row 1 and, as far as its type allows, in most rows."""
    enum = column.type if isinstance(column.type, Enum) else None
    value = "false" if enum is None else enum.enums[0]
    if isinstance(column.server_default, DefaultClause):
        value = str(column.server_default.arg).partition("::")[0].strip("'")
    return value if enum is None or enum.enum_class is None else str(enum.enum_class[value].value)


def _query_text(value: object) -> str:
    """The value as the text of a query parameter."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _key_of_items(template: str) -> str:
    """The first field of the list's items."""
    return str(next(iter(_item_schema(DOCUMENT["paths"][template]["get"])["properties"])))


def _item_schema(operation: dict[str, Any]) -> dict[str, Any]:
    page = documented(operation["responses"]["200"]["content"]["application/json"]["schema"])
    return documented(page["properties"]["data"]["items"])


def _writes() -> Iterator[Write]:
    for template, operations in DOCUMENT["paths"].items():
        for method, operation in operations.items():
            name, table = operation["operationId"], operation["tags"][0]
            if method != "get" and table in RESOURCES:
                yield Write(KINDS[name], method.upper(), template, table, BODIES[name])


def _body(event: dict[str, Any]) -> dict[str, Any] | None:
    """The sample, with keys that no row has: an item's own, and references that are unique."""
    if "body" not in event:
        return None
    body: dict[str, Any] = json.loads(event["body"])
    name = event["rawPath"].split("/")[1]
    for field in body if name in METADATA.tables else ():
        column = column_of(METADATA.tables[name], field)
        if column is not None and (is_last_of_pair(column) or is_one_to_one(column)):
            [reference] = column.foreign_keys
            number = 4 if is_one_to_one(column) else 3
            body[field] = key_of(reference.column.table, number)
    if event["requestContext"]["http"]["method"] == "POST" and name in RESOURCE_OF:
        key = RESOURCE_OF[name].key
        body |= {key: key_of(METADATA.tables[name], 0)} if key in body else {}
    return body


def of_kinds(*kinds: str) -> list[Write]:
    return [write for write in WRITES if write.kind in kinds]


BODIES = {name.partition("-")[2]: _body(event) for name, event in sample_events().items()}
"""The body of each operation's sample event; an item that it creates has the key of row 0, and the
last of references that are unique together is to row 3, one that is unique alone to row 4, to which
only `few_rows` has no reference."""
QUERIES = {
    name.partition("-")[2]: event.get("rawQueryString", "")
    for name, event in sample_events().items()
}
"""The query of each operation's sample event: the parameters that it requires."""
LISTS = [paginated for paginated in _paginated_lists() if not paginated.is_private]
"""The lists whose pages are the same for all callers."""
PRIVATE_LISTS = [paginated for paginated in _paginated_lists() if paginated.is_private]
WHOLE_LISTS = [paginated for paginated in LISTS if paginated.is_whole]

ALL_WRITES = list(_writes())
WRITES = [write for write in ALL_WRITES if write.kind]
"""The writes of a kind; the others are plain routes, of which little is known."""
READS = {
    path: methods["get"][PERMISSION]
    for path, methods in DOCUMENT["paths"].items()
    if PERMISSION in methods.get("get", {})
}
OWN_READS = [
    (role, path)
    for path, permission in READS.items()
    for role in ROLES
    if grant_of(permission, role) is OWN
]
"""The roles and paths of the reads that are granted to the role for its own."""
CREATES = of_kinds("create")
CHANGES = of_kinds("replace", "update", "action", "delete")
"""The writes that change one row, and obey If-Match."""
DELETED = {write.table for write in of_kinds("delete")}
"""The resources of which an item can be deleted."""
READABLE = [
    name
    for name in RESOURCES
    for path, one in DOCUMENT["paths"].items()
    if _is_item(path, name) and "get" in one
]
"""The resources of which an item can be read."""
