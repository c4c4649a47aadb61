"""The route of every operation: permission, limit, conditions, strict input, one retry.

Before a route's endpoint runs, in this order: the caller's permission is checked (a route without
one is rejected at import); the request is counted towards the caller's limit; conditions are read;
a POST with an `Idempotency-Key` is rejected if that would not make it idempotent; query parameters
are rejected if the route does not declare them, as a misspelled `dry_run` must not cause a change,
or if they are repeated, unless they are lists; the body is read strictly (`shared.http.json_body`).
A dependency would run after the body is parsed, and FastAPI's security classes would create all
OpenAPI models at a cold start. The fields of a body are strict by their schema (`extra="forbid"`; a
test checks every schema).

A request that met a broken database connection is retried once, on a new one. A connection may
break unnoticed between two requests: the server failed over, or a network device dropped it.
Nothing was committed then, as a COMMIT without a response is an `OutcomeUnknown`; a request with
several transactions, of which one has committed, is not retried.
"""

from collections import Counter
from collections.abc import Callable, Coroutine
from itertools import chain
from time import monotonic
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi._compat import ModelField, field_annotation_is_sequence
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_flat_params, get_validation_alias
from fastapi.routing import APIRoute, request_response

from shared.auth.limits import within_limit
from shared.auth.permissions import authorize
from shared.errors import PART_COMMITTED, DatabaseUnavailable, InvalidRequest, OutcomeUnknown
from shared.http.conditional import conditions_of
from shared.http.field_errors import unknown
from shared.http.json_body import check_media_type, read_json
from shared.request import KEY_HEADER, request_of

Handler = Callable[[Request], Coroutine[Any, Any, Response]]

PERMISSION = "x-permission"
"""The member of a route's `openapi_extra` that names its permission."""
KIND = "x-kind"
"""The member that names the kind of operation, by which it is documented. A plain route has it only
if it responds like operations of that kind."""
PRIVATE = "x-private"
"""The member of a list whose pages are cached for each caller."""
CACHED = "x-cached"
"""The member of a list whose pages are cached; it is not in the document."""
REPEATED = "may be given only once"


class ApiRoute(APIRoute):
    """A route with a permission. Raises `TypeError` without one."""

    def get_route_handler(self) -> Handler:
        extra = self.openapi_extra or {}
        permission, kind = extra.get(PERMISSION), extra.get(KIND)
        if permission is None:
            raise TypeError(
                f"The route {self.name} ({self.path}) has no permission: give it "
                f'openapi_extra={{"{PERMISSION}": "…"}}, such as "articles:write".'
            )
        handler = strict_handler(self, super().get_route_handler())
        resource = str(self.tags[0]) if self.tags else ""

        async def handle(http: Request) -> Response:
            request = request_of(http.scope)
            request.access = authorize(request, self.name, permission, resource)
            async with within_limit(request):
                request.conditions = conditions_of(http.method, http.headers, kind)
                _check_key(self, http)
                try:
                    return await handler(http)
                except DatabaseUnavailable as error:
                    if request.has_committed:
                        raise OutcomeUnknown(PART_COMMITTED) from None
                    if not error.connection_lost or monotonic() > request.deadline:
                        raise
                return await handler(http)

        return handle


def _check_key(route: APIRoute, http: Request) -> None:
    """Raise `InvalidRequest` for a POST with a key that would not make it idempotent."""
    if http.method != "POST" or KEY_HEADER not in http.headers:
        return
    if KEY_HEADER not in map(get_validation_alias, route.dependant.header_params):
        message = "is not supported by this operation, which a retry repeats"
        raise InvalidRequest([{"in": "header", "field": KEY_HEADER, "message": message}])


def api_router(tag: str) -> APIRouter:
    """Return a router whose operations have the tag."""
    return APIRouter(tags=[tag], route_class=ApiRoute, generate_unique_id_function=operation_id)


def operation_id(route: APIRoute) -> str:
    return route.name


def make_public(route: APIRoute) -> None:
    """Add the strict input and the address's limit to a route without a permission."""
    handler = strict_handler(route, route.get_route_handler())

    async def handle(http: Request) -> Response:
        async with within_limit(request_of(http.scope)):
            return await handler(http)

    route.app = request_response(handle)


def strict_handler(route: APIRoute, handler: Handler) -> Handler:
    """Return the handler of a route, preceded by the checks of query parameters and body.

    It raises `InvalidRequest`, `UnsupportedMediaType` and `MalformedJson`.

    Raises `TypeError` for a body that FastAPI makes of parameters: it may have unknown members.
    """
    has_body = route.body_field is not None
    body = route.body_field.field_info.annotation if route.body_field is not None else None
    if getattr(body, "__module__", "").startswith("fastapi."):
        raise TypeError(f"the body of {route.name} is made of parameters: give it one model")
    repeatable: dict[str, bool] = {}
    is_derived = False

    async def handle(request: Request) -> Response:
        nonlocal is_derived
        if request.scope["query_string"]:
            if not is_derived:  # at the first use, as most cold starts do not need it
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
        for field in get_flat_params(Dependant(query_params=declared_parameters(route.dependant)))
    }


def declared_parameters(dependant: Dependant) -> list[ModelField]:
    """Return the query parameters, those of dependencies included; a model is one of them."""
    inner = (declared_parameters(dependency) for dependency in dependant.dependencies)
    return [*dependant.query_params, *chain.from_iterable(inner)]


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
