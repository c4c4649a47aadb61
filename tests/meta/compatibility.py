"""The changes of an OpenAPI document that break its clients.

A client sends what the older document allows, so a request may not be restricted: no operation,
parameter, field or value is taken away, and none becomes required. A client reads what the older
document promises, so a response keeps its fields, and their types. What is only added breaks no
client, a new value of an enumeration in a response included: clients have to ignore what they do
not know, as docs/api.md says.
"""

from collections.abc import Iterator, Mapping
from typing import Any

Document = Mapping[str, Any]
METHODS = ("get", "put", "post", "delete", "patch")
MINIMA = ("minimum", "exclusiveMinimum", "minLength", "minItems")
MAXIMA = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")


def breaking_changes(old: Document, new: Document) -> list[str]:
    """Return a line for each change that breaks a client of the older document."""
    return [
        f"{method.upper()} {path}: {change}"
        for path, operations in old["paths"].items()
        for method, operation in operations.items()
        if method in METHODS
        for change in _of_operation(
            Side(old, operation), Side(new, new["paths"].get(path, {}).get(method))
        )
    ]


class Side:
    """A part of one of the two documents, in which references lead somewhere."""

    def __init__(self, document: Document, part: Any) -> None:
        while isinstance(part, Mapping) and "$ref" in part:
            _, *names = part["$ref"].split("/")
            part = document
            for name in names:
                part = part[name]
        self._document = document
        self.part = part

    def __bool__(self) -> bool:
        return self.part is not None

    def get(self, name: str, default: Any = None) -> Any:
        return self.part.get(name, default)

    def at(self, *names: str) -> "Side":
        """Return the part below; of None if there is none."""
        side = self
        for name in names:
            side = Side(self._document, side.part.get(name) if side else None)
        return side

    def each(self, name: str) -> "list[Side]":
        return [Side(self._document, part) for part in self.get(name, ())]


def _of_operation(old: Side, new: Side) -> Iterator[str]:
    if not new:
        yield "removed"
        return
    yield from _of_parameters(old, new)
    body, new_body = old.at("requestBody"), new.at("requestBody")
    if new_body and new_body.get("required") and not (body and body.get("required")):
        yield "the body is required"
    for media_type in body.get("content", ()) if body else ():
        schema = new_body.at("content", media_type, "schema")
        yield from _of_request(body.at("content", media_type, "schema"), schema, "body")
    for status in old.get("responses"):
        if not status.startswith("2"):
            continue
        response = new.at("responses", status)
        if not response:
            yield f"{status}: removed"
            continue
        for media_type in old.at("responses", status).get("content", ()):
            schemas = [
                one.at("responses", status, "content", media_type, "schema") for one in (old, new)
            ]
            yield from _of_response(schemas[0], schemas[1], status)


def _of_parameters(old: Side, new: Side) -> Iterator[str]:
    known = {_place(one): one for one in old.each("parameters")}
    present = {_place(one): one for one in new.each("parameters")}
    for place, parameter in known.items():
        if place in present:
            yield from _of_request(parameter.at("schema"), present[place].at("schema"), place)
        else:
            yield f"{place}: removed"
    for place, parameter in present.items():
        was_required = place in known and known[place].get("required")
        if parameter.get("required") and not was_required:
            yield f"{place}: required"


def _place(parameter: Side) -> str:
    return f"{parameter.get('in')} {parameter.get('name')}"


def _of_request(old: Side, new: Side, place: str) -> Iterator[str]:
    """Yield what was valid in a request, and no longer is."""
    if not new:
        yield f"{place}: removed"
        return
    if removed := _types(old) - _types(new):
        yield f"{place}: no longer {', '.join(sorted(removed))}"
    allowed = new.get("enum", [new.get("const")] if new.get("const") else None)
    if allowed is not None and not set(old.get("enum", [object()])) <= set(allowed):
        yield f"{place}: fewer values"
    for name in (*MINIMA, *MAXIMA, "pattern", "format"):
        if new.get(name) is not None and _is_narrower(name, old.get(name), new.get(name)):
            yield f"{place}: {name} is {new.get(name)}"
    for name in sorted(set(new.get("required", ())) - set(old.get("required", ()))):
        yield f"{place}.{name}: required"
    for name in old.get("properties", ()):
        schemas = [one.at("properties", name) for one in (old, new)]
        yield from _of_request(schemas[0], schemas[1], f"{place}.{name}")
    if old.at("items"):
        yield from _of_request(old.at("items"), new.at("items"), f"{place}[]")


def _is_narrower(name: str, old: Any, new: Any) -> bool:
    if old is None or name not in (*MINIMA, *MAXIMA):
        return bool(old != new)
    return bool(new > old if name in MINIMA else new < old)


def _of_response(old: Side, new: Side, place: str) -> Iterator[str]:
    """Yield what a response promised, and no longer does."""
    if not new:
        yield f"{place}: removed"
        return
    if added := _types(new) - _types(old):
        yield f"{place}: may be {', '.join(sorted(added))}"
    for name in sorted(set(old.get("required", ())) - set(new.get("required", ()))):
        yield f"{place}.{name}: may be missing"
    for name in old.get("properties", ()):
        schemas = [one.at("properties", name) for one in (old, new)]
        yield from _of_response(schemas[0], schemas[1], f"{place}.{name}")
    if old.at("items"):
        yield from _of_response(old.at("items"), new.at("items"), f"{place}[]")


def _types(schema: Side) -> set[str]:
    """Return the types that a value may have; of a union those of its parts."""
    parts = schema.each("anyOf") or schema.each("oneOf")
    if parts:
        return set[str]().union(*map(_types, parts))
    types = schema.get("type", ())
    return {types} if isinstance(types, str) else set(types)
