"""Every operation as every role, through the gateway's authorizers, against the permissions."""

from typing import Any

import httpx
import pytest

from local.generate.sample_events import MIGRATIONS, sample_events
from shared.auth.permissions import NONE, OWN, ROLES, grant_of
from tests.e2e import targets
from tests.resources import PERMISSIONS, SIGNED

UNKNOWN_ID = "9000000000"
EVENTS = {
    name.partition("-")[2]: event
    for name, event in sample_events().items()
    if name not in MIGRATIONS
}


@pytest.fixture(scope="module")
def tokens(closed_api: httpx.Client) -> dict[str, str]:
    """A token of each role."""
    return {role: targets.token(closed_api, role, f"a-{role}") for role in ROLES}


@pytest.mark.parametrize("operation", EVENTS)
def test_an_operation_needs_a_token_unless_it_is_public(
    closed_api: httpx.Client, operation: str
) -> None:
    response = send(closed_api, EVENTS[operation])
    assert (response.status_code == 401) == (operation in {*PERMISSIONS, *SIGNED})


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("operation", PERMISSIONS)
def test_a_role_may_do_what_its_permissions_allow(
    closed_api: httpx.Client, tokens: dict[str, str], operation: str, role: str
) -> None:
    status = send(closed_api, EVENTS[operation], tokens[role]).status_code
    grant = grant_of(PERMISSIONS[operation], role)
    assert status != 401
    if grant is not OWN:  # what does not exist has no owner
        assert (status == 403) == (grant is NONE)


def send(api: httpx.Client, event: dict[str, Any], token: str | None = None) -> httpx.Response:
    """The event's request, of an item that does not exist."""
    return api.request(
        event["requestContext"]["http"]["method"],
        event["rawPath"].replace("/1", f"/{UNKNOWN_ID}"),
        content=event.get("body"),
        headers={"Content-Type": "application/json"}
        | ({"Authorization": f"Bearer {token}"} if token else {}),
    )
