"""The end-to-end suite as a role.

Each request is made as the role, and judged by the permission that it needs. What the role may not
do is made again by an administrator, so that the scenario goes on, and fails if the rejected
request has changed anything after all.
"""

import json
import re

import httpx

from shared.auth.permissions import ALL, NONE, Grant, grant_of
from tests.resources import FUNCTIONS, KINDS, OWNERS, PERMISSIONS

ANONYMOUS = "anonymous"
INVALID = {400, 405, 413, 415, 422}
"""Of a request that an author may make, but that is wrong whosever resource it is for."""


def _operations() -> list[tuple[str, re.Pattern[str], str]]:
    """Method, pattern of the path and name; paths without parameters first."""
    document = json.loads((FUNCTIONS / "meta" / "openapi.json").read_text(encoding="utf-8"))
    paths = sorted(document["paths"].items(), key=lambda item: item[0].count("{"))
    return [
        (method.upper(), re.compile(re.sub(r"\{\w+\}", r"\\d+", path)), operation["operationId"])
        for path, methods in paths
        for method, operation in methods.items()
    ]


OPERATIONS = _operations()


class RoleTransport(httpx.BaseTransport):
    """Sends requests as the role, and what that may not do as an administrator as well."""

    def __init__(
        self,
        role: str,
        as_role: httpx.Client,
        as_admin: httpx.Client,
        own: set[str],
    ) -> None:
        """`own` are paths of items that the caller has created; kept up to date."""
        self._role = role
        self._as_role = as_role
        self._as_admin = as_admin
        self._own = own

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        operation = _operation_of(request)
        response = _send(self._as_role, request)
        if operation not in PERMISSIONS:  # which is public, but for API Gateway below a resource
            is_rejected = self._role == ANONYMOUS and response.status_code == 401
            return _send(self._as_admin, request) if is_rejected else response
        if self._may(operation, request):
            assert response.status_code not in (401, 403), _described(request, response)
            self._remember(operation, request, response)
            return response
        if self._has_own(operation) and response.status_code in INVALID:
            return response
        expected = {401} if self._role == ANONYMOUS else {403}
        if self._has_own(operation):
            # A second one of the caller's own; or nothing that anybody could own.
            expected |= {409} if KINDS[operation] == "create" else {404}
        assert response.status_code in expected, _described(request, response)
        return _send(self._as_admin, request)

    def _may(self, operation: str, request: httpx.Request) -> bool:
        if self._role == ANONYMOUS or self._grant(operation) is NONE:
            return False
        return not self._has_own(operation) or self._owns(operation, request)

    def _grant(self, operation: str) -> Grant:
        return grant_of(PERMISSIONS[operation], self._role)

    def _has_own(self, operation: str) -> bool:
        """Whether the role has this permission for its own resources only."""
        if self._role == ANONYMOUS:
            return False
        return self._grant(operation) not in (NONE, ALL)

    def _owns(self, operation: str, request: httpx.Request) -> bool:
        if KINDS[operation] == "create":  # of what nothing else owns, only one
            return request.url.path == f"/{OWNERS}" and not self._own
        return request.url.path in self._own

    def _remember(self, operation: str, request: httpx.Request, response: httpx.Response) -> None:
        if self._has_own(operation) and response.status_code == 201:
            self._own.add(response.headers["location"])
        elif self._has_own(operation) and response.status_code == 204:
            self._own.discard(request.url.path)


def _operation_of(request: httpx.Request) -> str:
    """Return its name; empty if it is not an operation."""
    method = "GET" if request.method == "HEAD" else request.method
    for one_method, path, name in OPERATIONS:
        if one_method == method and path.fullmatch(request.url.path):
            return name
    return ""


def _send(client: httpx.Client, request: httpx.Request) -> httpx.Response:
    headers = [
        (name, value)
        for name, value in request.headers.raw
        if name.lower() in (b"content-type", b"idempotency-key", b"x-request-id")
    ]
    target = request.url.raw_path.decode("ascii")
    return client.request(request.method, target, headers=headers, content=request.read())


def _described(request: httpx.Request, response: httpx.Response) -> str:
    return f"{request.method} {request.url.raw_path!r}: {response.status_code} {response.text}"
