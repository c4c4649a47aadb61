"""The entries of a problem's `errors`: invalid fields and messages, without a client's text.

An unknown field or parameter has a name that the client chose, so it is identified by its position
and by the known names. Some of pydantic's messages quote the input (a character of a malformed
UUID, a tag, the text of a `ValueError`): only values from the schema are kept.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, get_args, get_type_hints

from fastapi.dependencies.utils import get_flat_params, get_validation_alias
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, TypeAdapter
from typing_extensions import is_typeddict

from shared.errors import MAX_ERRORS, InvalidRequest

Location = Sequence[str | int]

UNKNOWN = "extra_forbidden"
SCHEMA_VALUES = frozenset(
    {"actual_length", "class", "class_name", "decimal_places", "discriminator", "expected"}
    | {"expected_plural", "expected_schemes", "expected_tags", "expected_version", "field_type"}
    | {"ge", "gt", "le", "lt", "max_digits", "max_length", "min_length", "multiple_of", "pattern"}
    | {"tz_expected", "whole_digits"}
)
"""Values in pydantic's messages that are not the client's, besides the length of its value."""


def unknown(kind: str, position: int, known: Iterable[str]) -> str:
    """Return the message about an undeclared parameter or member.

    Positions count from 1; 0 is an unknown one.
    """
    names = ", ".join(sorted(known))
    which = f"{kind} {position}" if position else f"a {kind}"
    return f"{which} is unknown; {f'known are {names}' if names else 'none is known'}"


def invalid_request(route: APIRoute, error: RequestValidationError) -> InvalidRequest:
    """Return FastAPI's errors of a request to the route as a problem."""
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
    if context.keys() <= SCHEMA_VALUES:
        return message
    if context.keys() - SCHEMA_VALUES == {"error"}:  # always at the end of the message
        return message.removesuffix(str(context["error"])).rstrip(" ,:")
    return "is invalid"


def _known(
    route: APIRoute, place: str, path: Location
) -> tuple[list[str | int], Mapping[str, Any]]:
    """Return the path's declared names and positions, and the names declared where it ends.

    Undeclared are the names of clients, such as keys of a dictionary, and alternatives of a union.
    """
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
                continue
            members = _members(members[part])
        known.append(part)
    return known, members


def _members(annotation: Any) -> Mapping[str, Any]:
    """Return the annotations of the members of the objects that a type allows, by name in JSON."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        fields = annotation.model_fields.items()
        return {field.alias or name: field.annotation for name, field in fields}
    if is_typeddict(annotation):
        hints = get_type_hints(annotation, include_extras=True)
        aliases = _aliases(annotation)
        return {aliases.get(name, name): hint for name, hint in hints.items()}
    found: dict[str, Any] = {}
    for argument in get_args(annotation):
        found |= _members(argument)
    return found


def _aliases(dictionary: Any) -> dict[str, str]:
    """Return the aliases of a typed dictionary's fields that have one, not a choice of several."""
    whole: Mapping[str, Any] = TypeAdapter(dictionary).core_schema
    parts = [whole, whole.get("schema", {}), *whole.get("definitions", ())]
    (fields,) = (one["fields"] for one in parts if one.get("cls") is dictionary)
    aliases = {name: one.get("validation_alias") for name, one in fields.items()}
    return {name: alias for name, alias in aliases.items() if isinstance(alias, str)}


def _position(body: object, path: Location) -> int:
    """Return the position of the path's last name in its object, from 1; 0 if it is not there.

    The body may lack a part that names an alternative of a union, or what a validator has made.
    """
    *parts, name = path
    found: dict[int, Any] = {id(body): body}
    for part in parts:
        for one in [*found.values()]:
            with suppress(LookupError, TypeError):
                found[id(one[part])] = one[part]
    objects = (one for one in reversed(found.values()) if isinstance(one, dict) and name in one)
    return next(([*one].index(name) + 1 for one in objects), 0)
