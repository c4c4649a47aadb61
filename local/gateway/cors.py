"""CORS as an API Gateway HTTP API does it, configured by `CorsConfiguration`.

The gateway responds to preflight requests itself, and replaces the CORS headers of functions. An
origin that may not call gets no such header, and its browser keeps the response from the page.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from local.gateway.events import Request
from local.gateway.responses import Response

PREFIX = "access-control-"


@dataclass(frozen=True)
class Cors:
    """Which web pages may call, and what they may send and see."""

    origins: Sequence[str]
    methods: Sequence[str]
    headers: Sequence[str]
    exposed: Sequence[str]
    max_age_seconds: int

    @classmethod
    def from_configuration(cls, configuration: Mapping[str, Any]) -> "Cors":
        """Return what an API's property `CorsConfiguration` says."""
        return cls(
            origins=configuration["AllowOrigins"],
            methods=configuration.get("AllowMethods", ()),
            headers=configuration.get("AllowHeaders", ()),
            exposed=configuration.get("ExposeHeaders", ()),
            max_age_seconds=configuration.get("MaxAge", 0),
        )

    def preflight(self, request: Request) -> Response | None:
        """Return the response to a preflight request, None to another one."""
        method = _header(request, "access-control-request-method")
        if request.method != "OPTIONS" or method is None or _header(request, "origin") is None:
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
        """Return the response with the headers that its caller's origin gets."""
        own = [pair for pair in response.headers if not pair[0].lower().startswith(PREFIX)]
        allowed = self._allowed_origin(request)
        if allowed and self.exposed:
            allowed.append(("Access-Control-Expose-Headers", ",".join(self.exposed).lower()))
        return Response(response.status, own + allowed, response.body)

    def _allowed_origin(self, request: Request) -> list[tuple[str, str]]:
        origin = _header(request, "origin")
        if origin is None:
            return []
        if "*" in self.origins:
            return [("Access-Control-Allow-Origin", "*")]
        if origin not in self.origins:
            return []
        return [("Access-Control-Allow-Origin", origin), ("Vary", "Origin")]


def _header(request: Request, name: str) -> str | None:
    return next((value for key, value in request.headers if key.lower() == name), None)
