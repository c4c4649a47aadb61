"""The template's authorizers, the permissions and the OpenAPI document agree; and its rules."""

import json
from pathlib import Path
from typing import Any

import pytest
from samcli.yamlhelper import yaml_parse

from local.gateway.routing import RouteTable
from local.template import load_template
from shared.auth.permissions import Grant, grant_of
from tests.resources import FUNCTIONS, PERMISSIONS, PLAIN, RESOURCES, ROOT, SIGNED
from tests.template import stacks
from tests.template.edits import edited
from tests.template.stacks import Evaluator, Stack

DOCUMENT = json.loads((FUNCTIONS / "meta" / "openapi.json").read_text(encoding="utf-8"))
OPERATIONS = [
    (method.upper(), path, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
]


@pytest.fixture(scope="module")
def routes() -> RouteTable:
    return RouteTable(load_template(ROOT / "template.yaml").routes)


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS)
def test_a_token_is_required_by_the_permission_the_document_and_the_gateway(
    routes: RouteTable, method: str, path: str, operation: dict[str, Any]
) -> None:
    permission = PERMISSIONS.get(operation["operationId"])
    assert operation["security"] == ([{"token": []}] if permission else [])
    assert operation.get("x-permission") == permission
    for sent in {method} | ({"HEAD"} if method == "GET" else set()):
        match = routes.match(sent, path.replace("{", "").replace("}", ""))
        assert match
        assert match.route.requires_token == (permission is not None)
    is_signed = operation["operationId"] in SIGNED
    assert ("401" in operation["responses"]) == (permission is not None or is_signed)
    enough = Grant.OWN if method == "GET" else Grant.ALL  # of others' items a read finds none
    is_granted_to_all = permission is None or grant_of(permission) >= enough
    assert ("403" in operation["responses"]) != is_granted_to_all


BELOW = {
    path
    for _, path, operation in OPERATIONS
    if operation["tags"][0] in RESOURCES and operation["tags"][0] != path.split("/")[1]
}
"""Paths below another resource, which are routes of their own."""


def test_a_resource_has_two_paths_with_a_token_whose_options_need_none() -> None:
    paths = {f"/{resource}{rest}" for resource in RESOURCES for rest in ("", "/{proxy+}")} | BELOW
    routed = stacks.token_routes(stacks.template()).items()
    of_plain = tuple(f"/{name}/" for name in PLAIN)
    found = {route: token for route, token in routed if not f"{route[0]}/".startswith(of_plain)}
    assert found == {("$default", "ANY"): False} | {
        (path, method): method == "ANY" for path in paths for method in ("ANY", "OPTIONS")
    }


def test_the_gateway_of_a_developers_machine_wants_tokens_where_the_deployed_one_does() -> None:
    routes = load_template(stacks.TEMPLATE).routes
    assert stacks.token_routes(stacks.template()) == {
        (route.path, "ANY" if route.is_any else min(route.methods)): route.requires_token
        for route in routes
    }


def test_routes_without_a_token_that_are_never_removed_have_their_own_throttle(
    tmp_path: Path,
) -> None:
    """API Gateway rejects a change of a stage that has settings of a route that is gone.

    So no deployment could remove a resource, and none that adds one could be rolled back.
    """
    for path in (stacks.TEMPLATE, edited(tmp_path, public_reads=True)):
        stage = Stack(path).properties("ApiApiGatewayDefaultStage")
        [(route, settings)] = stage["RouteSettings"].items()
        assert route == "$default"
        for limit in ("ThrottlingRateLimit", "ThrottlingBurstLimit"):
            assert settings[limit] <= stage["DefaultRouteSettings"][limit] / 10


@pytest.mark.parametrize(
    ("origins", "allowed"),
    [("", None), ("*", ["*"]), ("https://a.org,https://b.org", ["https://a.org", "https://b.org"])],
)
def test_the_gateway_responds_to_web_pages_of_the_given_origins(
    origins: str, allowed: list[str] | None
) -> None:
    parameters = {"CorsOrigins": origins}
    document = yaml_parse(stacks.TEMPLATE.read_text(encoding="utf-8"))
    made = stacks.translated(document, parameters=parameters)
    body = Evaluator(made, parameters).resolved(made["Resources"]["Api"]["Properties"]["Body"])
    cors = body.get("x-amazon-apigateway-cors")
    assert (cors and cors["allowOrigins"]) == allowed


DOMAIN = {"DomainName": "api.example.org", "DomainCertificateArn": "arn:aws:acm:::certificate/1"}
DOMAIN_WITH_PATH = DOMAIN | {"DomainName": "api.example.org/v1"}


@pytest.mark.parametrize(
    ("parameters", "is_off"), [({}, False), (DOMAIN, True), (DOMAIN_WITH_PATH, True)]
)
def test_with_a_domain_nothing_is_served_beside_it(
    parameters: dict[str, str], is_off: bool
) -> None:
    stack = Stack(**parameters)
    [server] = stack.properties("Api")["Body"]["servers"]
    endpoint = server["x-amazon-apigateway-endpoint-configuration"]
    assert endpoint["disableExecuteApiEndpoint"] is is_off
    assert ("execute-api" not in stack.output("ApiUrl")) is is_off
    assert stack.has("DomainTarget") is is_off


@pytest.mark.parametrize(
    ("parameters", "host", "path"),
    [({}, "", ""), (DOMAIN, "api.example.org", ""), (DOMAIN_WITH_PATH, "api.example.org", "/v1")],
)
def test_a_domain_has_a_host_and_may_have_a_path(
    parameters: dict[str, str], host: str, path: str
) -> None:
    stack = Stack(**parameters)
    variables = stack.properties("MetaFunction")["Environment"]["Variables"]
    assert (variables["DOMAIN_NAME"], variables["BASE_PATH"]) == (host, path)
    if host:
        assert stack.output("ApiUrl") == f"https://{host}{path}"
        assert stack.properties("Domain")["DomainName"] == host
        assert stack.properties("Mapping").get("ApiMappingKey", "") == path.removeprefix("/")


def test_users_sign_in_without_sending_a_password_and_may_have_a_second_factor() -> None:
    stack = Stack()
    pool = stack.properties("UserPool")
    assert (pool["MfaConfiguration"], pool["EnabledMfas"]) == ("OPTIONAL", ["SOFTWARE_TOKEN_MFA"])
    policy = pool["Policies"]["PasswordPolicy"]
    assert policy.pop("MinimumLength") >= 12
    assert list(policy.values()) == [True] * 4
    flows = {
        name: set(resource["Properties"]["ExplicitAuthFlows"])
        for name, resource in stack.resources()
        if resource["Type"] == "AWS::Cognito::UserPoolClient"
    }
    assert flows == {
        "UserPoolClient": {"ALLOW_USER_SRP_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"},
        "SmokeTestClient": {"ALLOW_ADMIN_USER_PASSWORD_AUTH"},
    }


def test_tokens_of_each_client_of_the_pool_are_accepted() -> None:
    """By the gateway and by the functions."""
    stack = Stack()
    schemes = stack.properties("Api")["Body"]["components"]["securitySchemes"]
    authorizer = schemes["Token"]["x-amazon-apigateway-authorizer"]
    variables = stack.properties("MetaFunction")["Environment"]["Variables"]
    clients = {
        name.lower()
        for name, resource in stack.resources()
        if resource["Type"] == "AWS::Cognito::UserPoolClient"
    }
    assert set(authorizer["jwtConfiguration"]["audience"]) == clients
    assert set(variables["TOKEN_AUDIENCE"].split()) == clients


def test_no_parameter_opens_a_deployed_function() -> None:
    """The translated functions have the value itself, which no condition or parameter changes."""
    functions = [
        resource["Properties"]["Environment"]["Variables"]
        for resource in stacks.template()["Resources"].values()
        if resource["Type"] == "AWS::Lambda::Function"
    ]
    assert functions
    assert {variables["AUTH"] for variables in functions} == {"required"}


@pytest.mark.parametrize(
    ("parameters", "broken"),
    [
        ({}, []),
        ({"Stage": "prod", "Profile": "ha"}, []),
        ({"Stage": "prod", "Profile": "standard", "DatabaseUrl": "postgresql://db/blog"}, []),
        ({"Stage": "prod", "DatabaseUrl": "postgresql://db/blog"}, ["ProductionIsNoHobby"]),
        ({"DatabaseProxy": "true"}, ["AProxyKeepsADatabaseAwake"]),
        ({"DatabaseProxy": "true", "Profile": "standard"}, []),
        ({"RestoreFrom": "cluster@latest"}, []),
        (
            {"DatabaseUrl": "postgresql://db/blog", "RestoreFrom": "snapshot"},
            ["OnlyTheStacksOwnDatabaseIsRestoredOrProxied"],
        ),
        ({"TokenIssuer": "https://issuer.example.org"}, ["AnIssuerHasAnAudience"]),
        ({"TokenIssuer": "https://issuer.example.org", "TokenAudience": ["api"]}, []),
        ({"RedisUrl": "rediss://cache"}, ["ServersAreGivenTogether"]),
        ({"SubnetIds": ["subnet-1"]}, ["ServersAreGivenTogether"]),
        ({"DatabaseUrl": "postgresql://db/blog", "RedisUrl": "rediss://cache"}, []),
    ],
)
def test_rules_reject_what_is_not_meant(parameters: dict[str, Any], broken: list[str]) -> None:
    stack = Stack(**parameters)
    assert [
        name
        for name, rule in stack.document["Rules"].items()
        if stack.resolved(rule["RuleCondition"])
        and not all(stack.resolved(one["Assert"]) for one in rule["Assertions"])
    ] == broken
