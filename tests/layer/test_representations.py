"""A release that changes the JSON of a resource changes its entity tag, by whatever it does so."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    computed_field,
    create_model,
    field_serializer,
    model_serializer,
)

from shared.conditions import Conditions, Tags, resource_tag
from shared.errors import PreconditionFailed
from shared.http.conditional import conditional_response


@dataclass(frozen=True)
class Author:
    name: str = "Ada"


@dataclass(frozen=True)
class Row:
    id: int = 1
    name: str = "Ada"
    author: Author = field(default_factory=Author)
    created_at: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    _version: str = "745"


class Model(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class AuthorPublic(Model):
    name: str


class Shipped(Model):
    id: int
    name: str
    author: AuthorPublic
    created_at: datetime


class AuthorWithInitial(AuthorPublic):
    @computed_field
    def initial(self) -> str:
        return self.name[0]


class WithSerializer(Shipped):
    @field_serializer("created_at")
    def date(self, value: datetime) -> str:
        return value.date().isoformat()


class WithAlias(Shipped):
    model_config = ConfigDict(serialize_by_alias=True)
    name: str = Field(serialization_alias="fullName", validation_alias="name")


class Enveloped(Shipped):
    @model_serializer(mode="wrap")
    def envelope(self, handler: Any) -> dict[str, Any]:
        return {"data": handler(self)}


CHANGED: dict[str, type[BaseModel]] = {
    "a field is added": create_model("Added", __base__=Shipped, role=(str, "reader")),
    "a field is removed": create_model("Removed", __base__=Model, id=int, name=str),
    "fields change places": create_model(
        "Reordered", __base__=Model, name=str, id=int, author=AuthorPublic, created_at=datetime
    ),
    "a field has another type": create_model("Retyped", __base__=Shipped, id=float),
    "a field has another name": WithAlias,
    "a nested field is added": create_model("Nested", __base__=Shipped, author=AuthorWithInitial),
    "a field is written otherwise": WithSerializer,
    "the whole is written otherwise": Enveloped,
    "a field is left out": create_model(
        "Excluded", __base__=Shipped, author=(AuthorPublic, Field(exclude=True))
    ),
}


def content_of(schema: type[BaseModel], row: Row = Row()) -> bytes:
    return schema.model_validate(row).model_dump_json().encode()


def tag_of(schema: type[BaseModel], row: Row = Row()) -> str:
    return resource_tag(row._version, content_of(schema, row))


def respond(schema: type[BaseModel], conditions: Conditions) -> int:
    """The status of a read of the row."""
    response = conditional_response(conditions, content_of(schema), tag_of(schema))
    return response.status_code


@pytest.mark.parametrize("change", CHANGED)
def test_a_representation_of_an_earlier_release_is_sent_again(change: str) -> None:
    known = Tags(frozenset({tag_of(Shipped)}))
    assert respond(Shipped, Conditions(if_none_match=known)) == 304
    assert respond(CHANGED[change], Conditions(if_none_match=known)) == 200
    with pytest.raises(PreconditionFailed):
        respond(CHANGED[change], Conditions(if_match=known))


def test_every_form_and_every_version_has_another_tag() -> None:
    schemas: list[type[BaseModel]] = [Shipped, *CHANGED.values()]
    tags = {tag_of(schema, Row(_version=v)) for schema in schemas for v in ("745", "746")}
    assert len(tags) == 2 * len(schemas)


@pytest.mark.parametrize("change", CHANGED)
def test_an_earlier_form_permits_a_change_of_the_same_version(change: str) -> None:
    known = Tags(frozenset({tag_of(CHANGED[change])}))
    assert Conditions(if_match=known).allowed_versions == " 745 "


@pytest.mark.parametrize(
    "tag",
    ["745", "745-", "1-745", "745-9f86", f"x745-{'0' * 24}", f"-{'0' * 24}", f"745-{'G' * 24}"],
)
def test_a_tag_of_another_form_permits_no_version(tag: str) -> None:
    assert Conditions(if_match=Tags(frozenset({tag}))).allowed_versions == ""
