"""A resource of the product, on which tests of a running API try what each of them promises.

It is the first one whose items need no other item, have ids that the database gives, and can be
created, listed, read, replaced, updated and deleted. Only a product without resources has none.
"""

import json
import re
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pytest

from local.generate.http_semantics import resolved
from local.generate.openapi import OPENAPI_FILE
from local.generate.sample_events import example
from shared.database.models import METADATA
from tests.resources import ITEM_PATHS

DOCUMENT = json.loads(OPENAPI_FILE.read_text(encoding="utf-8"))
SCHEMAS = DOCUMENT["components"]["schemas"]
Fields = Mapping[str, Any]
ID = uuid.uuid4().hex


class SampleResource(NamedTuple):
    """`fields` are the schemas of what a create takes, `text` one of them that an update takes."""

    name: str
    item_path: str
    """As in the document, with a parameter."""
    fields: Fields
    text: str

    @property
    def path(self) -> str:
        return f"/{self.name}"

    def item(self, key: object) -> str:
        """Return the path of an item."""
        return f"{self.path}/{key}"

    def body(self) -> dict[str, Any]:
        """Return a body for a create, whose texts no other has."""
        return {name: _new(schema) for name, schema in self.fields.items()}

    def operation(self, method: str, path: str = "") -> str:
        """Return the name of an operation, by default on the list."""
        return str(DOCUMENT["paths"][path or self.path][method]["operationId"])


def _new(schema: Fields) -> Any:
    text = uuid.uuid4().hex
    if schema.get("format") == "email":
        return f"{text}@example.com"
    return text if _takes(schema, text) else example(dict(schema), SCHEMAS)


def _takes(schema: Fields, text: str) -> bool:
    is_text = schema.get("type") == "string" and not schema.keys() & {"format", "enum", "const"}
    fits = len(text) <= schema.get("maxLength", len(text))
    return is_text and fits and re.search(schema.get("pattern", ""), text) is not None


def _body_fields(path: str, method: str) -> Fields:
    content = DOCUMENT["paths"][path][method]["requestBody"]["content"]["application/json"]
    fields: Fields = resolved(DOCUMENT, content["schema"])["properties"]
    return fields


def _sample_resources() -> Iterator[SampleResource]:
    for name, item_path in ITEM_PATHS.items():
        table, path = METADATA.tables[name], f"/{name}"
        of_all, of_item = (DOCUMENT["paths"].get(each, {}).keys() for each in (path, item_path))
        is_whole = of_all >= {"get", "post"} and of_item >= {"get", "put", "patch", "delete"}
        if is_whole and not table.foreign_keys and all(key.identity for key in table.primary_key):
            fields, changed = _body_fields(path, "post"), _body_fields(item_path, "patch")
            texts = [text for text in fields if text in changed and _takes(fields[text], ID)]
            if texts:
                yield SampleResource(name, item_path, fields, texts[0])


@pytest.fixture(scope="session", params=[*_sample_resources()][:1])
def sample(request: pytest.FixtureRequest) -> SampleResource:
    """The resource; a test is skipped if there is none."""
    resource: SampleResource = request.param
    return resource
