"""What the OpenAPI document says of lists and writes: the suites of this folder type no path."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import httpx

from blog.http.route import PRIVATE
from local.generate.openapi import OPENAPI_FILE, resolved
from local.generate.sample_events import sample_events
from tests.resources import RESOURCES

DOCUMENT = json.loads(OPENAPI_FILE.read_text(encoding="utf-8"))
POSITIONS = ("cursor", "page", "skip")
LONG_AGO = "2001-01-01"


@dataclass(frozen=True)
class PaginatedList:
    """A list as one set of filters shows it; rows of `insert_rows` match each of them."""

    path: str
    parameters: frozenset[str]
    filters: tuple[tuple[str, str], ...]
    key: str
    """The field, and column, by which the list is ordered."""

    def __str__(self) -> str:
        return self.url()

    @property
    def table(self) -> str:
        return self.path.split("/")[1]

    @property
    def has_offsets(self) -> bool:
        """Whether it is also read by `skip` and by `page`, and has a total."""
        return "skip" in self.parameters

    @property
    def references(self) -> list[str]:
        """The filters that are ids: row 1 of another resource."""
        return [name for name, value in self.filters if value == "1"]

    def url(self, **parameters: object) -> str:
        given = dict(self.filters) | {name: str(value) for name, value in parameters.items()}
        return str(httpx.URL(self.path, params=given)) if given else self.path

    def keys(self, response: httpx.Response) -> list[int]:
        assert response.status_code == 200, response.text
        return [item[self.key] for item in response.json()["data"]]


@dataclass(frozen=True)
class Write:
    """A request that changes a resource, with a valid body where it takes one."""

    method: str
    path: str
    body: dict[str, Any] | None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def table(self) -> str:
        return self.path.split("/")[1]

    def path_of(self, row_id: object) -> str:
        return f"/{self.table}/{row_id}"

    def send(self, api: httpx.Client, path: str | None = None) -> httpx.Response:
        return api.request(self.method, path or self.path, json=self.body)


def documented(node: dict[str, Any]) -> dict[str, Any]:
    """Return the node of the document, or the component to which it refers."""
    return resolved(DOCUMENT, node)


def _paginated_lists() -> Iterator[PaginatedList]:
    for path, operations in DOCUMENT["paths"].items():
        schemas = {
            parameter["name"]: parameter["schema"]
            for parameter in map(documented, operations.get("get", {}).get("parameters", []))
            if parameter["in"] == "query"
        }
        if "cursor" not in schemas or PRIVATE in operations["get"]:
            continue
        samples = {
            name: _samples(name, schema)
            for name, schema in schemas.items()
            if name not in {*POSITIONS, "limit"}
        }
        key = next(iter(_item_schema(operations["get"])["properties"]))
        for values in product(*([None, *values] for values in samples.values())):
            filters = zip(samples, values, strict=True)
            given = tuple((name, value) for name, value in filters if value is not None)
            yield PaginatedList(path, frozenset(schemas), given, key)


def _samples(name: str, schema: dict[str, Any]) -> list[str]:
    """Values of a filter, but for its default, that rows of `insert_rows` match."""
    if "enum" in schema:
        return [value for value in schema["enum"] if value != schema.get("default")]
    if schema.get("type") == "integer":
        return ["1"]
    return [LONG_AGO] if "anyOf" in schema else [name]


def _item_schema(operation: dict[str, Any]) -> dict[str, Any]:
    page = documented(operation["responses"]["200"]["content"]["application/json"]["schema"])
    return documented(page["properties"]["data"]["items"])


def _writes() -> Iterator[Write]:
    for event in sample_events().values():
        request = event.get("requestContext", {}).get("http", {"method": "GET"})
        if request["method"] not in ("GET", "HEAD"):
            body = json.loads(event["body"]) if "body" in event else None
            write = Write(request["method"], event["rawPath"], body)
            if write.path == (f"/{write.table}" if write.method == "POST" else write.path_of(1)):
                yield write


LISTS = list(_paginated_lists())
"""Those that show all callers the same."""
WHOLE_LISTS = [paginated for paginated in LISTS if not paginated.filters]

WRITES = [write for write in _writes() if write.table in RESOURCES]
"""Those that all resources have: of the whole collection, or of an item."""
