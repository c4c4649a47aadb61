"""JWT authorizers of a template, enforced over real HTTP, in AWS's formats."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from samcli.yamlhelper import yaml_parse

from local.gateway.authorizer import JwtAuthorizer
from local.gateway.trust import trust
from local.identity.issuer import Issuer, checkout_key
from local.template import load_template
from tests.local.served import Served
from tests.local.toys import Program, write_project
from tests.template.stacks import token_routes, translated

URL = "http://127.0.0.1:3000/local-issuer"
AUTH = """{
  DefaultAuthorizer: Tokens,
  Authorizers: {
    Tokens: {JwtConfiguration: {issuer: "https://issuer.example", audience: [api]}},
    Lambda: {FunctionArn: "arn:aws:lambda:eu-west-1:123456789012:function:f"},
  }}"""
TOKENS = """{
  DefaultAuthorizer: Tokens,
  Authorizers: {
    Tokens: {
      IdentitySource: $request.header.Authorization,
      JwtConfiguration: {issuer: "https://issuer.example", audience: [api]},
    },
  }}"""


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    return Issuer(URL, checkout_key(tmp_path_factory.mktemp("issuer")))


@pytest.fixture(scope="module")
def closed(issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A gateway whose route /toy requires a token."""
    authorizer = JwtAuthorizer(URL, ["first", issuer.audience], issuer)
    served = Served(write_project(tmp_path_factory.mktemp("closed")), authorizer)
    yield served
    served.close()


def call(served: Served, *authorization: str, path: str = "/toy") -> httpx.Response:
    return served.client.get(path, headers=[("Authorization", value) for value in authorization])


def test_a_route_without_an_authorizer_is_open(closed: Served) -> None:
    context = call(closed, path="/open").json()["event"]["requestContext"]
    assert "authorizer" not in context


def test_without_a_token_the_response_is_that_of_aws(closed: Served) -> None:
    response = call(closed)
    assert response.status_code == 401
    assert response.text == '{"message":"Unauthorized"}'
    assert response.headers["WWW-Authenticate"] == "Bearer"


def test_an_invalid_token_is_described_as_by_aws(closed: Served, issuer: Issuer) -> None:
    claims = issuer.claims("admin", "ada") | {"aud": "another"}
    response = call(closed, f"Bearer {issuer.sign(issuer.header(), claims)}")
    assert response.status_code == 401
    assert response.text == '{"message":"Unauthorized"}'
    assert response.headers["WWW-Authenticate"] == (
        'Bearer scope="" error="invalid_token"'
        ' error_description="the token does not have a valid audience"'
    )


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", ""])
def test_claims_reach_the_function_in_the_format_of_aws(
    closed: Served, issuer: Issuer, scheme: str
) -> None:
    claims = issuer.claims("admin", "ada") | {
        "roles": ["admin", "author"],
        "exp": 4_000_000_000.0,
        "none": None,
        "yes": True,
        "half": 0.5,
        "empty": [],
        "nested": {"b": [1, None], "a": "x y"},
        "groups": ["blog admin team", ["a b"], {"roles": ["admin"]}],
    }
    token = issuer.sign(issuer.header(), claims)
    event = call(closed, scheme + token).json()["event"]
    jwt = event["requestContext"]["authorizer"]["jwt"]
    assert jwt == {
        "claims": {
            **{name: claims[name] for name in ("iss", "sub", "aud", "jti", "token_use")},
            "iat": str(claims["iat"]),
            "roles": "[admin author]",
            "exp": "4000000000",
            "yes": "true",
            "half": "0.5",
            "empty": "[]",
            "nested": "map[a:x y b:[1 <nil>]]",
            "groups": "[blog admin team [a b] map[roles:[admin]]]",
        },
        "scopes": None,
    }
    assert event["headers"]["authorization"] == scheme + token


def test_times_may_have_fractions(closed: Served, issuer: Issuer) -> None:
    """Also those of a token that is used in the second in which it was issued."""
    now = time.time()
    claims = issuer.claims("admin", "ada") | {"iat": now, "nbf": now, "exp": now + 60.5}
    response = call(closed, f"Bearer {issuer.sign(issuer.header(), claims)}")
    assert response.status_code == 200
    printed = response.json()["event"]["requestContext"]["authorizer"]["jwt"]["claims"]
    assert float(printed["exp"]) == now + 60.5
    expired = claims | {"exp": now - 0.5}
    assert call(closed, f"Bearer {issuer.sign(issuer.header(), expired)}").status_code == 401


def test_only_a_request_without_the_header_is_signed_in(issuer: Issuer, project: Path) -> None:
    trusted = trust(project, 3000, {})
    served = Served(project, trusted.authorizer)
    try:
        claims = call(served).json()["event"]["requestContext"]["authorizer"]["jwt"]["claims"]
        local = served.client.get("/toy", headers={"Origin": str(served.client.base_url)})
        rejected = [
            call(served, ""),
            call(served, "Basic dTpw"),
            call(served, "Bearer", "Bearer"),
            served.client.get("/toy", headers={"Origin": "https://elsewhere.example"}),
            served.client.get("/toy", headers={"Origin": "null"}),
            served.client.get("/toy", headers={"Origin": "http://localhost.elsewhere.example"}),
        ]
    finally:
        served.close()
    assert claims["sub"] == "local-admin"
    assert claims["roles"] == "[admin]"
    assert local.status_code == 200
    assert [response.status_code for response in rejected] == [401] * len(rejected)


@pytest.mark.parametrize(
    ("shell", "expected", "notice"),
    [
        ({}, {"iss": URL, "aud": "users-and-posts", "roles": ["admin"]}, "an administrator's"),
        (
            {"TOKEN_AUDIENCE": "a b", "ROLES_CLAIM": "groups", "ROLE_PREFIX": "blog:"},
            {"aud": "a", "groups": ["blog:admin"]},
            "SIGN_IN=off ends that",
        ),
        ({"SIGN_IN": "off"}, None, "need a token"),
        ({"TOKEN_ISSUER": "https://issuer.example"}, None, "by https://issuer.example"),
    ],
)
def test_the_shell_selects_the_issuer_and_the_console_prints_it(
    tmp_path: Path, shell: dict[str, str], expected: dict[str, Any] | None, notice: str
) -> None:
    trusted = trust(tmp_path, 3000, shell)
    sign_in = trusted.authorizer.sign_in
    claims = sign_in() if sign_in else None
    assert trusted.authorizer.issuer == shell.get("TOKEN_ISSUER", URL)
    assert (claims and {name: claims[name] for name in expected or ()}) == expected
    assert notice in trusted.notice


def with_api(project: Path, properties: str, event: str = "") -> Path:
    """The project's template, with these properties of its API and of its default route."""
    path = project / "template.yaml"
    text = path.read_text().replace(
        "{Type: AWS::Serverless::HttpApi}",
        f"{{Type: AWS::Serverless::HttpApi, Properties: {{{properties}}}}}",
    )
    path.write_text(text.replace("ApiId: !Ref Api}}", f"ApiId: !Ref Api{event}}}}}"))
    return path


def test_routes_have_the_authorizers_of_the_template(project: Path) -> None:
    template = load_template(with_api(project, f"Auth: {AUTH}", event=", Auth: {Authorizer: NONE}"))
    assert {route.path: route.requires_token for route in template.routes} == {
        "/toy": True,
        "$default": False,
    }
    assert template.notices == ("Api: the authorizer Lambda has no effect locally",)


def test_a_route_needs_a_token_where_sams_translation_says_so(project: Path) -> None:
    """By the default authorizer, which leaves OPTIONS alone, or by the event's own."""
    events = {
        "Options": "Path: /toy, Method: OPTIONS",
        "Get": "Path: /toy, Method: GET, Auth: {Authorizer: NONE}",
        "Head": "Path: /toy, Method: HEAD, Auth: {Authorizer: Tokens}",
    }
    path = with_api(project, f"Auth: {TOKENS}", event=", Auth: {Authorizer: NONE}")
    added = "".join(
        f"        {name}: {{Type: HttpApi, Properties: {{ApiId: !Ref Api, {properties}}}}}\n"
        for name, properties in events.items()
    )
    path.write_text(path.read_text().replace("        Rest:", f"{added}        Rest:"))
    read = {
        (one.path, "ANY" if one.is_any else min(one.methods)): one.requires_token
        for one in load_template(path).routes
    }
    assert read == {
        ("/toy", "ANY"): True,
        ("/toy", "OPTIONS"): False,
        ("/toy", "GET"): False,
        ("/toy", "HEAD"): True,
        ("$default", "ANY"): False,
    }
    assert read == token_routes(translated(yaml_parse(path.read_text())))


def test_a_run_serves_its_issuer_and_takes_the_tokens_that_the_command_prints(
    project: Path, start: Any, run_local: Any, given: dict[str, str]
) -> None:
    with_api(project, f"Auth: {AUTH}")
    program: Program = start("run", "--port", "0", SIGN_IN="off", **given)
    port = program.url.rpartition(":")[2]
    program.wait_for("Requests need a token: make token")
    assert program.get("/toy").status_code == 401

    printed = run_local("token", "--role", "author", "--subject", "ada", "--port", port)
    bearer = {"Authorization": f"Bearer {printed.stdout.strip()}"}
    response = httpx.get(f"{program.url}/toy", headers=bearer)
    assert response.status_code == 200
    claims = response.json()["event"]["requestContext"]["authorizer"]["jwt"]["claims"]
    assert (claims["sub"], claims["roles"]) == ("ada", "[author]")

    discovery = program.get("/local-issuer/.well-known/openid-configuration").json()
    assert discovery["issuer"] == claims["iss"]
    assert httpx.get(discovery["jwks_uri"]).json()["keys"]
    expired = run_local("token", "--port", port, "--claims", '{"exp": 1}', "--header", "{}")
    bearer = {"Authorization": f"Bearer {expired.stdout.strip()}"}
    assert httpx.get(f"{program.url}/toy", headers=bearer).status_code == 401
