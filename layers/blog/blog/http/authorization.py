"""Routes that authorize their requests, before anything else is done with them.

A dependency would run after the body is parsed; FastAPI's own security classes would build all
models at a cold start.
"""

from fastapi import Request, Response

from blog.access import current_access
from blog.auth.policy import authorize
from blog.http.retry import Handler, RetriedRoute


class AuthorizedRoute(RetriedRoute):
    """A route whose operation, the name of its endpoint, must be granted by the policy."""

    def get_route_handler(self) -> Handler:
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            current_access.set(authorize(self.name, request.scope["aws.event"]))
            return await handler(request)

        return handle
