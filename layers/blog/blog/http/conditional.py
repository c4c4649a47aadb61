"""Conditional requests (RFC 9110, section 13): their headers, and responses with entity tags.

All tags are strong. A page's is a hash of its bytes; a resource's is the version of its row with a
hash of its bytes, which changes when a release changes the JSON. Reads are judged here by the whole
tag, 412 before 304. Writes are judged in their statement (`blog.database.versions`), by the version
alone: what a client knows of the row is what it was under an earlier release. All other errors come
before a condition.
"""

import re
from collections.abc import Mapping
from typing import Any, Protocol

from fastapi import Response
from pydantic import BaseModel
from starlette.datastructures import Headers

from blog.conditions import (
    EXAMPLE_TAG,
    UNCONDITIONAL,
    Conditions,
    Tags,
    content_tag,
    current_conditions,
    resource_tag,
)
from blog.errors import InvalidRequest, PreconditionFailed, PreconditionRequired
from blog.settings import settings

CONDITIONAL_METHODS = ("PUT", "PATCH", "DELETE")
TAG = r'(W/)?"([!#-~\x80-\xff]*)"'
CONDITION_PATTERN = rf"^(\*|[ \t,]*{TAG}([ \t]*,[ \t,]*{TAG})*[ \t,]*)$"
"""Also valid in JSON Schema's regular expressions."""


class Versioned(Protocol):
    """A row of a resource with its `version`."""

    @property
    def version(self) -> str: ...


def conditions_of(method: str, headers: Headers, *, has_target: bool) -> Conditions:
    """Return the request's conditions; `has_target` if its path names a resource.

    Raises `InvalidRequest` for a malformed header, and `PreconditionRequired` for a write that
    lacks the If-Match which `REQUIRE_IF_MATCH` demands.
    """
    if method == "POST" and not has_target:
        return UNCONDITIONAL  # it makes something new
    is_safe = method == "GET"  # HEAD is routed as GET (`blog.http.middleware`)
    conditions = Conditions(is_safe, _tags(headers, "If-Match"), _tags(headers, "If-None-Match"))
    is_change = method in CONDITIONAL_METHODS
    if is_change and conditions.if_match is None and settings().require_if_match:
        raise PreconditionRequired("This needs the header If-Match, with the ETag of a GET.")
    return conditions


def _tags(headers: Headers, name: str) -> Tags | None:
    """Several lines of a header are one list; a tag may contain commas."""
    if name not in headers:
        return None
    text = ", ".join(headers.getlist(name)).strip(" \t")
    if text == "*":
        return Tags(frozenset(), any=True)
    if not re.fullmatch(CONDITION_PATTERN, text):
        message = f"must be * or a list of entity tags in quotes, such as {EXAMPLE_TAG}"
        raise InvalidRequest([{"in": "header", "field": name, "message": message}])
    found: list[tuple[str, str]] = re.findall(TAG, text)
    strong = frozenset(tag for weak, tag in found if not weak)
    return Tags(strong, frozenset(tag for weak, tag in found if weak))


def resource_response(schema: type[BaseModel], row: Versioned) -> Response:
    """Return what was read, an object with the schema's attributes, if the conditions allow it.

    Raises `PreconditionFailed`.
    """
    content = schema.model_validate(row).model_dump_json().encode()
    return conditional_response(content, resource_tag(row.version, content))


def changed_response(schema: type[BaseModel], row: Versioned) -> Response:
    """Return what was written, with its new tag. Not for PUT (RFC 9110, section 9.3.4)."""
    content = schema.model_validate(row).model_dump_json().encode()
    headers = {"ETag": f'"{resource_tag(row.version, content)}"'}
    return Response(content, headers=headers, media_type="application/json")


def hashed_response(content: bytes, headers: Mapping[str, str] | None = None) -> Response:
    """Return the JSON with a hash of its bytes as tag, if the conditions allow it.

    Raises `PreconditionFailed`.
    """
    return conditional_response(content, content_tag(content), headers)


def conditional_response(
    content: bytes, tag: str, headers: Mapping[str, str] | None = None
) -> Response:
    """Return the JSON, or 304 without it. Raises `PreconditionFailed`."""
    conditions = current_conditions.get()
    etag = {"ETag": f'"{tag}"'}
    if conditions.has_changed(tag):
        raise changed_since()
    if not conditions.is_known(tag):
        all_headers: dict[str, Any] = {**(headers or {}), **etag}
        return Response(content, headers=all_headers, media_type="application/json")
    if conditions.is_safe:
        return Response(status_code=304, headers=etag)
    raise changed_since()


def changed_since() -> PreconditionFailed:
    return PreconditionFailed("The resource is not as If-Match or If-None-Match demands.")
