"""Claims: those that make a caller, and all others, which are 401 on every protected operation."""

import json
from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from time import time
from typing import Any

import httpx
import pytest

from local.gateway.authorizer import printed_claim
from shared.auth.identity import caller_of
from shared.auth.permissions import authorize
from shared.errors import Forbidden, Unauthorized
from shared.gateway import verified_claims
from shared.request import ApiRequest, Caller
from shared.settings import SettingsError
from tests.auth.claims import AUDIENCE, ISSUER, REQUIRED, claims_of
from tests.conftest import ApiOf, Worker
from tests.in_process import LambdaTransport
from tests.properties import given, st

CHALLENGE = 'Bearer realm="users-and-posts"'
NOW = int(time())
LATER = NOW + 86_400
"""Longer than all tests take, as these are collected first."""

ACCEPTED = {
    "plain": {},
    "one of several audiences": {"aud": f"[third {AUDIENCE}]"},
    "Cognito's access token": {"aud": None, "client_id": AUDIENCE, "token_use": "access"},
    "the longest subject": {"sub": "a" * 255},
    "the shortest subject": {"sub": "a"},
    "a subject with spaces": {"sub": "auth0|ada lovelace"},
    "valid for a while": {"nbf": str(NOW - 5)},
    "times with fractions (RFC 7519)": {
        "exp": f"{LATER}.5",
        "nbf": f"{NOW - 5}.25",
        "iat": f"{NOW}.999999",
    },
    "the latest expiry": {"exp": "999999999999"},
    "times as Go prints floats": {"exp": "4.1024448000005e+09", "nbf": "1.7e+09"},
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
    "an array of clients": {"aud": None, "client_id": f"[{AUDIENCE}]"},
    "a nested array of audiences": {"aud": f"[[{AUDIENCE}]]"},
    "an array with an object beside our audience": {"aud": f"[map[a:b] {AUDIENCE}]"},
    "an array with a null beside our audience": {"aud": f"[<nil> {AUDIENCE}]"},
    "an object with our audience": {"aud": f"map[a:x {AUDIENCE} y]"},
    "an unbalanced array of audiences": {"aud": f"[{AUDIENCE}"},
    "JSON text with our audience": {"aud": f'["{AUDIENCE}"]'},
    "audiences with commas": {"aud": f"third,{AUDIENCE}"},
    "audiences with a tab": {"aud": f"[third\t{AUDIENCE}]"},
    "audiences with two spaces": {"aud": f"[third  {AUDIENCE}]"},
    "an audience in spaces": {"aud": f" {AUDIENCE} "},
    "a use in an array": {"token_use": "[access]"},
    "two uses": {"token_use": "access id"},
    "an issuer in an array": {"iss": f"[{ISSUER}]"},
    "an ID token": {"token_use": "id"},
    "an empty use": {"token_use": ""},
    "expired": {"exp": str(NOW - 1)},
    "without expiry": {"exp": None},
    "an infinite expiry": {"exp": "inf"},
    "expired by a fraction": {"exp": f"{NOW - 1}.5"},
    "an expiry with half a fraction": {"exp": f"{LATER}."},
    "an expiry with two fractions": {"exp": f"{LATER}.5.5"},
    "an expiry that is not finite": {"exp": "1e+999"},
    "an expiry at the limit": {"exp": "1e+12"},
    "an expiry beyond the calendar": {"exp": "1e+99"},
    "an expiry in milliseconds": {"exp": str(LATER * 1000)},
    "an expiry in an array": {"exp": f"[{LATER}]"},
    "an expiry in spaces": {"exp": f" {LATER}"},
    "an expiry with underscores": {"exp": "4_102_444_800"},
    "a begin in a fraction": {"nbf": f"{LATER}.5"},
    "a huge expiry": {"exp": "9" * 5000},
    "an expiry in other digits": {"exp": "٩" * 10},
    "not valid yet": {"nbf": str(LATER)},
    "a malformed begin": {"nbf": "soon"},
    "no subject": {"sub": None},
    "an empty subject": {"sub": ""},
    "a subject that is too long": {"sub": "a" * 256},
    "a subject with a line end": {"sub": "ada\n"},
    "a subject with NUL": {"sub": "a\0da"},
    "a subject of spaces": {"sub": " "},
    "a subject that looks like another": {"sub": "\N{CYRILLIC SMALL LETTER A}da"},
    "a subject in an array": {"sub": "[ada]"},
    "an empty array as subject": {"sub": "[]"},
    "an object as subject": {"sub": "map[name:ada]"},
    "a rounded number as subject": {"sub": "1.2345678901234567e+19"},
    "a number": {"exp": LATER},
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


def verified(authorizer: object) -> Mapping[Any, Any] | None:
    """The claims that an event with this authorizer has."""
    return verified_claims({} if authorizer is None else {"authorizer": authorizer})


def changed(changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in (claims_of() | changes).items() if value is not None}


@pytest.fixture(autouse=True)
def requiring(worker: Worker) -> None:
    worker.restart(**REQUIRED)


@pytest.mark.parametrize("changes", ACCEPTED.values(), ids=ACCEPTED)
def test_claims_that_are_accepted(changes: dict[str, Any]) -> None:
    claims = changed(changes)
    caller = caller_of(verified({"jwt": {"claims": claims, "scopes": None}}))
    assert caller == Caller(ISSUER, claims["sub"], frozenset())


@pytest.mark.parametrize("changes", REJECTED.values(), ids=REJECTED)
def test_claims_that_are_rejected_as_an_invalid_token(changes: dict[str, Any]) -> None:
    with pytest.raises(Unauthorized) as raised:
        caller_of(verified({"jwt": {"claims": changed(changes), "scopes": None}}))
    assert raised.value.headers["WWW-Authenticate"] == f'{CHALLENGE}, error="invalid_token"'
    assert raised.value.detail.startswith("The token is not accepted: ")


def test_a_token_is_valid_from_nbf_until_exp(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 7519, sections 4.1.4 and 4.1.5: at `nbf` it is, at `exp` it is not any more."""
    claims = changed({"nbf": str(NOW), "exp": str(NOW + 1)})
    for now, is_valid in ((NOW - 0.5, False), (NOW, True), (NOW + 0.5, True), (NOW + 1, False)):
        monkeypatch.setattr("shared.auth.identity.time", partial(float, now))
        with nullcontext() if is_valid else pytest.raises(Unauthorized):
            caller_of(verified({"jwt": {"claims": claims}}))


@pytest.mark.parametrize("authorizer", ELSEWHERE.values(), ids=ELSEWHERE)
def test_without_claims_there_is_no_token(authorizer: object) -> None:
    with pytest.raises(Unauthorized) as raised:
        caller_of(verified(authorizer))
    assert raised.value.headers["WWW-Authenticate"] == CHALLENGE


@pytest.mark.parametrize(
    ("claim", "roles"),
    [
        ("[admin author]", {"admin", "author"}),
        ("[admin]", {"admin"}),
        ("admin", {"admin"}),
        ("[]", set()),
        ("", set()),
        ("Admin", {"Admin"}),
        ("[blog:admin /blog/authors]", {"blog:admin", "/blog/authors"}),
        ("42", {"42"}),
        ("a" * 10_240, {"a" * 10_240}),
    ],
)
def test_roles_are_one_name_or_an_array_of_names(
    claim: str, roles: set[str], capfd: pytest.CaptureFixture[str]
) -> None:
    caller = caller_of(verified({"jwt": {"claims": claims_of(roles=claim)}}))
    assert caller.roles == roles
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    "claim",
    [
        " ",
        " admin",
        "author admin",
        "x admin y",
        "admin,author",
        "admin\tauthor",
        "[admin\tauthor]",
        "[admin\n]",
        "[admin]\n",
        "[x  admin]",
        "[ admin]",
        "[admin ]",
        "[admin, author]",
        "[admin",
        "admin]",
        "[[admin]]",
        "[[x] admin]",
        "[x [admin] y]",
        "[admin][author]",
        "[admin] [author]",
        "map[admin:true]",
        "map[a:x admin y]",
        "map[roles:[a admin b]]",
        "[map[a:x] admin]",
        "[map[a:x admin y]]",
        "[<nil> admin]",
        "<nil>",
        '["admin"]',
        '["x", "admin"]',
        '{"roles": ["a", "admin", "b"]}',
        '["admin" admin "]',
        "['admin']",
        "(admin)",
        "[admin (all)]",
        "admin\0",
        "[x\0 admin]",
        "[x\u00a0admin]",
        "[\u0430dmin admin]",
        f"[{'a ' * 6000}admin]",
        f"[{'a' * 20_000} admin]",
        "a" * 10_241,
    ],
)
def test_any_other_form_names_no_role_and_is_logged_without_its_value(
    claim: str, capfd: pytest.CaptureFixture[str]
) -> None:
    caller = caller_of(verified({"jwt": {"claims": claims_of(roles=claim)}}))
    assert caller.roles == frozenset()
    logged = json.loads(capfd.readouterr().out)
    assert (logged["level"], logged["claim"]) == ("WARNING", "roles")
    assert "admin" not in json.dumps(logged)


NAMES = st.text("admin[]{}:,\"'<> \t\\x", max_size=8)
VALUES = st.recursive(
    NAMES | st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)


@given(value=VALUES)
def test_a_role_is_the_whole_text_or_an_element_of_an_array_but_for_spaces(value: object) -> None:
    """Whatever the issuer sends: a role is never a part of a word, nor nested."""
    roles = caller_of(verified({"jwt": {"claims": claims_of(roles=printed_claim(value))}})).roles
    texts = value if isinstance(value, list) else [value]
    named = {name for text in texts if isinstance(text, str) for name in text.split(" ")}
    if isinstance(value, str):
        named = {value, *value.removeprefix("[").removesuffix("]").split(" ")}
    assert "admin" not in roles or "admin" in named


def test_the_prefix_of_roles_is_a_setting(worker: Worker) -> None:
    worker.restart(**REQUIRED, ROLE_PREFIX="blog:")

    def may_write(*roles: str) -> bool:
        try:
            authorize(ApiRequest(claims=claims_of(*roles)), "delete_writer", "writers:write")
        except Forbidden:
            return False
        return True

    assert may_write("blog:admin")
    assert may_write("x", "blog:author")
    assert not may_write("admin")
    assert not may_write("blog admin team")
    assert not may_write("blog:", "admin")
    assert not may_write("blog:blog:admin")
    assert not may_write("blog:reader")


@pytest.mark.parametrize("prefix", ["blog ", "[", '"', "x,", "a" * 65])
def test_a_prefix_that_no_claim_could_have_is_an_error(worker: Worker, prefix: str) -> None:
    worker.restart(**REQUIRED, ROLE_PREFIX=prefix)
    with pytest.raises(SettingsError, match=r"^ROLE_PREFIX: "):
        authorize(ApiRequest(claims=claims_of()), "list_writers", "writers:read")


def test_the_claim_of_the_roles_is_a_setting(worker: Worker) -> None:
    worker.restart(**REQUIRED, ROLES_CLAIM="cognito:groups")
    claims = claims_of("admin") | {"cognito:groups": "[author]"}
    assert caller_of(verified({"jwt": {"claims": claims}})).roles == {"author"}


def test_a_function_ignores_the_header_authorization(api_of: ApiOf) -> None:
    header = {"Authorization": "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ."}
    transport = LambdaTransport()
    with httpx.Client(transport=transport, base_url="http://api.test", headers=header) as anonymous:
        response = anonymous.get("/writers")
    assert response.status_code == 401
    assert response.json()["type"] == "/problems#unauthorized"
    assert response.headers["www-authenticate"] == CHALLENGE
    assert response.headers["cache-control"] == "no-store"
    assert api_of().get("/writers", headers=header).status_code == 200


@pytest.mark.parametrize("missing", ["TOKEN_ISSUER", "TOKEN_AUDIENCE"])
def test_no_caller_is_accepted_if_a_setting_is_missing(
    worker: Worker, api_of: ApiOf, missing: str
) -> None:
    worker.restart(**{missing: None})
    assert api_of("admin", iss="", aud="").get("/writers").status_code == 500
