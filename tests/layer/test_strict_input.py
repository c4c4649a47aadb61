"""A route accepts only the parameters that it declares."""

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal
from uuid import UUID

import httpx
import pytest
from fastapi import APIRouter, Body, Depends, FastAPI, Header, Query, Request
from pydantic import AfterValidator, AliasChoices, BaseModel, ConfigDict, Field, Json
from pydantic_core import PydanticCustomError
from pydantic_core._pydantic_core import list_all_errors
from starlette.routing import Mount
from typing_extensions import TypedDict

from shared.http.application import create_app, lambda_handler
from shared.http.field_errors import SCHEMA_VALUES
from tests.in_process import client_of

pytestmark = pytest.mark.usefixtures("worker")
SECRET = "s3cret"


class Filters(BaseModel):
    by: str = "name"
    tags: list[str] = Field(default=[], alias="tag")


def depends(lang: str = "en") -> str:
    return lang


def serve(*endpoints: Callable[..., Any], method: str = "GET") -> httpx.Client:
    """A function of plain FastAPI routes, each at the path of its name."""
    router = APIRouter()
    for endpoint in endpoints:
        router.add_api_route(f"/{endpoint.__name__}", endpoint, methods=[method])
    return client_of(handler=lambda_handler(create_app(router, is_public=True)))


async def nothing() -> str:
    return "done"


async def plain(limit: int = 1, tag: Annotated[list[str] | None, Query()] = None) -> str:
    return "done"


async def modelled(
    filters: Annotated[Filters, Query()], lang: Annotated[str, Depends(depends)]
) -> str:
    return "done"


async def of_the_request(request: Request) -> str:
    """Reads a parameter that the route does not declare, so that the document lacks it."""
    return request.query_params.get("v", "none")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/nothing", 200),
        ("/nothing?", 200),
        ("/nothing?dry_run=true", 422),
        ("/nothing?dry_run", 422),
        ("/nothing?=", 422),
        ("/nothing?&&", 200),
        ("/plain?limit=1", 200),
        ("/plain?limit=1&limit=2", 422),
        ("/plain?limit=1&limit=1", 422),
        ("/plain?tag=a&tag=b", 200),
        ("/plain?Limit=1", 422),
        ("/plain?limit%20=1", 422),
        ("/plain?l%69mit=1", 200),
        ("/modelled?by=x&tag=a&tag=b&lang=en", 200),
        ("/modelled?tags=a", 422),
        ("/modelled?filters=a", 422),
        ("/modelled?by=x&by=y", 422),
        ("/modelled?lang=en&lang=de", 422),
        ("/of_the_request?v=1", 422),
    ],
)
def test_a_plain_route_takes_its_own_parameters_once_each_and_no_other(
    path: str, status: int
) -> None:
    with serve(nothing, plain, modelled, of_the_request) as api:
        response = api.get(path)
        assert response.status_code == status, response.text
        assert status == 200 or response.json()["type"] == "/problems#invalid-request"
        assert api.head(path).status_code == status


def test_an_unknown_parameter_is_reported_by_its_position_with_the_known_ones() -> None:
    with serve(plain, nothing) as api:
        assert api.get(f"/plain?limit=1&{SECRET}=1&limit=2").json()["errors"] == [
            {
                "in": "query",
                "field": "query",
                "message": "parameter 2 is unknown; known are limit, tag",
            },
            {"in": "query", "field": "limit", "message": "may be given only once"},
        ]
        [error] = api.get(f"/nothing?{SECRET}=1&{SECRET}=2").json()["errors"]
        assert error["message"] == "parameter 1 is unknown; none is known"


def test_a_route_that_is_not_fastapis_is_rejected_at_import() -> None:
    router = APIRouter(routes=[Mount("/all", app=FastAPI())])
    with pytest.raises(TypeError, match="is not a FastAPI route"):
        create_app(router, is_public=True)


def test_a_route_without_the_layers_checks_is_rejected_at_the_start() -> None:
    router = APIRouter()
    router.get("/all")(nothing)
    with pytest.raises(TypeError, match="is not of an api_router"):
        create_app(router)


class Address(BaseModel):
    model_config = ConfigDict(extra="forbid")

    street: str = Field(default="", max_length=3)


def test_a_body_that_fastapi_makes_of_parameters_is_rejected_at_import() -> None:
    """It would ignore unknown members."""

    async def take_two(address: Address, other: Address) -> None: ...
    async def take_one(address: Annotated[Address, Body(embed=True)]) -> None: ...

    for endpoint in (take_two, take_one):
        with pytest.raises(TypeError, match="is made of parameters"):
            serve(endpoint, method="POST")


class Options(TypedDict, total=False):
    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]

    address: Address
    more: Annotated["Options", Field(alias="moreOptions")]
    name: Annotated[str, Field(validation_alias=AliasChoices("name", "former"))]


class Cat(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: Literal["cat"]
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"]


def reject(value: str) -> str:
    raise ValueError(f"not {value}")


def reject_by_template(value: str) -> str:
    raise PydanticCustomError("custom", "not {given}", {"given": value})


class Everything(BaseModel):
    """A field for each way in which pydantic quotes what it got."""

    model_config = ConfigDict(extra="forbid")

    identifier: UUID | None = None
    rejected: Annotated[str, AfterValidator(reject)] | None = None
    templated: Annotated[str, AfterValidator(reject_by_template)] = ""
    pet: Annotated[Cat | Dog, Field(discriminator="kind")] | None = None
    counts: dict[str, int] = {}
    places: dict[str, Address] = {}
    written: Json[Address] | None = None
    addresses: list[Address] = []
    options: Options = {}
    choice: Literal["a", "b"] = "a"


async def take(body: Everything, key: Annotated[str, Header(max_length=2)] = "") -> str:
    return "done"


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        ({SECRET: 1}, "body", "member 1 is unknown; known are addresses, choice, counts, "),
        ({"choice": "b", SECRET: 1}, "body", "member 2 is unknown; "),
        (
            {"addresses": [{}, {"street": "", SECRET: 1}]},
            "addresses.1",
            "member 2 is unknown; known are street",
        ),
        (
            {"options": {"address": {SECRET: 1}}},
            "options.address",
            "member 1 is unknown; known are street",
        ),
        ({"options": {SECRET: 1}}, "options", "member 1 is unknown; known are address, "),
        (
            {"options": {"moreOptions": {"address": {}, SECRET: 1}}},
            "options.moreOptions",
            "member 2 is unknown; known are address, moreOptions, name",
        ),
        ({"addresses": [{"street": SECRET}]}, "addresses.0.street", "String should have at most 3"),
        ({"counts": {SECRET: "x"}}, "counts", "Input should be a valid integer"),
        ({"identifier": SECRET}, "identifier", "Input should be a valid UUID"),
        ({"rejected": SECRET}, "rejected", "Value error"),
        ({"templated": SECRET}, "templated", "is invalid"),
        ({"pet": {"kind": SECRET}}, "pet", "is invalid"),
        ({"pet": {"kind": "cat", SECRET: 1}}, "pet", "member 2 is unknown; known are kind, lives"),
        ({"pet": {"kind": "cat", "lives": SECRET}}, "pet.lives", "Input should be a valid integer"),
        ({"written": f'{{"{SECRET}": 1}}'}, "written", "a member is unknown; known are street"),
        ({"places": {SECRET: {"street": SECRET}}}, "places.street", "String should have at most 3"),
        ({"choice": SECRET}, "choice", "Input should be 'a' or 'b'"),
        (1.5, "body", "Input should be a valid dictionary or object to extract fields from"),
        (
            {"addresses": [1.5]},
            "addresses.0",
            "Input should be a valid dictionary or object to extract fields from",
        ),
    ],
    ids=str,
)
def test_no_message_and_no_field_has_what_the_client_sent(
    body: object, field: str, message: str
) -> None:
    with serve(take, method="POST") as api:
        response = api.post("/take", json=body)
        [error] = response.json()["errors"]
        assert (response.status_code, error["in"], error["field"]) == (422, "body", field)
        assert error["message"].startswith(message)
        assert error["message"] == message or message.endswith((" ", "3", "integer"))
        assert SECRET not in response.text


def test_a_header_is_named_and_its_value_is_not() -> None:
    with serve(take, method="POST") as api:
        response = api.post("/take", json={}, headers={"key": SECRET})
        [error] = response.json()["errors"]
        assert (response.status_code, error["in"], error["field"]) == (422, "header", "key")
        assert SECRET not in response.text


def test_all_values_in_pydantics_messages_are_known_to_be_the_schemas_or_not() -> None:
    """A new version may add one; an unknown one makes the whole message `is invalid`."""
    of_input = {"attribute", "error", "method_name", "encoding", "encoding_error"}
    of_input |= {"tz_actual", "tag"}
    named = {
        name
        for error in list_all_errors()
        for name in re.findall(r"{(\w+)}", error["message_template_python"])
    }
    assert named == SCHEMA_VALUES | of_input
