"""Requests have what their route declares, and nothing else; one place for every route.

What a route takes is derived from it, so a new route is strict without saying so. Query parameters
that it does not know are rejected, and repeated ones unless they are lists: a client that misspells
`dry_run` must not find out by what was changed. Bodies are read strictly (`blog.http.json_body`).
The fields of a body are strict by their schema (`extra="forbid"`; a test holds every schema to it).
"""

from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi._compat import ModelField, field_annotation_is_sequence
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_flat_params, get_validation_alias
from fastapi.routing import APIRoute

from blog.errors import InvalidRequest
from blog.http.field_errors import unknown
from blog.http.json_body import check_media_type, read_json

Handler = Callable[[Request], Coroutine[Any, Any, Response]]

REPEATED = "may be given only once"


def strict_handler(route: APIRoute, handler: Handler) -> Handler:
    """Return the route's handler behind the checks.

    It raises `InvalidRequest`, `UnsupportedMediaType` and `MalformedJson`.
    """
    has_body = route.body_field is not None
    repeatable: dict[str, bool] = {}
    is_derived = False

    async def handle(request: Request) -> Response:
        nonlocal is_derived
        if request.scope["query_string"]:
            if not is_derived:  # not at a cold start that does not need it
                repeatable.update(query_parameters(route))
                is_derived = True
            _check_query(request, repeatable)
        if has_body and (body := await request.body()):
            check_media_type(request.method, request.headers)
            request = _JsonRequest(request, body)
        return await handler(request)

    return handle


def query_parameters(route: APIRoute) -> dict[str, bool]:
    """Return the names of the route's query parameters, and whether each may be repeated."""
    return {
        get_validation_alias(field): field_annotation_is_sequence(field.field_info.annotation)
        for field in _query_fields(route.dependant)
    }


def _query_fields(dependant: Dependant) -> list[ModelField]:
    """Those of its dependencies and of models of parameters too."""
    fields = get_flat_params(Dependant(query_params=dependant.query_params))
    return fields + [
        field for dependency in dependant.dependencies for field in _query_fields(dependency)
    ]


def _check_query(request: Request, repeatable: dict[str, bool]) -> None:
    given = Counter(name for name, _ in request.query_params.multi_items())
    errors = [
        ("query", unknown("parameter", number, repeatable))
        for number, name in enumerate(given, 1)
        if name not in repeatable
    ]
    errors += [
        (name, REPEATED)
        for name, count in given.items()
        if count > 1 and not repeatable.get(name, True)
    ]
    if errors:
        raise InvalidRequest(
            [{"in": "query", "field": field, "message": message} for field, message in errors]
        )


class _JsonRequest(Request):
    """A request whose body has been read."""

    def __init__(self, request: Request, body: bytes) -> None:
        super().__init__(request.scope)
        self._content = body
        self._value = read_json(body)

    async def body(self) -> bytes:
        return self._content

    async def json(self) -> Any:
        return self._value
