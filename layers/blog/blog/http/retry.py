"""Requests that met a broken database connection are retried once, on a new one.

A connection breaks unnoticed between two requests: the server failed over, or a network device
dropped it. Nothing was committed then, as a COMMIT without a response is an `OutcomeUnknown`.
"""

from collections.abc import Callable, Coroutine
from time import monotonic
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from blog.deadline import request_deadline
from blog.errors import DatabaseUnavailable

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class RetriedRoute(APIRoute):
    """A route whose endpoint is run again if its connection was lost and time is left."""

    def get_route_handler(self) -> Handler:
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await handler(request)
            except DatabaseUnavailable as error:
                if not error.connection_lost or monotonic() > request_deadline.get():
                    raise
            return await handler(request)

        return handle
