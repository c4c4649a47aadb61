"""The roles for GitHub: enough for all that the templates make, and nothing of another stage.

What is enough is derived from the schemas of the resources (tests/template/rights.py), and what
another stage's resources are from that stage's stack.
"""

import inspect
import json
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

import pytest
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER
from moto.iam.aws_managed_policies import aws_managed_policies_data

from tests.smoke import stage as smoke_test
from tests.template.rights import (
    ACCOUNT,
    NEVER,
    ONLY_FOR,
    STACK_TAG,
    Use,
    as_list,
    delivery_stack,
    domain,
    handler_rights,
    is_allowed,
    resource_types,
    stage_stack,
    statements,
    uses,
)
from tests.template.stacks import REGION, Stack, template

STAGES = ("staging", "prod")
OTHER = {"staging": "prod", "prod": "staging"}
SHARED = {
    "cloudformation:CreateChangeSet",  # with the transform of SAM
    "codedeploy:GetDeploymentConfig",  # AWS's own
    "iam:CreateServiceLinkedRole",
    "route53:GetChange",
    "route53:GetHostedZone",
    "route53:ListResourceRecordSets",
}
"""Rights that no stage has to itself: they change nothing of another stage."""
SECRET = "secret:users-and-posts-staging-db"
SECRETS = {"DatabaseUrl": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:{SECRET}"}
NOT_NEEDED = {
    "s3:GetObject",  # AppSpec files in S3, where CloudFormation gives CodeDeploy the text
    "s3:GetObjectVersion",
}
"""What AWS's policies allow roles of the templates, and the boundary does not."""


def name(stage: str) -> str:
    return f"users-and-posts-{stage}"


def boundary(stage: str) -> str:
    return f"arn:aws:iam::{ACCOUNT}:policy/delivery/{name(stage)}"


@cache
def role_statements(stage: str, role: str) -> list[dict[str, Any]]:
    return statements(delivery_stack(stage), role)


def context(stage: str, **values: str) -> dict[str, str]:
    """Return what AWS knows of a request for a resource of a stage's stack."""
    return {
        "aws:RequestedRegion": REGION,
        "aws:ResourceAccount": ACCOUNT,
        STACK_TAG: f"{name(stage)}-Network-1A2B3C4D5E6F",
        "iam:PermissionsBoundary": boundary(stage),
        "iam:PassedToService": "lambda.amazonaws.com",
        "iam:AWSServiceName": "rds.amazonaws.com",
        "route53:ChangeResourceRecordSetsNormalizedRecordNames": domain(stage),
        **values,
    }


def roles(stack: Stack) -> Iterator[tuple[str, dict[str, Any]]]:
    for logical_id, resource in stack.resources():
        if resource["Type"] == "AWS::IAM::Role":
            yield logical_id, resource["Properties"]


@cache
def all_uses(stage: str) -> list[Use]:
    return list(uses(stage_stack(stage)))


def test_the_stack_that_rights_are_derived_from_has_each_resource_of_the_templates() -> None:
    stack = stage_stack("staging")
    for part in (stack, *stack.nested.values()):
        assert {one for one, _ in part.own_resources()} == set(part.document["Resources"])
    nested = [r for r in template()["Resources"].values() if "TemplateURL" in r["Properties"]]
    assert len(stack.nested) == len(nested)


@pytest.mark.parametrize("stage", STAGES)
def test_the_stack_role_may_do_all_that_cloudformation_does_with_it(stage: str) -> None:
    given = role_statements(stage, "StackRole")
    missing = {
        f"{use.action} on {use.arns[0]} ({use.resource})"
        for use in all_uses(stage)
        if not any(is_allowed(given, use.action, arn, context(stage)) for arn in use.arns)
    }
    assert missing == set()


def test_the_stack_role_has_no_right_that_nothing_needs() -> None:
    """Each right that it has by name is used on a resource of the statement."""
    used = {(use.action.lower(), arn) for use in all_uses("staging") for arn in use.arns}
    spare = {
        action
        for statement in role_statements("staging", "StackRole")
        if statement["Effect"] == "Allow"
        for action in as_list(statement["Action"])
        if not any(
            is_allowed([statement], action, arn, context("staging"))
            for one, arn in used
            if fnmatchcase(one, action.lower())
        )
    }
    assert spare == set()


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("logs:PutResourcePolicy", "*"),
        ("logs:ListLogDeliveries", "*"),
        ("cloudwatch:DescribeAlarms", "*"),
        ("iam:ListAttachedRolePolicies", "arn:aws:iam::{}:role/users-and-posts-staging-X"),
        ("iam:ListRolePolicies", "arn:aws:iam::{}:role/users-and-posts-staging-X"),
        ("iam:ListEntitiesForPolicy", "arn:aws:iam::{}:policy/users-and-posts-staging-X"),
        ("iam:GetPolicyVersion", "arn:aws:iam::{}:policy/users-and-posts-staging-X"),
        ("route53:ListHostedZones", "*"),
        ("ec2:ReplaceRouteTableAssociation", "arn:aws:ec2:eu-west-1:{}:route-table/rtb-1"),
        ("codedeploy:StopDeployment", "*"),
        ("sns:Unsubscribe", "*"),
    ],
)
def test_a_right_that_is_taken_away_is_missed(action: str, resource: str) -> None:
    """The derivation has each right, on `*` where AWS knows no resource."""
    given = role_statements("staging", "StackRole")
    assert is_allowed(given, action, resource.format(ACCOUNT), context("staging"))
    assert action in {use.action for use in all_uses("staging")}
    if resource == "*":
        assert {use.arns for use in all_uses("staging") if use.action == action} == {("*",)}


def test_no_resource_needs_a_right_that_no_role_has() -> None:
    """The table of rights that a property needs has used rights only, and none that is given."""
    given = role_statements("staging", "StackRole")
    types = {resource["Type"] for _, resource in stage_stack("staging").resources()}
    rights = {right for one in types for right in handler_rights(one)}
    for pattern in ONLY_FOR:
        matching = {right for right in rights if fnmatchcase(right, pattern)}
        assert matching, f"{pattern} is not used"
        for right in matching:
            assert resource_types(right) is not None
            assert not is_allowed(given, right, "*", context("staging")), right


@pytest.mark.parametrize("stage", STAGES)
def test_the_stack_role_can_change_nothing_of_another_stage(stage: str) -> None:
    given = role_statements(stage, "StackRole")
    other = OTHER[stage]
    reached = {
        f"{use.action} on {arn}"
        for use in all_uses(other)
        for arn in use.arns
        if arn != "*" and use.action not in SHARED and ":Describe" not in use.action
        if is_allowed(given, use.action, arn, context(other))
    }
    assert reached == set()


def test_the_tag_that_keeps_stages_apart_is_one_that_cloudformation_sets() -> None:
    """On each type of these services that can have tags, by its schema."""
    [deny] = [one for one in role_statements("staging", "StackRole") if one["Effect"] == "Deny"]
    services = {action.removesuffix(":*").removesuffix("-idp") for action in deny["Action"]}
    types = {resource["Type"] for _, resource in stage_stack("staging").resources()}
    service_of = {one: one.split("::")[1].lower().removesuffix("v2") for one in types}
    assert services <= set(service_of.values())
    for one in types:
        if service_of[one] in services:
            tagging = PROVIDER_SCHEMA_MANAGER.get_resource_schema(REGION, one).schema["tagging"]
            assert tagging["taggable"] == tagging["cloudFormationSystemTags"], one


@pytest.mark.parametrize("role", ["DeployRole", "StackRole", "Boundary"])
@pytest.mark.parametrize("stage", STAGES)
def test_no_policy_allows_what_names_another_stage(stage: str, role: str) -> None:
    given = role_statements(stage, role)
    named = [
        (action, resource)
        for statement in role_statements(OTHER[stage], role)
        for action in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
        if OTHER[stage] in resource
    ]
    assert named
    for action, resource in named:
        arn = resource.replace("*", "x")
        one = action.replace("*", "DeleteX")
        assert is_allowed(role_statements(OTHER[stage], role), one, arn, context(OTHER[stage]))
        assert not is_allowed(given, one, arn, context(OTHER[stage])), f"{one} on {arn}"


def test_a_deploy_role_makes_users_for_the_smoke_test_of_its_own_stage() -> None:
    source = inspect.getsource(smoke_test)
    calls = {f"cognito-idp:{one.replace('_', '')}" for one in re.findall(r"\.(admin_\w+)", source)}
    assert len(calls) == 5
    given = role_statements("staging", "DeployRole")
    pool = f"arn:aws:cognito-idp:{REGION}:{ACCOUNT}:userpool/eu-west-1_abc"
    for call in calls:
        for stage in STAGES:
            values = context(stage, **{STACK_TAG: f"{name(stage)}-Identity-1A2B3C4D5E6F"})
            assert is_allowed(given, call, pool, values) == (stage == "staging")


@pytest.mark.parametrize("stage", STAGES)
def test_a_deploy_role_hands_over_to_its_own_stack_role_only(stage: str) -> None:
    [hand_over] = [
        one for one in role_statements(stage, "DeployRole") if one["Action"] == "iam:PassRole"
    ]
    assert hand_over["Resource"] == f"arn:aws:iam::{ACCOUNT}:role/stackrole"
    assert hand_over["Condition"] == {
        "StringEquals": {"iam:PassedToService": "cloudformation.amazonaws.com"}
    }
    reference = template_of_delivery()["DeployRole"]["Properties"]["Policies"][0]["PolicyDocument"]
    assert reference["Statement"][-1]["Resource"] == {"Fn::GetAtt": ["StackRole", "Arn"]}


def template_of_delivery() -> dict[str, Any]:
    return dict(delivery_stack("staging").document["Resources"])


@pytest.mark.parametrize("stage", STAGES)
def test_github_signs_in_from_the_environment_of_the_stage_in_both_forms(stage: str) -> None:
    [statement] = delivery_stack(stage).properties("DeployRole")["AssumeRolePolicyDocument"][
        "Statement"
    ]
    issuer = "token.actions.githubusercontent.com"
    assert statement["Condition"] == {
        "StringEquals": {
            f"{issuer}:aud": "sts.amazonaws.com",
            f"{issuer}:repository_id": "456",
            f"{issuer}:sub": [
                f"repo:owner/name:environment:{stage}",
                f"repo:owner@123/name@456:environment:{stage}",
            ],
        }
    }


@pytest.mark.parametrize("parameter", ["Repository", "OwnerId", "RepositoryId", "Stage"])
def test_parameters_that_identify_github_have_no_wildcard_and_no_default(parameter: str) -> None:
    declared = delivery_stack("staging").document["Parameters"][parameter]
    assert "Default" not in declared
    for wrong in ("*", "owner/*", "own?er/name", "staging-eu", "", "owner@1/name@2"):
        assert not re.search(declared["AllowedPattern"], wrong)


def test_each_role_of_the_stacks_has_the_boundary() -> None:
    found = {
        role: properties.get("PermissionsBoundary")
        for role, properties in roles(stage_stack("prod"))
    }
    assert set(found.values()) == {boundary("prod")}, found
    assert all("PermissionsBoundary" not in role for _, role in roles(Stack(DatabaseProxy="true")))


@pytest.mark.parametrize(
    "action", ["CreateRole", "AttachRolePolicy", "PutRolePolicy", "PutRolePermissionsBoundary"]
)
def test_a_role_gets_rights_within_the_boundary_only(action: str) -> None:
    action = f"iam:{action}"
    given = role_statements("staging", "StackRole")
    role = f"arn:aws:iam::{ACCOUNT}:role/{name('staging')}-MetaFunctionRole-1A2B"
    assert is_allowed(given, action, role, context("staging"))
    others = (boundary("prod"), f"arn:aws:iam::{ACCOUNT}:policy/{name('staging')}-Own")
    for other in (*others, "arn:aws:iam::aws:policy/AdministratorAccess"):
        unlike = context("staging", **{"iam:PermissionsBoundary": other})
        assert not is_allowed(given, action, role, unlike)
    without = context("staging")
    del without["iam:PermissionsBoundary"]
    assert not is_allowed(given, action, role, without)


@pytest.mark.parametrize("role", ["DeployRole", "StackRole", "Boundary"])
def test_no_role_removes_a_boundary_or_changes_what_delivery_made(role: str) -> None:
    given = role_statements("staging", role)
    own = f"arn:aws:iam::{ACCOUNT}:role/{name('staging')}-MetaFunctionRole-1A2B"
    for action in (*NEVER, "iam:CreateUser", "iam:CreateAccessKey", "iam:CreateInstanceProfile"):
        assert not is_allowed(given, action, own, context("staging"))
    made = template_of_delivery()
    for one in ("DeployRole", "StackRole", "Boundary"):
        assert made[one]["Properties"]["Path"] == "/delivery/"
    delivered = [boundary("staging"), boundary("prod")]
    # Whatever the stack of delivery is called.
    delivered += [f"arn:aws:iam::{ACCOUNT}:role/delivery/{name('staging')}-StackRole-1A2B"]
    rights = {one for use in all_uses("staging") for one in [use.action] if one.startswith("iam:")}
    for action in rights | {"iam:SetDefaultPolicyVersion", "iam:UpdateAssumeRolePolicy"}:
        for arn in delivered:
            assert not is_allowed(given, action, arn, context("staging")), f"{action} on {arn}"


def test_roles_are_passed_to_the_services_that_assume_them_only() -> None:
    [passing] = [
        statement
        for statement in role_statements("staging", "StackRole")
        if statement["Action"] == "iam:PassRole"
    ]
    services = {
        service
        for _, properties in roles(stage_stack("staging"))
        for statement in properties["AssumeRolePolicyDocument"]["Statement"]
        for service in as_list(statement["Principal"]["Service"])
    }
    assert set(passing["Condition"]["StringEquals"]["iam:PassedToService"]) == services


def test_the_boundary_is_what_the_roles_of_the_stacks_do_and_nothing_else() -> None:
    managed = json.loads(aws_managed_policies_data)
    stacks = [stage_stack("staging"), Stack(**SECRETS)]
    needed = {
        action.lower()
        for stack in stacks
        for _, properties in roles(stack)
        for policy in (
            *(one["PolicyDocument"] for one in properties.get("Policies", ())),
            *(
                managed[arn.rpartition("/")[2]]["Document"]
                for arn in properties.get("ManagedPolicyArns", ())
                if arn.startswith("arn:aws:iam::aws:")
            ),
        )
        for statement in policy["Statement"]
        for action in as_list(statement["Action"])
    } | {
        action.lower()
        for stack in stacks
        for _, resource in stack.resources()
        if resource["Type"] == "AWS::IAM::ManagedPolicy"
        for statement in resource["Properties"]["PolicyDocument"]["Statement"]
        for action in as_list(statement["Action"])
    }
    allowed = {
        action.lower()
        for statement in role_statements("staging", "Boundary")
        if statement["Effect"] == "Allow"
        for action in as_list(statement["Action"])
    }
    assert allowed == needed - {action.lower() for action in NOT_NEEDED}


@pytest.mark.parametrize(
    ("action", "own"),
    [
        ("secretsmanager:GetSecretValue", "secretsmanager:eu-west-1:{a}:secret:{n}-db-AbCdEf"),
        ("secretsmanager:GetSecretValue", "secretsmanager:eu-west-1:{a}:secret:{n}/db-AbCdEf"),
        ("elasticache:Connect", "elasticache:eu-west-1:{a}:replicationgroup:{n}"),
        ("elasticache:Connect", "elasticache:eu-west-1:{a}:user:{n}-functions"),
        ("lambda:InvokeFunction", "lambda:eu-west-1:{a}:function:{n}-MigrationsFunction-1A2B:live"),
        ("logs:PutLogEvents", "logs:eu-west-1:{a}:log-group:/aws/lambda/{n}:log-stream:x"),
        ("logs:PutLogEvents", "logs:eu-west-1:{a}:log-group:/aws/lambda/{n}-Schema-1:log-stream:x"),
        ("ec2:CreateNetworkInterface", "ec2:eu-west-1:{a}:subnet/subnet-1"),
    ],
)
def test_functions_reach_what_is_their_stages(action: str, own: str) -> None:
    given = role_statements("staging", "Boundary")
    for stage, expected in (("staging", True), ("prod", False)):
        arn = "arn:aws:" + own.format(a=ACCOUNT, n=name(stage))
        assert is_allowed(given, action, arn, context(stage)) == expected, arn


def test_functions_may_be_in_a_network_that_no_stack_of_the_project_made() -> None:
    given = role_statements("staging", "Boundary")
    values = context("staging", **{STACK_TAG: "network-of-the-company"})
    subnet = f"arn:aws:ec2:{REGION}:{ACCOUNT}:subnet/subnet-1"
    assert is_allowed(given, "ec2:CreateNetworkInterface", subnet, values)
    del values[STACK_TAG]
    assert is_allowed(given, "ec2:CreateNetworkInterface", subnet, values)


def test_actions_on_all_resources_are_limited_to_the_region() -> None:
    """An Allow on `*` is for one region, but for records, which have none."""
    for role in ("DeployRole", "StackRole", "Boundary"):
        for statement in role_statements("staging", role):
            if statement["Effect"] == "Allow" and statement["Resource"] == "*":
                limit = statement.get("Condition", {}).get("StringEquals", {})
                actions = as_list(statement["Action"])
                assert limit.get("aws:RequestedRegion") == REGION or all(
                    action in SHARED or action == "route53:ListHostedZones" for action in actions
                )


@pytest.mark.parametrize("role", ["DeployRole", "StackRole"])
def test_buckets_are_those_of_the_account(role: str) -> None:
    found = [
        statement
        for statement in role_statements("staging", role)
        if "s3:" in json.dumps(statement["Action"])
    ]
    assert found
    for statement in found:
        assert statement["Condition"]["StringEquals"] == {"aws:ResourceAccount": ACCOUNT}


def test_the_policies_are_as_short_as_iam_wants_them() -> None:
    """Of a role's own policies IAM takes 10 240 characters in all, of a managed one 6 144."""
    for resource, limit in (("DeployRole", 10_240), ("StackRole", 10_240), ("Boundary", 6_144)):
        length = len(re.sub(r"\s", "", json.dumps(role_statements("staging", resource))))
        assert length < limit * 0.9, f"{resource} has {length}"
