"""The template's authorizers, the policy and the OpenAPI document agree; and its rules."""

import json
from typing import Any

import pytest
from samcli.yamlhelper import yaml_parse

from blog.access import is_read
from blog.auth.policy import POLICY
from local.gateway.routing import RouteTable
from local.template import load_template
from tests.resources import FUNCTIONS, RESOURCES, ROOT
from tests.template import stacks
from tests.template.stacks import Stack

DOCUMENT = json.loads((FUNCTIONS / "meta" / "openapi.json").read_text(encoding="utf-8"))
OPERATIONS = [
    (method.upper(), path, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
]
ANY = "x-amazon-apigateway-any-method"


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    parsed: dict[str, Any] = yaml_parse((ROOT / "template.yaml").read_text(encoding="utf-8"))
    return parsed


@pytest.fixture(scope="module")
def routes() -> RouteTable:
    return RouteTable(load_template(ROOT / "template.yaml").routes)


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS)
def test_a_token_is_required_by_the_policy_the_document_and_the_gateway(
    routes: RouteTable, method: str, path: str, operation: dict[str, Any]
) -> None:
    rule = POLICY.get(operation["operationId"])
    assert operation["security"] == ([{"token": []}] if rule else [])
    assert operation.get("x-permission") == (rule and rule.permission)
    for sent in {method} | ({"HEAD"} if method == "GET" else set()):
        match = routes.match(sent, path.replace("{", "").replace("}", ""))
        assert match
        assert match.route.requires_token == (rule is not None)
    assert ("401" in operation["responses"]) == (rule is not None)
    assert ("403" in operation["responses"]) == (rule is not None and not is_read(rule.permission))


def test_public_reads_open_get_and_head_and_nothing_else(template: dict[str, Any]) -> None:
    paths = template["Resources"]["Api"]["Properties"]["DefinitionBody"]["paths"]
    reads = {"Fn::If": ["ReadsNeedToken", [{"Token": []}], []]}
    assert paths == {
        f"/{resource}{rest}": {
            "get": {"security": reads},
            "head": {"security": reads},
            ANY: {"security": [{"Token": []}]},
            "options": {"security": []},
        }
        for resource in RESOURCES
        for rest in ("", "/{proxy+}")
    }
    assert template["Conditions"]["ReadsNeedToken"] == {
        "Fn::Equals": [{"Ref": "PublicReads"}, "false"]
    }


def test_a_deployment_is_closed_by_default(template: dict[str, Any]) -> None:
    assert template["Parameters"]["PublicReads"]["Default"] == "false"


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
        ({"Stage": "prod"}, []),
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
