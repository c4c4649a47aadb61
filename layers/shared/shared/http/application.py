"""A function's FastAPI application, and its Lambda handler.

The handler responds to events of an API Gateway HTTP API (payload format 2.0).
"""

import re

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from mangum import Mangum

from shared.gateway import HttpApiEvent
from shared.http.middleware import RequestMiddleware
from shared.http.problems import PROBLEM_MEDIA_TYPE, register_error_handlers
from shared.http.route import ApiRoute, make_public
from shared.observability import silence_libraries


def create_app(router: APIRouter, *, is_public: bool = False) -> FastAPI:
    """Return the application of one function; `is_public`: its routes need no permission.

    It serves no documentation (MetaFunction has the merged document), and FastAPI's own telemetry
    is off (see `shared.observability`).

    Raises `TypeError` for a route without a permission, for two of one method and path, for a path
    that an earlier route takes for the key of an item, and for a mounted application or any other
    route whose parameters FastAPI does not know.
    """
    known: dict[tuple[str, str], APIRoute] = {}
    for route in router.routes:
        if not isinstance(route, APIRoute):
            raise TypeError(f"{route} is not a FastAPI route, so its parameters are unknown.")
        if is_public:
            make_public(route)
        elif not isinstance(route, ApiRoute):
            raise TypeError(f"The route {route.name} ({route.path}) is not of an api_router.")
        for method in route.methods or ():
            place = method, re.sub(r"\{\w+", "{", route.path)
            if (first := known.setdefault(place, route)) is not route:
                both = f"{first.name} and {route.name}"
                raise TypeError(f"{both} are {method} {route.path}: only the first is reachable")
            for (other, _), first in known.items():
                if other == method and first is not route and first.path_regex.match(route.path):
                    raise TypeError(
                        f"{first.name} would get the requests for {method} {route.path}: put"
                        f" {route.name} before it"
                    )
    app = FastAPI(
        # include_router would create each route again, at the first request.
        routes=router.routes,
        openapi_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    register_error_handlers(app)
    return app


def lambda_handler(app: FastAPI) -> Mangum:
    """Return the function that Lambda calls with an event and a context."""
    silence_libraries()
    return Mangum(
        RequestMiddleware(app),
        lifespan="off",
        custom_handlers=[HttpApiEvent],
        text_mime_types=["text/", "application/json", PROBLEM_MEDIA_TYPE],
    )
