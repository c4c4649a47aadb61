"""Errors as RFC 9457 problems: `application/problem+json`, the framework's own errors included."""

import json
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from shared.auth.limits import within_limit
from shared.errors import (
    MAX_BODY_BYTES,
    ApiError,
    ContentTooLarge,
    InternalError,
    MethodNotAllowed,
    NotFound,
    TooManyRequests,
)
from shared.http.field_errors import invalid_request
from shared.http.json_body import ACCEPT_PATCH
from shared.request import ApiRequest, request_of

PROBLEM_MEDIA_TYPE = "application/problem+json"
ERRORS = "x-errors"
"""The member of a route's response with the names of its errors, which `local.generate` reads."""


def problem_response(error: ApiError, request: ApiRequest) -> Response:
    """Return the error as an HTTP response, with a `type` below the request's base path."""
    problem = error.problem()
    problem["type"] = request.base_path + problem["type"]
    body = json.dumps(problem, ensure_ascii=False).encode()
    return Response(body, error.status, error.headers, PROBLEM_MEDIA_TYPE)


def problem_responses(*errors: type[ApiError]) -> dict[int | str, dict[str, Any]]:
    """Return the value of `responses=` for a route with these errors of its own.

    Errors of its kind, method, permission and body are documented without it.
    """
    responses: dict[int | str, dict[str, Any]] = {}
    for error in errors:
        responses.setdefault(error.status, {ERRORS: []})[ERRORS].append(error.__name__)
    return responses


def register_error_handlers(app: FastAPI) -> None:
    """Respond to every error of the application, the framework's own included, with a problem."""

    async def on_api_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, ApiError)
        return problem_response(error, request_of(request.scope))

    async def on_validation_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        problem = invalid_request(request.scope["route"], error)
        return problem_response(problem, request_of(request.scope))

    async def on_http_exception(request: Request, error: Exception) -> Response:
        """Respond to a request that matched no route, which needs no token, or to its error."""
        assert isinstance(error, HTTPException)
        known = request_of(request.scope)
        if request.method == "OPTIONS" and error.status_code == MethodNotAllowed.status:
            return await counted(known, _options(_allowed_methods(app, request)))
        problem = problem_response(_from_http_exception(app, request, error), known)
        return await counted(known, problem)

    async def on_unhandled_error(request: Request, _error: Exception) -> Response:
        return problem_response(InternalError(), request_of(request.scope))

    app.add_exception_handler(ApiError, on_api_error)
    app.add_exception_handler(RequestValidationError, on_validation_error)
    app.add_exception_handler(HTTPException, on_http_exception)
    app.add_exception_handler(Exception, on_unhandled_error)


async def counted(request: ApiRequest, response: Response) -> Response:
    """Count a request that no route has counted, and return its response, or 429."""
    try:
        async with within_limit(request):
            return response
    except TooManyRequests as exceeded:
        return problem_response(exceeded, request)


def _from_http_exception(app: FastAPI, request: Request, error: HTTPException) -> ApiError:
    if error.status_code == NotFound.status and "endpoint" not in request.scope:
        base_path = request_of(request.scope).base_path
        return NotFound(f"There is no such path; {base_path}/docs lists the paths.")
    if error.status_code == MethodNotAllowed.status:
        allowed = ", ".join(sorted([*_allowed_methods(app, request), "OPTIONS"]))
        detail = f"This path does not support this method; it supports {allowed}."
        return MethodNotAllowed(detail, {"Allow": allowed})
    if error.status_code == ContentTooLarge.status:
        return ContentTooLarge(f"The body is larger than {MAX_BODY_BYTES} bytes.")
    raise error  # an endpoint's, which should have raised an `ApiError`: it is logged, and a 500


def _options(allowed: list[str]) -> Response:
    headers = {"Allow": ", ".join(sorted([*allowed, "OPTIONS"]))}
    return Response(status_code=204, headers=headers | (ACCEPT_PATCH if "PATCH" in allowed else {}))


def _allowed_methods(app: FastAPI, request: Request) -> list[str]:
    """Return all methods of the path; Starlette's `Allow` has only those of the first route.

    HEAD is supported wherever GET is: `shared.http.middleware` routes it as GET.
    """
    allowed = [
        method
        for method in ("DELETE", "GET", "PATCH", "POST", "PUT")
        if any(
            route.matches(dict(request.scope, method=method))[0] is Match.FULL
            for route in app.router.routes
        )
    ]
    return [*allowed, "HEAD"] if "GET" in allowed else allowed
