"""A resource's FastAPI application, and its Lambda handler.

The handler responds to events of an API Gateway HTTP API (payload format 2.0).
"""

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute, request_response
from mangum import Mangum
from starlette.routing import BaseRoute

from blog.http.authorization import AuthorizedRoute, limited_handler
from blog.http.gateway_event import HttpApiEvent
from blog.http.middleware import RequestMiddleware
from blog.http.problems import PROBLEM_MEDIA_TYPE, register_error_handlers
from blog.http.strict_input import strict_handler
from blog.observability import silence_libraries


def create_app(router: APIRouter) -> FastAPI:
    """Return the application of one resource.

    It serves no documentation (MetaFunction has the merged document), and FastAPI's own telemetry
    is off (see `blog.observability`). Every route is strict, and limits its callers, whatever its
    class: raises `TypeError` for what is no FastAPI route, such as a mounted application.
    """
    for route in router.routes:
        _make_strict_and_limited(route)
    app = FastAPI(
        # Not by include_router, which makes each route once more, at the first request.
        routes=router.routes,
        openapi_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    register_error_handlers(app)
    return app


def _make_strict_and_limited(route: BaseRoute) -> None:
    if not isinstance(route, APIRoute):
        raise TypeError(f"{route} is not a FastAPI route, so what it takes cannot be derived.")
    if not isinstance(route, AuthorizedRoute):
        handler = strict_handler(route, route.get_route_handler())
        route.app = request_response(limited_handler(handler))


def lambda_handler(app: FastAPI) -> Mangum:
    """Return the function that Lambda calls with an event and a context."""
    silence_libraries()
    return Mangum(
        RequestMiddleware(app),
        lifespan="off",
        custom_handlers=[HttpApiEvent],
        text_mime_types=["text/", "application/json", PROBLEM_MEDIA_TYPE],
    )
