"""Routes that authorize and limit their requests, before their bodies are looked at.

A dependency would run after the body is parsed; FastAPI's own security classes would build all
models at a cold start.
"""

from contextlib import nullcontext

from fastapi import Request, Response

from blog.access import current_access
from blog.auth.limits import public_limit, request_limit
from blog.auth.policy import authorize
from blog.conditions import current_conditions
from blog.http.conditional import conditions_of
from blog.http.retry import RetriedRoute
from blog.http.strict_input import Handler, strict_handler


class AuthorizedRoute(RetriedRoute):
    """A route whose operation, the name of its endpoint, must be granted by the policy, and whose
    callers are limited."""

    def get_route_handler(self) -> Handler:
        handler = strict_handler(self, super().get_route_handler())

        async def handle(request: Request) -> Response:
            event = request.scope["aws.event"]
            access = authorize(self.name, event)
            current_access.set(access)
            async with request_limit(access, event) or nullcontext():
                has_target = bool(request.path_params)
                conditions = conditions_of(request.method, request.headers, has_target=has_target)
                current_conditions.set(conditions)
                return await handler(request)

        return handle


def limited_handler(handler: Handler) -> Handler:
    """Return the handler of a route that needs no token, behind its limit."""

    async def handle(request: Request) -> Response:
        async with public_limit(request.scope["aws.event"]) or nullcontext():
            return await handler(request)

    return handle
