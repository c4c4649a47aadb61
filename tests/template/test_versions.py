"""A deployment publishes a version of each function that it changes, and `live` moves to it."""

import hashlib
import json
import re
import sys
from types import ModuleType
from typing import Any

import pytest
from samcli.yamlhelper import yaml_parse

from tests.template.stacks import TEMPLATE, Stack, template, translated

FUNCTIONS = [
    name
    for name, resource in template()["Resources"].items()
    if resource["Type"] == "AWS::Lambda::Function"
]
SERVING = [name for name in FUNCTIONS if name != "MigrationsFunction"]
LAYERS = ("DependenciesLayer", "SharedLayer")
DECLARED = template()["Parameters"]
EXAMPLES: dict[str, Any] = {
    "DatabaseUrl": "postgresql://u:p@db/blog",
    "RedisUrl": "rediss://:p@cache",
    "DatabaseIamUser": "cluster-ABCDEFGHIJKL01234/blog_app",
    "RedisIamUser": "blog-cache/blog-functions",
    "TokenIssuer": "https://issuer.example",
    "TokenAudience": ["one"],
    "SubnetIds": ["subnet-1"],
    "SecurityGroupIds": ["sg-1"],
    "CorsOrigins": "https://app.example.org",
    "AlarmEmail": "ada@example.org",
    "DomainName": "api.example.org",
    "DomainCertificateArn": "arn:aws:acm:eu-west-1:123456789012:certificate/1",
}
GIVEN = {"DatabaseUrl": EXAMPLES["DatabaseUrl"], "RedisUrl": EXAMPLES["RedisUrl"]}


def versions(changed: str = "") -> dict[str, str]:
    """The logical ids of the functions' versions, another one of which is another version."""
    document = translated(yaml_parse(TEMPLATE.read_text(encoding="utf-8")), changed)
    return {
        resource["Properties"]["FunctionName"]["Ref"]: name
        for name, resource in document["Resources"].items()
        if resource["Type"] == "AWS::Lambda::Version"
    }


def other_values(name: str) -> list[Any]:
    parameter = DECLARED[name]
    if name in EXAMPLES:
        return [EXAMPLES[name]]
    if "AllowedValues" in parameter:
        return [value for value in parameter["AllowedValues"] if value != parameter["Default"]]
    return [17 if parameter["Type"] == "Number" else "17"]


@pytest.mark.parametrize("base", [{}, GIVEN], ids=["own", "given"])
@pytest.mark.parametrize("name", DECLARED)
def test_a_parameter_that_changes_a_function_publishes_a_version(
    name: str, base: dict[str, Any]
) -> None:
    """By the digest: SAM makes versions' logical ids of parameters' names, not of their values."""
    before = Stack(**base)
    for value in other_values(name):
        after = Stack(**base | {name: value})
        for function in FUNCTIONS:
            if before.properties(function) != after.properties(function):
                assert _digested(before) != _digested(after), f"{function}, {name}={value}"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_value_of_another_stack_or_resource_publishes_a_version(function: str) -> None:
    """Such as the address of a database that was replaced."""
    resources = template()["Resources"]
    properties = resources[function]["Properties"]
    seen = sources({name: properties[name] for name in properties.keys() - {"Code", "Layers"}})
    constant = {("Logs", ""), (f"{function}Role", "Arn"), ("Configuration", "Digest")}
    assert any(attribute.startswith("Outputs.") for _, attribute in seen)
    assert seen - constant <= sources(resources["Configuration"]["Properties"]["Values"])


def sources(value: Any) -> set[tuple[str, str]]:
    """The resources and parameters that a value refers to, with the attributes."""
    if isinstance(value, list):
        return set().union(*map(sources, value))
    if not isinstance(value, dict):
        return set()
    found = set().union(*map(sources, value.values()))
    match value:
        case {"Ref": str(name)} if not name.startswith("AWS::"):
            found.add((name, ""))
        case {"Fn::GetAtt": [name, attribute]}:
            found.add((name, attribute))
        case {"Fn::Sub": str(text)}:
            names = re.findall(r"\$\{(\w+)(?:\.([\w.]+))?\}", text)
            found |= set(names)
    return found


def _digested(stack: Stack) -> Any:
    return stack.properties("Configuration")["Values"]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_digest_is_in_each_version_and_its_configuration(function: str) -> None:
    """Another description replaces a version, which Lambda wants to differ in more than that."""
    digest = {"Fn::GetAtt": ["Configuration", "Digest"]}
    resources = template()["Resources"]
    assert resources[versions()[function]]["Properties"]["Description"] == digest
    variables = resources[function]["Properties"]["Environment"]["Variables"]
    assert variables["CONFIGURATION"] == digest


def test_equal_values_have_equal_digests_and_others_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, dict[str, str]]] = []
    cfnresponse = ModuleType("cfnresponse")
    cfnresponse.__dict__.update(SUCCESS="SUCCESS", FAILED="FAILED")
    cfnresponse.__dict__["send"] = lambda _event, _context, status, data, *_rest, **_more: (
        sent.append((status, data))
    )
    monkeypatch.setitem(sys.modules, "cfnresponse", cfnresponse)
    code: dict[str, Any] = {}
    exec(Stack().nested["Digest"].properties("Function")["Code"]["ZipFile"], code)
    for values in (["a", ["b"]], ["a", ["b"]], ["a", ["c"]]):
        code["handler"]({"ResourceProperties": {"Values": values}}, None)
    code["handler"]({}, None)
    assert [status for status, _ in sent] == ["SUCCESS"] * 3 + ["FAILED"]
    one, same, other = (data["Digest"] for _, data in sent[:3])
    assert one == same != other
    text = json.dumps(["a", ["b"]]).encode()
    derived = hashlib.scrypt(text, salt=b"configuration", n=2**15, r=8, p=1, maxmem=2**26, dklen=8)
    assert one == derived.hex()


@pytest.mark.parametrize("layer", LAYERS)
def test_a_change_of_only_a_layer_publishes_a_version_of_every_function(layer: str) -> None:
    before, after = versions(), versions(changed=layer)
    assert set(before) == set(FUNCTIONS)
    assert [name for name in FUNCTIONS if before[name] == after[name]] == []


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_change_of_code_publishes_a_version_of_that_function_only(function: str) -> None:
    before, after = versions(), versions(changed=function)
    assert [name for name in FUNCTIONS if before[name] != after[name]] == [function]


def test_without_a_change_nothing_is_published() -> None:
    assert versions() == versions()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_version_before_is_deleted(function: str) -> None:
    assert template()["Resources"][versions()[function]]["DeletionPolicy"] == "Delete"


@pytest.mark.parametrize(
    ("profile", "pace"),
    [
        ("hobby", "CodeDeployDefault.LambdaAllAtOnce"),
        ("standard", "CodeDeployDefault.LambdaCanary10Percent10Minutes"),
        ("ha", "CodeDeployDefault.LambdaCanary10Percent10Minutes"),
    ],
)
def test_callers_move_to_a_version_by_and_by_and_back_if_an_alarm_fires(
    profile: str, pace: str
) -> None:
    stack = Stack(Profile=profile)
    resources = template()["Resources"]
    for function in SERVING:
        alias = resources[f"{function}Aliaslive"]
        group = alias["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]["DeploymentGroupName"]["Ref"]
        properties = stack.properties(group)
        assert properties["DeploymentConfigName"] == pace
        assert properties["AlarmConfiguration"] == {
            "Enabled": True,
            "Alarms": [{"Name": "faults"}, {"Name": "servererrors"}],
        }
        assert "DEPLOYMENT_STOP_ON_ALARM" in properties["AutoRollbackConfiguration"]["Events"]


@pytest.mark.parametrize("function", SERVING)
def test_a_remedy_can_be_deployed_while_an_alarm_is_on(function: str) -> None:
    alias = template()["Resources"][f"{function}Aliaslive"]
    group = alias["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]["DeploymentGroupName"]["Ref"]
    stack = Stack(Profile="ha", AlarmsStopDeployments="false")
    properties = stack.properties(group)
    # CodeDeploy keeps the alarms that it had if it is given none.
    assert properties["AlarmConfiguration"] == {"Enabled": True, "Alarms": [{"Name": "never"}]}
    assert stack.nested["Alarms"].properties("Never")["TreatMissingData"] == "notBreaching"
    assert properties["DeploymentConfigName"] == "CodeDeployDefault.LambdaAllAtOnce"
    assert "Never" not in dict(Stack(Profile="ha").resources())


def test_migrations_take_effect_at_once() -> None:
    """What invokes them names their version."""
    assert "UpdatePolicy" not in template()["Resources"]["MigrationsFunctionAliaslive"]
