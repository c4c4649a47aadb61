"""A resource's FastAPI application, and its Lambda handler.

The handler responds to events of an API Gateway HTTP API (payload format 2.0).
"""

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from mangum import Mangum

from blog.http.middleware import RequestMiddleware
from blog.http.problems import PROBLEM_MEDIA_TYPE, register_error_handlers


def create_app(router: APIRouter) -> FastAPI:
    """Return the application of one resource.

    It serves no documentation (MetaFunction has the merged document), and FastAPI's own telemetry
    is off (see `blog.observability`).
    """
    app = FastAPI(
        openapi_url=None,
        redirect_slashes=False,
        generate_unique_id_function=_operation_id,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.include_router(router)
    register_error_handlers(app)
    return app


def lambda_handler(app: FastAPI) -> Mangum:
    """Return the function that Lambda calls with an event and a context."""
    return Mangum(
        RequestMiddleware(app),
        lifespan="off",
        text_mime_types=["text/", "application/json", PROBLEM_MEDIA_TYPE],
    )


def _operation_id(route: APIRoute) -> str:
    return route.name
