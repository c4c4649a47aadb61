"""Entries of a problem's `errors`: invalid fields and messages, without a client's text.

A name that the client made up is its text too, so an unknown field or parameter is identified by
its position and by the known names. pydantic's messages quote the input in places (a
character of a malformed UUID, a tag, whatever a `ValueError` says): only values of the schema stay.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args, get_type_hints

from fastapi.dependencies.utils import get_flat_params, get_validation_alias
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel
from typing_extensions import is_typeddict

from shared.errors import MAX_ERRORS, InvalidRequest

Location = Sequence[str | int]

UNKNOWN = "extra_forbidden"
OF_SCHEMA = frozenset(
    {"actual_length", "class", "class_name", "decimal_places", "discriminator", "expected"}
    | {"expected_plural", "expected_schemes", "expected_tags", "expected_version", "field_type"}
    | {"ge", "gt", "le", "lt", "max_digits", "max_length", "min_length", "multiple_of", "pattern"}
    | {"tz_expected", "whole_digits"}
)
"""The values in pydantic's messages that are not the client's; a length is the only measure."""


def unknown(kind: str, position: int, known: Iterable[str]) -> str:
    """Return the message about what is not declared, number `position` of its kind."""
    names = ", ".join(sorted(known))
    return f"{kind} {position} is unknown; {f'known are {names}' if names else 'none is known'}"


def invalid_request(route: APIRoute, error: RequestValidationError) -> InvalidRequest:
    """Return what FastAPI found wrong with a request to the route."""
    errors = error.errors()
    first = [_field_error(route, one, error.body) for one in errors[:MAX_ERRORS]]
    return InvalidRequest(first, len(errors))


def _field_error(route: APIRoute, error: Mapping[str, Any], body: object) -> dict[str, str]:
    place, *path = error["loc"]
    known, members = _known(route, place, path)
    if error["type"] == UNKNOWN and place == "body":
        message = unknown("member", _position(body, path), members)
    else:
        message = _message(error)
    return {"in": place, "field": ".".join(map(str, known)) or place, "message": message}


def _message(error: Mapping[str, Any]) -> str:
    message: str = error["msg"]
    context = error.get("ctx", {})
    if context.keys() <= OF_SCHEMA:
        return message
    if context.keys() - OF_SCHEMA == {"error"}:  # at the end of all messages that have it
        return message.removesuffix(str(context["error"])).rstrip(" ,:")
    return "is invalid"


def _known(
    route: APIRoute, place: str, path: Location
) -> tuple[list[str | int], Mapping[str, Any]]:
    """Return the path up to the first name that is not declared, and the names declared there."""
    if place == "body":
        body = route.body_field
        members = {} if body is None else _members(body.field_info.annotation)
    else:
        fields = get_flat_params(route.dependant)
        members = {get_validation_alias(field): field.field_info.annotation for field in fields}
    known: list[str | int] = []
    for part in path:
        if isinstance(part, str):
            if part not in members:
                break
            members = _members(members[part])
        known.append(part)
    return known, members


def _members(annotation: Any) -> Mapping[str, Any]:
    """Return the members of the objects that the type allows, by name."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        fields = annotation.model_fields.items()
        return {field.alias or name: field.annotation for name, field in fields}
    if is_typeddict(annotation):
        return get_type_hints(annotation, include_extras=True)
    found: dict[str, Any] = {}
    for argument in get_args(annotation):
        found |= _members(argument)
    return found


def _position(body: object, path: Location) -> int:
    """Return which member of its object the last of the path is, from 1."""
    value: Any = body
    for part in path[:-1]:
        value = value[part]
    return list(value).index(path[-1]) + 1
