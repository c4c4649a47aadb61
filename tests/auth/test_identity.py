"""Claims: those that make a caller, and all others, which are 401 on every protected operation."""

from time import time
from typing import Any

import httpx
import pytest

from blog.access import Caller
from blog.auth.identity import caller_of
from blog.errors import Unauthorized
from tests.auth.claims import AUDIENCE, ISSUER, REQUIRED, claims_of
from tests.auth.conftest import ApiOf
from tests.conftest import Worker
from tests.in_process import LambdaTransport

CHALLENGE = 'Bearer realm="users-and-posts"'
NOW = int(time())

ACCEPTED = {
    "plain": {},
    "one of several audiences": {"aud": f"[third {AUDIENCE}]"},
    "Cognito's access token": {"aud": None, "client_id": AUDIENCE, "token_use": "access"},
    "the longest subject": {"sub": "a" * 255},
    "a subject with spaces": {"sub": "auth0|ada lovelace"},
    "valid for a while": {"nbf": str(NOW - 5)},
}
REJECTED: dict[str, dict[str, Any]] = {
    "another issuer": {"iss": "https://other.example.org/"},
    "an issuer without its slash": {"iss": ISSUER.removesuffix("/")},
    "no issuer": {"iss": None},
    "another audience": {"aud": "third"},
    "no audience": {"aud": None},
    "no audience, but an empty one": {"aud": "", "client_id": AUDIENCE},
    "an empty array of audiences": {"aud": "[]", "client_id": AUDIENCE},
    "an audience that has ours in it": {"aud": f"third {AUDIENCE}"},
    "another audience beside our client": {"aud": "third", "client_id": AUDIENCE},
    "another client": {"aud": None, "client_id": "third"},
    "an ID token": {"token_use": "id"},
    "an empty use": {"token_use": ""},
    "expired": {"exp": str(NOW - 1)},
    "without expiry": {"exp": None},
    "an infinite expiry": {"exp": "inf"},
    "an expiry with a fraction": {"exp": f"{NOW + 600}.5"},
    "a huge expiry": {"exp": "9" * 5000},
    "an expiry in other digits": {"exp": "٩" * 10},
    "not valid yet": {"nbf": str(NOW + 600)},
    "a malformed begin": {"nbf": "soon"},
    "no subject": {"sub": None},
    "an empty subject": {"sub": ""},
    "a subject that is too long": {"sub": "a" * 256},
    "a subject with a line end": {"sub": "ada\n"},
    "a subject with NUL": {"sub": "a\0da"},
    "a subject of spaces": {"sub": " "},
    "a subject that looks like another": {"sub": "\N{CYRILLIC SMALL LETTER A}da"},
    "a number": {"exp": NOW + 600},
    "an array": {"roles": ["admin"]},
    "an object": {"sub": {"admin": True}},
}
ELSEWHERE: dict[str, object] = {
    "no authorizer": None,
    "an authorizer of IAM": {"iam": {"userId": "ada"}},
    "an authorizer that is a function": {"lambda": claims_of("admin")},
    "claims without a token": claims_of("admin"),
    "a token without claims": {"jwt": {"claims": None, "scopes": None}},
    "no claims": {"jwt": {"claims": {}, "scopes": None}},
    "claims in a list": {"jwt": {"claims": [claims_of("admin")]}},
    "claims as text": {"jwt": {"claims": "admin"}},
    "a token as text": {"jwt": "admin"},
}


def event_of(authorizer: object) -> dict[str, Any]:
    return {"requestContext": {} if authorizer is None else {"authorizer": authorizer}}


def changed(changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in (claims_of() | changes).items() if value is not None}


@pytest.fixture(autouse=True)
def requiring(worker: Worker) -> None:
    worker.restart(**REQUIRED)


@pytest.mark.parametrize("changes", ACCEPTED.values(), ids=ACCEPTED)
def test_claims_that_are_accepted(changes: dict[str, Any]) -> None:
    claims = changed(changes)
    caller = caller_of(event_of({"jwt": {"claims": claims, "scopes": None}}))
    assert caller == Caller(ISSUER, claims["sub"], frozenset())


@pytest.mark.parametrize("changes", REJECTED.values(), ids=REJECTED)
def test_claims_that_are_rejected_as_an_invalid_token(changes: dict[str, Any]) -> None:
    with pytest.raises(Unauthorized) as raised:
        caller_of(event_of({"jwt": {"claims": changed(changes), "scopes": None}}))
    assert raised.value.headers["WWW-Authenticate"] == f'{CHALLENGE}, error="invalid_token"'
    assert raised.value.detail.startswith("The token is not accepted: ")


@pytest.mark.parametrize("authorizer", ELSEWHERE.values(), ids=ELSEWHERE)
def test_without_claims_there_is_no_token(authorizer: object) -> None:
    with pytest.raises(Unauthorized) as raised:
        caller_of(event_of(authorizer))
    assert raised.value.headers["WWW-Authenticate"] == CHALLENGE


@pytest.mark.parametrize(
    ("claim", "roles"),
    [
        ("[admin author]", {"admin", "author"}),
        ("[admin]", {"admin"}),
        ("admin", {"admin"}),
        ("author admin", {"admin", "author"}),
        ("[]", set()),
        ("", set()),
        ('["admin"]', {'"admin"'}),
        ("[[admin]]", {"[admin]"}),
        ("[admin", {"[admin"}),
        ("admin,author", {"admin,author"}),
        ("map[admin:true]", {"map[admin:true]"}),
        ("Admin", {"Admin"}),
    ],
)
def test_roles_are_read_from_their_claim(claim: str, roles: set[str]) -> None:
    caller = caller_of(event_of({"jwt": {"claims": claims_of(roles=claim)}}))
    assert caller.roles == roles


def test_the_claim_of_the_roles_is_a_setting(worker: Worker) -> None:
    worker.restart(**REQUIRED, ROLES_CLAIM="cognito:groups")
    claims = claims_of("admin") | {"cognito:groups": "[author]"}
    assert caller_of(event_of({"jwt": {"claims": claims}})).roles == {"author"}


def test_the_header_authorization_is_nothing_to_a_function(api_of: ApiOf) -> None:
    header = {"Authorization": "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ."}
    transport = LambdaTransport()
    with httpx.Client(transport=transport, base_url="http://api.test", headers=header) as anonymous:
        response = anonymous.get("/users")
    assert response.status_code == 401
    assert response.json()["type"] == "/problems#unauthorized"
    assert response.headers["www-authenticate"] == CHALLENGE
    assert response.headers["cache-control"] == "no-store"
    assert api_of().get("/users", headers=header).status_code == 200


@pytest.mark.parametrize("missing", ["TOKEN_ISSUER", "TOKEN_AUDIENCE"])
def test_nobody_is_let_in_where_a_setting_is_missing(
    worker: Worker, api_of: ApiOf, missing: str
) -> None:
    worker.restart(**{missing: None})
    assert api_of("admin", iss="", aud="").get("/users").status_code == 500
