"""Routing as in an API Gateway HTTP API: the most specific route matches a request."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

# The methods of SAM's `Method: ANY`; HTTP APIs also pass on others.
ANY_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})


@dataclass(frozen=True)
class Route:
    """A route of the API: `path` as in the template, `$default` for the catch-all.

    `requires_token` if it has a JWT authorizer.
    """

    path: str
    methods: frozenset[str]
    function_name: str
    requires_token: bool = False

    @property
    def is_default(self) -> bool:
        """Whether it matches the requests that no other route matches."""
        return self.path == "$default"

    @property
    def is_any(self) -> bool:
        """Whether it matches every method."""
        return self.is_default or self.methods >= ANY_METHODS


@dataclass(frozen=True)
class Match:
    """The route of a request, and the values of its path variables."""

    route: Route
    path_parameters: dict[str, str]

    def route_key(self, method: str) -> str:
        """Return the event's `routeKey`: `GET /articles/{id}`, `ANY /articles`, `$default`."""
        if self.route.is_default:
            return "$default"
        return f"{'ANY' if self.route.is_any else method} {self.route.path}"


class RouteTable:
    """Selects the route as HTTP APIs do: a full match, then a greedy variable, then `$default`."""

    def __init__(self, routes: Iterable[Route]) -> None:
        ordered = sorted(routes, key=_precedence)
        self.require_tokens = any(route.requires_token for route in ordered)
        self._default = next((route for route in ordered if route.is_default), None)
        self._compiled = [
            (route, *_compile(route.path)) for route in ordered if not route.is_default
        ]

    def match(self, method: str, path: str) -> Match | None:
        """Return None if no route matches. A trailing slash is ignored, as in SAM."""
        candidates = [path] if path in ("", "/") else [path, path.removesuffix("/")]
        for route, pattern, names in self._compiled:
            if not route.is_any and method not in route.methods:
                continue
            for candidate in candidates:
                if found := pattern.fullmatch(candidate):
                    return Match(route, dict(zip(names, found.groups(), strict=True)))
        return Match(self._default, {}) if self._default else None


def _precedence(route: Route) -> tuple[bool, int, int, bool]:
    return ("+}" in route.path, route.path.count("{"), -len(route.path), route.is_any)


def _compile(path: str) -> tuple[re.Pattern[str], list[str]]:
    names: list[str] = []
    pattern = ""
    for literal, variable in re.findall(r"([^{]*)(?:\{([^}]*)\})?", path):
        pattern += re.escape(literal)
        if variable:
            names.append(variable.removesuffix("+"))
            pattern += "(.+)" if variable.endswith("+") else "([^/]+)"
    return re.compile(pattern, re.DOTALL), names
