"""Derives what CloudFormation must be allowed to do to make, change and delete the stacks.

The schema of each resource type lists the rights that its handlers use; AWS's reference says to
which resources a right can be limited. Both come with cfn-lint. As a command it prints the rights
that the stage `staging` needs, each with a resource: `python -m tests.template.rights`.
"""

import json
import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

from tests.template.stacks import DELIVERY, PSEUDO_PARAMETERS, REGION, Stack

ACCOUNT = PSEUDO_PARAMETERS["AWS::AccountId"]
STACK_TAG = "aws:ResourceTag/aws:cloudformation:stack-name"
HANDLERS = ("create", "read", "update", "delete")
ONLY_FOR = {
    "codedeploy:RegisterOnPremisesInstance": "OnPremisesInstanceTagFilters",
    "ec2:*SubnetCidrBlock": "Ipv6CidrBlock",
    "ec2:CreateVpcEncryptionControl": "VpcEncryptionControl",
    "ec2:ModifyVpcTenancy": "InstanceTenancy",
    "elasticfilesystem:*": "FileSystemConfigs",
    "firehose:*": "LogDeliveryConfigurations",
    "iam:*GroupPolicy": "Groups",
    "iam:*UserPolicy": "Users",
    "iam:ListRoles": "MonitoringRoleArn",
    "kms:*": "Kms",
    "lambda:GetCodeSigningConfig": "CodeSigningConfigArn",
    "lambda:PassCapacityProvider": "CapacityProviderConfig",
    "logs:DeleteIndexPolicy": "FieldIndexPolicies",
    "logs:DeleteResourcePolicy": "ResourcePolicyDocument",
    "logs:PutIndexPolicy": "FieldIndexPolicies",
    "rds:*GlobalCluster": "GlobalClusterIdentifier",
    "s3files:*": "FileSystemConfigs",
    "secretsmanager:*": "ManageMasterUserPassword",
}
"""Rights that only a resource with a property of this name needs, whatever the property's case is.

A right is in this table only if the stack's role does not have it.
"""
NEVER = {"iam:DeleteRolePermissionsBoundary"}
"""What a schema lists, and no stage's role may have."""
ON_EVERYTHING = {"cloudwatch:DescribeAlarms", "sns:Unsubscribe"}
"""What AWS authorizes on all resources at once, against its own reference.

CloudFormation's error is "not authorized to perform cloudwatch:DescribeAlarms on resource
…:alarm:*"; the page of SNS's actions gives Unsubscribe no resource.
"""


class Use(NamedTuple):
    """A right, and the ARNs of the resources on one of which a stack needs it."""

    action: str
    arns: tuple[str, ...]
    """Just `*` if the right cannot be limited to resources."""
    resource: str
    """The logical id of the resource whose handlers use the right."""


@cache
def reference() -> dict[str, Any]:
    """Return the reference of services, actions and resources, all in lower case but the ARNs."""
    path = files("cfnlint").joinpath("data/AdditionalSpecs/Policies.json")
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def resource_types(action: str) -> list[str] | None:
    """Return the types of resources that a right can be limited to; None for an unknown right."""
    service, _, name = action.lower().partition(":")
    found = reference().get(service, {}).get("Actions", {}).get(name)
    return None if found is None else found.get("Resources", [])


def handler_rights(resource_type: str) -> set[str]:
    """Return the rights that CloudFormation uses for a type of resources, in the schema's case."""
    if resource_type.startswith("Custom::"):
        return {"lambda:InvokeFunction"}
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema(REGION, resource_type).schema
    handlers = [schema["handlers"].get(name, {}).get("permissions", []) for name in HANDLERS]
    tagging = schema.get("tagging", {}).get("permissions", [])
    return {right for rights in (*handlers, tagging) for right in rights}


@cache
def stage_stack(stage: str) -> Stack:
    """Return the stack of a stage, which has every resource that any parameters can give it."""
    return Stack(
        **{"AWS::StackName": f"users-and-posts-{stage}"},
        Stage=stage,
        Profile="ha",
        DatabaseProxy="true",
        AlarmEmail="ada@example.org",
        AlarmsStopDeployments="false",
        DomainName=f"{domain(stage)}/v1",
        DomainHostedZoneId="Z1",
        PermissionsBoundary=f"delivery/users-and-posts-{stage}",
    )


def domain(stage: str) -> str:
    return f"{stage}.example.org"


@cache
def delivery_stack(stage: str) -> Stack:
    return Stack(
        DELIVERY,
        Repository="owner/name",
        OwnerId="123",
        RepositoryId="456",
        Stage=stage,
        DomainName=f"{domain(stage)}/v1",
    )


def uses(stack: Stack) -> Iterator[Use]:
    """Yield what CloudFormation must be allowed to do for a stack and its nested stacks."""
    stack_name = stack.resolved({"Ref": "AWS::StackName"})
    for logical_id, resource in stack.own_resources():
        name = _physical_name(stack_name, logical_id, resource)
        for action in sorted(handler_rights(resource["Type"])):
            types = resource_types(action)
            if types is None or action in NEVER or _is_only_for_others(action, resource):
                continue
            if not types or action in ON_EVERYTHING:
                yield Use(action, ("*",), logical_id)
                continue
            service = reference()[action.partition(":")[0].lower()]["Resources"]
            arns = tuple(
                _arn(pattern, _name_in_arn(action, one.lower(), name))
                for one in types
                for pattern in service[one.lower()]["ARNFormats"]
            )
            yield Use(action, arns, logical_id)
    for nested in stack.nested.values():
        yield from uses(nested)


def _physical_name(stack_name: str, logical_id: str, resource: Mapping[str, Any]) -> str:
    """Return the name that the template gives a resource, or one as CloudFormation makes it."""
    generated = f"{stack_name}-{logical_id}-1A2B3C4D5E6F"
    if resource["Type"].startswith("Custom::"):
        return generated
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema(REGION, resource["Type"]).schema
    keys = [path.rpartition("/")[2] for path in schema["primaryIdentifier"]]
    given = [resource["Properties"].get(key) for key in (*keys, "LayerName")]
    name = next((one for one in given if isinstance(one, str)), generated)
    # Of another resource, which is a part of it.
    return name if stack_name in name else generated


def _name_in_arn(action: str, resource_type: str, name: str) -> str:
    """Return what stands for a resource's name in the ARNs of a type that a right is used on."""
    stage = re.match(r"\W*(?:aws/\w+/)?(users-and-posts-[a-z]+)", name)
    assert stage, name
    match action.lower(), resource_type:
        case "iam:createservicelinkedrole", _:
            return "aws-service-role/rds.amazonaws.com/AWSServiceRoleForRDS"
        case _, "stack":
            return f"{name}/id"
        case _, "schedule":
            return f"default/{name}"
        case _, "object":
            return f"aws-sam-cli-managed-default-samclisourcebucket-1a2b3c/{stage[1]}/code"
        case _, "og" | "pg":
            return "default.aurora-postgresql17"
        case _, "deploymentconfig":
            return "CodeDeployDefault.LambdaCanary10Percent10Minutes"
        case _, "log-group" | "log-stream" if "/" not in name:  # of a metric filter
            return f"/aws/vendedlogs/{stage[1]}/access"
    return name


def _is_only_for_others(action: str, resource: Mapping[str, Any]) -> bool:
    text = json.dumps(resource["Properties"])
    return any(
        fnmatchcase(action, pattern) and not re.search(rf'"{name}\w*":', text, re.IGNORECASE)
        for pattern, name in ONLY_FOR.items()
    )


def _arn(pattern: str, name: str) -> str:
    """Return an ARN of the reference with a name in place of its last part."""
    values = {"Partition": "aws", "Region": REGION, "Account": ACCOUNT}
    arn = re.sub(r"\$\{(\w+)\}", lambda match: values.get(match[1], name), pattern)
    return arn.partition(".*")[0] + name if ".*" in arn else arn


def statements(stack: Stack, resource: str) -> list[dict[str, Any]]:
    """Return the statements of a role's own policies, or of a managed policy."""
    properties = stack.properties(resource)
    policies = [policy["PolicyDocument"] for policy in properties.get("Policies", ())]
    policies += [properties["PolicyDocument"]] if "PolicyDocument" in properties else []
    return [statement for policy in policies for statement in policy["Statement"]]


def is_allowed(
    given: list[dict[str, Any]], action: str, arn: str, context: Mapping[str, str]
) -> bool:
    """Whether IAM would allow an action: some statement allows it, and none denies it."""
    effects = {
        statement["Effect"]
        for statement in given
        if any(_matches(one.lower(), action.lower()) for one in as_list(statement["Action"]))
        and any(_matches(one, arn) for one in as_list(statement["Resource"]))
        and all(
            _is_met(operator, key, as_list(values), context)
            for operator, conditions in statement.get("Condition", {}).items()
            for key, values in conditions.items()
        )
    }
    return effects == {"Allow"}


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _matches(pattern: str, value: str) -> bool:
    return fnmatchcase(value, pattern.replace("[", "[[]"))


def _is_met(operator: str, key: str, values: list[str], context: Mapping[str, str]) -> bool:
    value = context.get(key)
    match operator.removeprefix("ForAllValues:"):
        case "Null":
            return (value is None) == (values == ["true"])
        case "StringEquals" | "ArnEquals":
            return value in values
        case "StringLike":
            return value is not None and any(_matches(one, value) for one in values)
        case "StringNotLike":
            return value is None or not any(_matches(one, value) for one in values)
    raise NotImplementedError(operator)


def main() -> None:
    rights: dict[str, tuple[str, ...]] = {}
    for use in uses(stage_stack("staging")):
        rights.setdefault(use.action, use.arns)
    for action, arns in sorted(rights.items(), key=lambda right: right[0].lower()):
        print(f"{action:56} {arns[0]}")


if __name__ == "__main__":
    main()
