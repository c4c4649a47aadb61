"""CORS as in an API Gateway HTTP API, configured by `CorsConfiguration`.

The gateway responds to preflight requests itself, and replaces the CORS headers of functions. An
origin that is not allowed gets no such headers, so browsers keep the response from the page.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from local.gateway.events import Request
from local.gateway.responses import Response

PREFIX = "access-control-"


@dataclass(frozen=True)
class Cors:
    """The origins that may call the API, and the headers that they may send and see."""

    origins: Sequence[str]
    methods: Sequence[str]
    headers: Sequence[str]
    exposed: Sequence[str]
    max_age_seconds: int

    @classmethod
    def from_configuration(cls, configuration: Mapping[str, Any]) -> "Cors":
        """Return the CORS of an API's property `CorsConfiguration`."""
        return cls(
            origins=configuration["AllowOrigins"],
            methods=configuration.get("AllowMethods", ()),
            headers=configuration.get("AllowHeaders", ()),
            exposed=configuration.get("ExposeHeaders", ()),
            max_age_seconds=configuration.get("MaxAge", 0),
        )

    def preflight(self, request: Request) -> Response | None:
        """Return the response to a preflight request, None for any other request."""
        asked = request.values("access-control-request-method") and request.values("origin")
        if request.method != "OPTIONS" or not asked:
            return None
        headers = self._allowed_origin(request)
        if headers:
            headers += [
                ("Access-Control-Allow-Methods", ",".join(self.methods)),
                ("Access-Control-Allow-Headers", ",".join(self.headers).lower()),
                ("Access-Control-Max-Age", str(self.max_age_seconds)),
            ]
        return Response(204, headers, b"")

    def completed(self, request: Request, response: Response) -> Response:
        """Return the response with the CORS headers for the request's origin."""
        own = [pair for pair in response.headers if not pair[0].lower().startswith(PREFIX)]
        allowed = self._allowed_origin(request)
        if allowed and self.exposed:
            allowed.append(("Access-Control-Expose-Headers", ",".join(self.exposed).lower()))
        return Response(response.status, own + allowed, response.body)

    def _allowed_origin(self, request: Request) -> list[tuple[str, str]]:
        for origin in request.values("origin")[:1]:
            if "*" in self.origins:
                return [("Access-Control-Allow-Origin", "*")]
            if origin in self.origins:
                return [("Access-Control-Allow-Origin", origin), ("Vary", "Origin")]
        return []
