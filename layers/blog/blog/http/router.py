"""The router of a resource, and the errors that its operations have in common."""

from fastapi import APIRouter
from fastapi.routing import APIRoute

from blog.errors import (
    ContentTooLarge,
    InternalError,
    InvalidRequest,
    MalformedJson,
    ServiceUnavailable,
    TooManyRequests,
    UnsupportedMediaType,
)
from blog.http.authorization import AuthorizedRoute
from blog.http.idempotency_key import KEY_ERRORS
from blog.http.problems import problem_responses

BODY_ERRORS = (MalformedJson, ContentTooLarge, UnsupportedMediaType)
"""Errors of every operation that takes a body."""

CREATE_ERRORS = (*BODY_ERRORS, *KEY_ERRORS)
"""Errors of every operation that takes a body and an `Idempotency-Key`."""


def api_router(tag: str) -> APIRouter:
    """Return a router whose operations have the tag, and document the errors that all have.

    Each operation is authorized by its row in `blog.auth.policy`, before its body is parsed.
    """
    errors = (InvalidRequest, TooManyRequests, InternalError, ServiceUnavailable)
    responses = problem_responses(*errors)
    return APIRouter(
        tags=[tag],
        responses=responses,
        route_class=AuthorizedRoute,
        generate_unique_id_function=operation_id,
    )


def operation_id(route: APIRoute) -> str:
    return route.name
