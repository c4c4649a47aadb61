"""The stacks that CloudFormation makes of the templates: translated from SAM, and resolved.

`Stack` evaluates conditions and intrinsic functions for given parameters, nested stacks included.
Attributes that only AWS knows are made up of their resource's and their own name.
"""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import boto3
from moto import mock_aws
from samcli.yamlhelper import yaml_parse
from samtranslator.parser.parser import Parser
from samtranslator.translator.managed_policy_translator import ManagedPolicyLoader
from samtranslator.translator.translator import Translator

from tests.resources import ROOT

TEMPLATE = ROOT / "template.yaml"
INFRASTRUCTURE = sorted((ROOT / "infrastructure").glob("*.yaml"))
DELIVERY = ROOT / "infrastructure" / "delivery" / "roles.yaml"
REGION = "eu-west-1"
PSEUDO_PARAMETERS = {
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::StackName": "blog",
    "AWS::URLSuffix": "amazonaws.com",
}
REFERRED_TO_BY_ARN = ("AWS::Lambda::Version", "AWS::Lambda::Alias")
ANY_METHOD = "x-amazon-apigateway-any-method"
NO_VALUE = object()


@cache
def template(path: Path = TEMPLATE) -> dict[str, Any]:
    """Return the template, translated if it is SAM's."""
    document: dict[str, Any] = yaml_parse(path.read_text(encoding="utf-8"))
    return translated(document) if "Transform" in document else document


def translated(
    document: dict[str, Any], changed: str = "", parameters: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return SAM's translation, in which the code of the resource `changed` is another.

    Code that is in S3 already stays what it is. SAM itself resolves some references to parameters.
    """
    for name, resource in document["Resources"].items():
        properties = resource.get("Properties", {})
        for key in {"CodeUri", "ContentUri"} & properties.keys():
            if not str(properties[key]).startswith("s3://"):
                properties[key] = f"s3://bucket/{'changed' if name == changed else 'key'}"
    translator = Translator({}, Parser(), boto_session=boto3.Session(region_name=REGION))
    made: dict[str, Any] = translator.translate(
        document, parameters or {}, get_managed_policy_map=managed_policies
    )
    # As JSON, without the classes of YAML's nodes.
    return dict(json.loads(json.dumps(made, default=str)))


def token_routes(document: dict[str, Any]) -> dict[tuple[str, str], bool]:
    """Return whether API Gateway requires a token, by path and method, of a translated template."""
    [body] = (
        resource["Properties"]["Body"]
        for resource in document["Resources"].values()
        if resource["Type"] == "AWS::ApiGatewayV2::Api"
    )
    return {
        (path, "ANY" if method == ANY_METHOD else method.upper()): requires_token(body, operation)
        for path, methods in body["paths"].items()
        for method, operation in methods.items()
    }


def requires_token(body: dict[str, Any], operation: dict[str, Any]) -> bool:
    """Whether an operation of an API's OpenAPI document has an authorizer; SAM's NONE is none."""
    schemes = body["components"]["securitySchemes"]
    return any(name in schemes for one in operation.get("security", ()) for name in one)


@cache
def managed_policies() -> dict[str, str]:
    """Return the ARNs of AWS's own policies by name."""
    with mock_aws():
        loaded: dict[str, str] = ManagedPolicyLoader(boto3.client("iam", region_name=REGION)).load()
    return loaded


class Evaluator:
    """Evaluates conditions and intrinsic functions of a translated template.

    A list in `parameters` may be given as CloudFormation takes it, separated by commas.
    """

    def __init__(self, document: dict[str, Any], parameters: dict[str, Any]) -> None:
        self.document = document
        declared = document.get("Parameters", {})
        assert set(parameters) <= {*declared, *PSEUDO_PARAMETERS}, set(parameters) - set(declared)
        values = {name: parameter.get("Default") for name, parameter in declared.items()}
        self._values = values | PSEUDO_PARAMETERS | parameters | {"AWS::NoValue": NO_VALUE}
        for name, parameter in declared.items():
            if "List" in parameter["Type"] and not isinstance(self._values[name], list):
                self._values[name] = str(self._values[name]).split(",")

    def has(self, name: str) -> bool:
        """Whether the resource or output has no condition, or it is met."""
        documents = self.document["Resources"] | self.document.get("Outputs", {})
        return "Condition" not in documents[name] or self.condition(documents[name]["Condition"])

    def condition(self, name: str) -> bool:
        return bool(self.resolved(self.document["Conditions"][name]))

    def output(self, name: str) -> Any:
        return self.resolved(self.document["Outputs"][name]["Value"])

    def reference(self, resource: str) -> str:
        """Return what Ref makes of a resource."""
        if self.document["Resources"][resource]["Type"] in REFERRED_TO_BY_ARN:
            return f"arn:aws:lambda:{REGION}:123456789012:function:{resource.lower()}"
        return resource.lower()

    def attribute(self, resource: str, attribute: str) -> Any:
        """Return what GetAtt makes of a resource's attribute."""
        kind = self.document["Resources"][resource]["Type"]
        if attribute == "Arn" and kind == "AWS::IAM::Role":
            return f"arn:aws:iam::123456789012:role/{resource.lower()}"
        if attribute == "Arn" and kind == "AWS::Lambda::Function":
            return f"arn:aws:lambda:{REGION}:123456789012:function:{resource.lower()}"
        if attribute.endswith("Arn"):
            return f"arn:aws:service:{REGION}:123456789012:type:{resource.lower()}"
        scheme = "https://" if attribute.endswith("URL") else ""
        return f"{scheme}{resource}.{attribute}".lower()

    def resolved(self, value: Any) -> Any:
        if isinstance(value, list):
            items = [self.resolved(item) for item in value]
            return [item for item in items if item is not NO_VALUE]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            (name, argument), *_ = value.items()
            if name in ("Ref", "Condition") or name.startswith("Fn::"):
                return self._evaluated(name, argument)
        members = {key: self.resolved(item) for key, item in value.items()}
        return {key: item for key, item in members.items() if item is not NO_VALUE}

    def _evaluated(self, name: str, argument: Any) -> Any:  # noqa: C901 - a case each
        match name, argument:
            case "Ref", str(target):
                return self._values[target] if target in self._values else self.reference(target)
            case "Condition", str(condition):
                return self.condition(condition)
            case "Fn::If", [condition, met, otherwise]:
                return self.resolved(met if self.condition(condition) else otherwise)
            case "Fn::Equals", [one, other]:
                return self.resolved(one) == self.resolved(other)
            case "Fn::Not", [condition]:
                return not self.resolved(condition)
            case "Fn::And", conditions:
                return all(self.resolved(condition) for condition in conditions)
            case "Fn::Or", conditions:
                return any(self.resolved(condition) for condition in conditions)
            case "Fn::Contains", [values, one]:
                return self.resolved(one) in self.resolved(values)
            case "Fn::Join", [separator, parts]:
                return separator.join(map(str, self.resolved(parts)))
            case "Fn::Split", [separator, text]:
                return self.resolved(text).split(separator)
            case "Fn::Select", [index, parts]:
                return self.resolved(parts)[int(index)]
            case "Fn::GetAZs", _:
                return [f"{REGION}a", f"{REGION}b"]
            case "Fn::FindInMap", keys:
                return self._in_map(*self.resolved(keys))
            case "Fn::GetAtt", [resource, *attribute]:
                return self.attribute(resource, ".".join(attribute))
            case "Fn::GetAtt", str(path):
                return self.attribute(*path.split(".", 1))
            case "Fn::Sub", [text, variables]:
                return self._substituted(text, self.resolved(variables))
            case "Fn::Sub", text:
                return self._substituted(text, {})
        raise NotImplementedError(f"{name} {argument}")

    def _in_map(self, name: str, first: str, second: str) -> Any:
        return self.document["Mappings"][name][first][second]

    def _substituted(self, text: str, variables: dict[str, Any]) -> str:
        def value(match: re.Match[str]) -> str:
            name = match[1]
            if name in variables:
                return str(variables[name])
            if name in self._values:
                return str(self._values[name])
            resource, _, attribute = name.partition(".")
            return str(
                self.attribute(resource, attribute) if attribute else self.reference(resource)
            )

        return re.sub(r"\$\{([\w:.]+)\}", value, text)


class Stack(Evaluator):
    """A stack with these parameters, the defaults for the others, and its nested stacks."""

    def __init__(self, path: Path = TEMPLATE, /, **parameters: Any) -> None:
        super().__init__(template(path), parameters)
        self.nested: dict[str, Stack] = {}
        for name, resource in self.document["Resources"].items():  # each after what it refers to
            if resource["Type"] == "AWS::CloudFormation::Stack" and self.has(name):
                properties = resource["Properties"]
                given = self.resolved(properties.get("Parameters", {}))
                given |= {pseudo: self._values[pseudo] for pseudo in PSEUDO_PARAMETERS}
                given["AWS::StackName"] += f"-{name}"
                self.nested[name] = Stack(ROOT / properties["TemplateURL"], **given)

    def own_resources(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the resources with their properties resolved, without those of nested stacks."""
        for name, resource in self.document["Resources"].items():
            if self.has(name):
                yield name, resource | {"Properties": self.resolved(resource.get("Properties", {}))}

    def resources(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the resources with their properties resolved, those of nested stacks included."""
        yield from self.own_resources()
        for nested in self.nested.values():
            yield from nested.resources()

    def properties(self, name: str) -> Any:
        return dict(self.resources())[name]["Properties"]

    def attribute(self, resource: str, attribute: str) -> Any:
        if attribute.startswith("Outputs."):
            return self.nested[resource].output(attribute.removeprefix("Outputs."))
        return super().attribute(resource, attribute)
