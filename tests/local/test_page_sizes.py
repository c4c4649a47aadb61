"""Pages that Lambda could not return are rejected when the OpenAPI document is made."""

import json
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from fastapi import FastAPI, Query
from pydantic import BaseModel, Field, create_model

from local.generate.page_sizes import check_pages
from local.runtime.pure_python import MAX_RESPONSE_BYTES
from shared.http.fields import DECIMAL_DIGITS, Body, Content, Digits, JsonObject, Line
from shared.http.pagination import CursorPage, CursorParameters, limit_up_to

WIDE, QUOTE = "\U0001f600", '"'
Lines = Annotated[list[Line], Field(max_length=3)]
Named = Annotated[dict[Line, Line], Field(max_length=9)]
Amount = Annotated[str, Digits(900, 2)]


class Object(BaseModel):
    a: Content
    b: Content


def document_of(sent: object, shown: object, limit: int) -> dict[str, Any]:
    """The document of a list with this limit, and of its create, which takes one field."""
    parameters = create_model(
        "Parameters",
        __base__=CursorParameters,
        limit=(Annotated[int, limit_up_to(limit), DECIMAL_DIGITS], 10),
    )
    thing = create_model("Thing", id=(UUID, ...), field=(shown, ...))
    create = create_model("ThingCreate", __base__=Body, field=(sent, ...))
    app = FastAPI()

    def list_things(query: Any) -> None: ...

    def create_thing(body: Any) -> None: ...

    list_things.__annotations__ = {"query": Annotated[parameters, Query()]}
    create_thing.__annotations__ = {"body": create}
    app.get("/things", tags=["things"], response_model=CursorPage[thing])(list_things)  # type: ignore[valid-type]
    app.post("/things", tags=["things"], response_model=thing)(create_thing)
    return app.openapi()


def size_of(value: object) -> int:
    """The bytes of a row with this value in Lambda's response."""
    row = json.dumps({"id": str(UUID(int=0)), "field": value}, ensure_ascii=False)
    return len(json.dumps(f"{row},", ensure_ascii=False).encode()) - 2


@pytest.mark.parametrize(
    ("sent", "shown", "largest"),
    [
        (Content, str, WIDE * 10_000),
        (Content | None, str | None, QUOTE * 10_000),
        (Lines, list[str], [WIDE * 200] * 3),
        (JsonObject, dict[str, Any], {"a": WIDE * 9_990}),
        (Object, dict[str, Any], {"a": WIDE * 10_000, "b": QUOTE * 10_000}),
        (list[Object], list[Any], ["x" * 128 * 1024]),  # as large as a body
        (str, str, "x" * 200 * 1024),
        (Amount, str, "-" + "9" * 3600),  # its digits need a byte each
        (Named, dict[str, str], {f"{n}{QUOTE * 199}": WIDE * 200 for n in range(9)}),
        (Literal["a", WIDE * 3000], str, WIDE * 3000),
    ],
)
def test_a_list_is_rejected_from_the_limit_on_that_lambda_could_not_return(
    sent: object, shown: object, largest: object
) -> None:
    fits = MAX_RESPONSE_BYTES // size_of(largest)
    check_pages(document_of(sent, shown, limit=int(fits * 0.45)))
    with pytest.raises(ValueError, match=r"GET /things: .* rows of up to .* bytes"):
        check_pages(document_of(sent, shown, limit=fits + 1))


def test_the_message_has_the_limit_that_does() -> None:
    with pytest.raises(
        ValueError, match=r"limit_up_to\((\d+)\), DECIMAL_DIGITS\].*: field, id$"
    ) as error:
        check_pages(document_of(Object, dict[str, Any], limit=100))
    limit = int(str(error.value).partition("limit_up_to(")[2].partition(")")[0])
    check_pages(document_of(Object, dict[str, Any], limit))
    with pytest.raises(ValueError, match=f"{limit + 1} rows"):
        check_pages(document_of(Object, dict[str, Any], limit + 1))


@pytest.mark.parametrize("shown", [str, list[str], dict[str, str], int, float, UUID, bool])
def test_a_field_that_no_client_sends_is_small(shown: object) -> None:
    document = document_of(Line, shown, limit=100)
    create = document["components"]["schemas"]["ThingCreate"]["properties"]
    create["other"] = create.pop("field")
    check_pages(document)


def test_a_limit_of_a_route_without_pages_is_not_checked() -> None:
    app = FastAPI()

    @app.get("/words", tags=["things"])
    def count_words(limit: int = 10) -> dict[str, int]:
        return {"words": limit}

    check_pages(app.openapi())
