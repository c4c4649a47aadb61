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
REGION = "eu-west-1"
PSEUDO_PARAMETERS = {
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::StackName": "blog",
    "AWS::URLSuffix": "amazonaws.com",
}
NO_VALUE = object()


@cache
def template(path: Path = TEMPLATE) -> dict[str, Any]:
    """Return the template, translated if it is SAM's."""
    document: dict[str, Any] = yaml_parse(path.read_text(encoding="utf-8"))
    return translated(document) if "Transform" in document else document


def translated(document: dict[str, Any], changed: str = "") -> dict[str, Any]:
    """Return SAM's translation, in which the code of the resource `changed` is another."""
    for name, resource in document["Resources"].items():
        for key in {"CodeUri", "ContentUri"} & resource.get("Properties", {}).keys():
            resource["Properties"][key] = f"s3://bucket/{'changed' if name == changed else 'key'}"
    with mock_aws():
        policies = ManagedPolicyLoader(boto3.client("iam", region_name=REGION))
        translator = Translator({}, Parser(), boto_session=boto3.Session(region_name=REGION))
        made: dict[str, Any] = translator.translate(
            document, {}, get_managed_policy_map=policies.load
        )
    # As JSON, without the classes of YAML's nodes.
    return dict(json.loads(json.dumps(made, default=str)))


def _default(parameter: dict[str, Any]) -> Any:
    default = parameter.get("Default")
    return str(default).split(",") if parameter["Type"] == "CommaDelimitedList" else default


class Stack:
    """A stack with these parameters, the defaults for the others."""

    def __init__(self, path: Path = TEMPLATE, /, **parameters: Any) -> None:
        self.document = template(path)
        defaults = {
            name: _default(parameter)
            for name, parameter in self.document.get("Parameters", {}).items()
        }
        self._values = defaults | PSEUDO_PARAMETERS | parameters | {"AWS::NoValue": NO_VALUE}
        self.nested: dict[str, Stack] = {}
        for name, resource in self.document["Resources"].items():  # each after what it refers to
            if resource["Type"] == "AWS::CloudFormation::Stack" and self.has(name):
                self.nested[name] = self._nested(name)

    def has(self, name: str) -> bool:
        """Whether the resource's condition is met."""
        resource = self.document["Resources"][name]
        return "Condition" not in resource or self.condition(resource["Condition"])

    def condition(self, name: str) -> bool:
        return bool(self.resolved(self.document["Conditions"][name]))

    def resources(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the resources with their properties resolved, those of nested stacks included."""
        for name, resource in self.document["Resources"].items():
            if self.has(name):
                yield name, resource | {"Properties": self.resolved(resource.get("Properties", {}))}
        for nested in self.nested.values():
            yield from nested.resources()

    def properties(self, name: str) -> Any:
        return dict(self.resources())[name]["Properties"]

    def output(self, name: str) -> Any:
        return self.resolved(self.document["Outputs"][name]["Value"])

    def _nested(self, name: str) -> "Stack":
        properties = self.document["Resources"][name]["Properties"]
        given = self.resolved(properties.get("Parameters", {}))
        path = ROOT / properties["TemplateURL"]
        declared = template(path).get("Parameters", {})
        assert set(given) <= set(declared), f"{name} has no parameter {set(given) - set(declared)}"
        for parameter, value in given.items():
            if declared[parameter]["Type"].startswith("List<"):
                given[parameter] = value.split(",")
        return Stack(path, **given)

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
                return self._values.get(target, target.lower())
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
                return self._attribute(resource, ".".join(attribute))
            case "Fn::GetAtt", str(path):
                return self._attribute(*path.split(".", 1))
            case "Fn::Sub", [text, variables]:
                return self._substituted(text, self.resolved(variables))
            case "Fn::Sub", text:
                return self._substituted(text, {})
        raise NotImplementedError(f"{name} {argument}")

    def _in_map(self, name: str, first: str, second: str) -> Any:
        return self.document["Mappings"][name][first][second]

    def _attribute(self, resource: str, attribute: str) -> str:
        if attribute.startswith("Outputs."):
            return str(self.nested[resource].output(attribute.removeprefix("Outputs.")))
        if attribute.endswith("Arn"):
            return f"arn:aws:service:{REGION}:123456789012:type:{resource.lower()}"
        scheme = "https://" if attribute.endswith("URL") else ""
        return f"{scheme}{resource}.{attribute}".lower()

    def _substituted(self, text: str, variables: dict[str, Any]) -> str:
        def value(match: re.Match[str]) -> str:
            name = match[1]
            if name in variables:
                return str(variables[name])
            if name in self._values:
                return str(self._values[name])
            resource, _, attribute = name.partition(".")
            return self._attribute(resource, attribute) if attribute else resource.lower()

        return re.sub(r"\$\{([\w:.]+)\}", value, text)
