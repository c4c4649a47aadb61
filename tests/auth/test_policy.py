"""Every operation has a permission, and grants it to the roles that have it."""

import importlib
import json
from typing import Any

import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute

from local.generate.sample_events import sample_events
from shared.auth import permissions
from shared.auth.permissions import ROLES, Grant, authorize, grant_of, is_granted
from shared.http.application import create_app, lambda_handler
from shared.http.route import PERMISSION, ApiRoute, api_router
from shared.request import ApiRequest
from tests.auth.claims import REQUIRED, claims_of
from tests.conftest import ApiOf, Worker
from tests.in_process import LambdaContext
from tests.resources import PERMISSIONS, READS, RESOURCES, is_done, routes_of

pytestmark = pytest.mark.usefixtures("database", "cache")

EVENTS = {
    name.partition("-")[2]: (name.partition("-")[0], event)
    for name, event in sample_events().items()
    if "requestContext" in event
}


def call(function: str, event: dict[str, Any], claims: dict[str, str] | None) -> dict[str, Any]:
    context = dict(event["requestContext"])
    if claims is not None:
        context["authorizer"] = {"jwt": {"claims": claims, "scopes": None}}
    handler = importlib.import_module(f"{function}.handler").handler
    response: dict[str, Any] = handler(event | {"requestContext": context}, LambdaContext())
    return response


def test_no_resource_is_public_and_meta_is() -> None:
    for name in RESOURCES:
        assert {type(one) for one in routes_of(name) if isinstance(one, APIRoute)} == {ApiRoute}
    assert not any(isinstance(route, ApiRoute) for route in routes_of("meta"))


@pytest.mark.parametrize("operation", [name for name in EVENTS if name not in PERMISSIONS])
def test_a_public_operation_needs_no_token(worker: Worker, operation: str) -> None:
    worker.restart(**REQUIRED)
    assert is_done(operation, call(*EVENTS[operation], claims=None)["statusCode"])


@pytest.mark.parametrize("operation", PERMISSIONS)
def test_an_operation_without_a_token_is_401(worker: Worker, operation: str) -> None:
    worker.restart(**REQUIRED)
    response = call(*EVENTS[operation], claims=None)
    assert response["statusCode"] == 401
    assert json.loads(response["body"])["type"] == "/problems#unauthorized"


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("operation", PERMISSIONS)
def test_an_operation_is_granted_to_the_roles_that_have_its_permission(
    worker: Worker, operation: str, role: str
) -> None:
    worker.restart(**REQUIRED)
    permission = PERMISSIONS[operation]
    grant = grant_of(permission, role)
    response = call(*EVENTS[operation], claims=claims_of(role))
    if grant is Grant.NONE:
        assert response["statusCode"] == 403
        assert json.loads(response["body"])["detail"] == (
            f"This needs the permission {permission}, which your roles do not grant."
        )
        error = f'error="insufficient_scope", scope="{permission}"'
        challenge = f'Bearer realm="users-and-posts", {error}'
        assert response["headers"]["www-authenticate"] == challenge
    elif grant is Grant.ALL:
        assert response["statusCode"] in {200, 201, 204, 400, 404}, response["body"]


@pytest.mark.parametrize("role", ["", "owner", "Admin", "[admin]", "permission", "is_read"])
def test_an_unknown_role_adds_nothing(api_of: ApiOf, role: str) -> None:
    api = api_of(role)
    assert api.get("/writers").status_code == 200
    assert api.delete("/writers/1").status_code == 403


def test_roles_add_up(api_of: ApiOf) -> None:
    assert api_of("reader", "admin", "author").delete("/writers/1").status_code == 404


def test_a_missing_permission_precedes_all_other_errors(api_of: ApiOf) -> None:
    """403 precedes errors of the body, the parameters and the resource."""
    reader = api_of("reader")
    assert reader.post("/writers", content=b"{").status_code == 403
    assert reader.put("/articles/4711", json={"title": ""}).status_code == 403


def test_a_route_without_a_permission_is_rejected_at_import() -> None:
    router = api_router("things")
    with pytest.raises(TypeError, match=r"The route list_things .* has no permission"):

        @router.get("/things")
        async def list_things() -> None:
            pass


def test_a_route_of_another_router_is_rejected_at_import() -> None:
    router = APIRouter()
    router.add_api_route("/things", lambda: None, name="list_things")
    with pytest.raises(TypeError, match="The route list_things"):
        create_app(router)


@pytest.mark.parametrize("auth", ["required", "open"])
def test_a_permission_that_no_role_has_is_denied(worker: Worker, auth: str) -> None:
    worker.restart(**REQUIRED | {"AUTH": auth})
    router = api_router("things")

    @router.get("/things", openapi_extra={PERMISSION: "things:of-no-role"})
    async def list_things() -> str:
        return "things"

    event = EVENTS["get_health"][1] | {"rawPath": "/things"}
    event["requestContext"] = event["requestContext"] | {
        "authorizer": {"jwt": {"claims": claims_of("admin", "author", "reader"), "scopes": None}}
    }
    handler: Any = lambda_handler(create_app(router))
    response = handler(event, LambdaContext())
    assert response["statusCode"] == (403 if auth == "required" else 200)


@pytest.mark.parametrize("operation", PERMISSIONS)
def test_public_reads_are_reads(worker: Worker, operation: str) -> None:
    worker.restart(**REQUIRED, PUBLIC_READS="true")
    status = call(*EVENTS[operation], claims=None)["statusCode"]
    is_get = EVENTS[operation][1]["requestContext"]["http"]["method"] == "GET"
    assert (status != 401) == (is_get and operation in READS)


def test_a_grant_that_readers_exceed_is_rejected_at_import(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ROLES["author"], "things:read", Grant.OWN)
    with pytest.raises(ValueError, match="things:read of author has no effect"):
        permissions._check_roles()


def test_open_is_open(worker: Worker) -> None:
    worker.restart(**REQUIRED | {"AUTH": "open"})
    for operation in PERMISSIONS:
        assert call(*EVENTS[operation], claims=None)["statusCode"] not in {401, 403}


def test_a_permission_names_its_resource_or_is_one_of_a_role() -> None:
    of_roles = set().union(*ROLES.values())
    for operation, permission in PERMISSIONS.items():
        assert permission.split(":")[0] in RESOURCES or permission in of_roles, operation


def test_an_administrator_may_do_everything() -> None:
    for permission in PERMISSIONS.values():
        assert grant_of(permission, "admin") is Grant.ALL


@pytest.mark.parametrize(
    ("role", "is_for_all"), [("blog:admin", True), ("admin", False), ("blog:owner", False)]
)
def test_another_permission_is_granted_for_all_resources_or_not(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, role: str, is_for_all: bool
) -> None:
    worker.restart(**REQUIRED, ROLE_PREFIX="blog:")
    monkeypatch.setitem(ROLES, "owner", {"write": Grant.OWN})
    request = ApiRequest(claims=claims_of(role))
    access = authorize(request, "list_writers", "writers:read")
    assert is_granted(access, "writers:write") is is_for_all


def test_without_a_token_another_permission_is_granted_where_the_api_is_open(
    worker: Worker,
) -> None:
    for auth in ("required", "open"):
        worker.restart(**REQUIRED | {"AUTH": auth}, PUBLIC_READS="true")
        access = authorize(ApiRequest(), "list_writers", "writers:read")
        assert is_granted(access, "writers:write") is (auth == "open")
