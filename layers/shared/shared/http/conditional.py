"""Conditional requests (RFC 9110, section 13): their headers, and responses with entity tags.

All tags are strong. A page's tag is a hash of its bytes; a resource's is the version of its row and
a hash of its bytes, which changes when a release changes the JSON. Reads compare the whole tag, 412
before 304. Writes compare only the version of If-Match, in their statement
(`shared.database.versions`), as a tag of an earlier release still has the row's version. All other
errors take precedence over conditions.
"""

import re
from collections.abc import Mapping

from fastapi import Response
from starlette.datastructures import Headers

from shared.conditions import EXAMPLE_TAG, UNCONDITIONAL, Conditions, Tags
from shared.errors import InvalidRequest, PreconditionFailed, PreconditionRequired
from shared.settings import settings

NEED_IF_MATCH = ("replace", "update", "delete")
"""The kinds of operations to which `REQUIRE_IF_MATCH` applies."""
TAG = r'(W/)?"([!#-~\x80-\xff]*)"'
CONDITION_PATTERN = rf"^(\*|[ \t,]*{TAG}([ \t]*,[ \t,]*{TAG})*[ \t,]*)$"
"""Also a valid regular expression in JSON Schema."""


def conditions_of(method: str, headers: Headers, kind: str | None) -> Conditions:
    """Return the request's conditions; `kind` is the kind of operation, None for a plain route.

    Raises `InvalidRequest` for a malformed header and for a write with If-None-Match, and
    `PreconditionRequired` for a write without If-Match if `REQUIRE_IF_MATCH` is set.
    """
    if kind == "create":
        return UNCONDITIONAL
    if_match, if_none_match = _tags(headers, "If-Match"), _tags(headers, "If-None-Match")
    if method != "GET" and if_none_match is not None:
        raise _invalid("If-None-Match", "is for reads; send If-Match with a write")
    if kind in NEED_IF_MATCH and if_match is None and settings().require_if_match:
        raise PreconditionRequired("This needs the header If-Match, with the ETag of a GET.")
    return Conditions(if_match, if_none_match)


def _tags(headers: Headers, name: str) -> Tags | None:
    """Return the tags of a header, None without it. Repeated headers are one list."""
    if name not in headers:
        return None
    text = ", ".join(headers.getlist(name)).strip(" \t")
    if text == "*":
        return Tags(frozenset(), any=True)
    if not re.fullmatch(CONDITION_PATTERN, text):
        raise _invalid(name, f"must be * or a list of entity tags in quotes, such as {EXAMPLE_TAG}")
    found: list[tuple[str, str]] = re.findall(TAG, text)
    strong = frozenset(tag for weak, tag in found if not weak)
    return Tags(strong, frozenset(tag for weak, tag in found if weak))


def _invalid(header: str, message: str) -> InvalidRequest:
    return InvalidRequest([{"in": "header", "field": header, "message": message}])


JSON = "application/json"


def json_response(
    content: bytes, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    return Response(content, status, headers, media_type=JSON)


def conditional_response(
    conditions: Conditions,
    content: bytes,
    tag: str,
    headers: Mapping[str, str] | None = None,
    media_type: str = JSON,
) -> Response:
    """Return the content of a read with its tag, or 304. Raises `PreconditionFailed`."""
    etag = {"ETag": f'"{tag}"'}
    if conditions.has_changed(tag):
        raise PreconditionFailed
    if conditions.is_known(tag):
        return Response(status_code=304, headers=etag)
    return Response(content, headers={**(headers or {}), **etag}, media_type=media_type)
