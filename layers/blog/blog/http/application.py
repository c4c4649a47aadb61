"""A resource's FastAPI application, and its Lambda handler.

The handler responds to events of an API Gateway HTTP API (payload format 2.0).
"""

from fastapi import APIRouter, FastAPI
from mangum import Mangum

from blog.http.middleware import RequestMiddleware
from blog.http.problems import PROBLEM_MEDIA_TYPE, register_error_handlers


def create_app(router: APIRouter) -> FastAPI:
    """Return the application of one resource.

    It serves no documentation (MetaFunction has the merged document), and FastAPI's own telemetry
    is off (see `blog.observability`).
    """
    app = FastAPI(
        # Not by include_router, which makes each route once more, at the first request.
        routes=router.routes,
        openapi_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    register_error_handlers(app)
    return app


def lambda_handler(app: FastAPI) -> Mangum:
    """Return the function that Lambda calls with an event and a context."""
    return Mangum(
        RequestMiddleware(app),
        lifespan="off",
        text_mime_types=["text/", "application/json", PROBLEM_MEDIA_TYPE],
    )
