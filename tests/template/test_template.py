"""template.yaml against the code, the settings, the pages, and SAM's own translator."""

import importlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from local.template import Template, load_template
from shared.settings import Settings
from tests.resources import FUNCTION_NAMES, PLAIN, RESOURCES, function_of
from tests.template import stacks

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "template.yaml"
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
SETTINGS_PAGE = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def template() -> Template:
    return load_template(TEMPLATE)


@pytest.fixture(scope="module")
def resources() -> dict[str, Any]:
    """The CloudFormation resources that SAM's translator makes of the template."""
    made: dict[str, Any] = stacks.template()["Resources"]
    return made


def test_every_handler_imports(template: Template, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    assert template.functions
    for function in template.functions.values():
        module, _, name = function.handler.rpartition(".")
        assert callable(getattr(importlib.import_module(module), name))


def test_every_function_folder_is_a_function(template: Template) -> None:
    assert set(template.functions) == set(map(function_of, FUNCTION_NAMES))


def test_every_variable_of_a_function_is_a_setting(template: Template) -> None:
    settings = {name.upper() for name in Settings.model_fields}
    for function in template.functions.values():
        own = {name for name in function.environment if not name.startswith(("AWS_", "_"))}
        assert own - {"TZ", "LANG", "PATH", "CONFIGURATION"} <= settings, function.name
        assert "DATABASE_URL" in own


def test_the_documentation_has_every_setting() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.+?) \| (.+?) \|$", SETTINGS_PAGE, re.MULTILINE)
    documented = {name: (default, text) for name, default, text in rows}
    assert documented == {
        name.upper(): (_default(field), field.description)
        for name, field in Settings.model_fields.items()
    }


def test_each_resource_is_routed_to_its_function_and_the_rest_to_meta(
    template: Template,
) -> None:
    plain = set(map(function_of, PLAIN))
    routes = {(one.path, one.function_name) for one in template.routes}
    below = {one for one in routes if one[1] == function_of(one[0].rpartition("/")[2])}
    assert {one for one in routes if one[1] not in plain} == below | {
        ("$default", "MetaFunction"),
        *(
            (path, function_of(name))
            for name in RESOURCES
            for path in (f"/{name}", f"/{name}/{{proxy+}}")
        ),
    }


def test_the_architecture_names_functions_with_their_routes(template: Template) -> None:
    rows = re.findall(r"^\| `(\w+Function)` \| (.+?) \|", ARCHITECTURE, re.MULTILINE)
    named = {(path, name) for name, routes in rows for path in re.findall(r"`(.+?)`", routes)}
    may_lack = set(FUNCTION_NAMES) - {"meta", "migrations"}
    added = set(map(function_of, may_lack)) - {name for name, _ in rows}
    assert {name for name, _ in rows} == set(template.functions) - added
    assert named == {
        (route.path, route.function_name)
        for route in template.routes
        if route.function_name not in added
    }


def test_the_translated_stack_lets_the_api_call_each_routed_function(
    resources: dict[str, Any], template: Template
) -> None:
    allowed = {
        resource["Properties"]["FunctionName"]["Ref"]
        for resource in resources.values()
        if resource["Type"] == "AWS::Lambda::Permission"
    }
    assert allowed == {f"{route.function_name}Aliaslive" for route in template.routes}


def test_every_translated_function_has_its_layers_its_vpc_and_its_secrets(
    resources: dict[str, Any], template: Template
) -> None:
    layers = {name for name, made in resources.items() if "LayerVersion" in made["Type"]}
    assert {layer[:-10] for layer in layers} == {"DependenciesLayer", "SharedLayer"}
    for name in template.functions:
        properties = resources[name]["Properties"]
        assert {layer["Ref"] for layer in properties["Layers"]} == layers
        assert properties["Architectures"] == [{"Ref": "Architecture"}]
        assert properties["Runtime"] == "python3.13"
        assert "VpcConfig" in properties
        policies = str(resources[f"{name}Role"]["Properties"]["ManagedPolicyArns"])
        assert "'Access', 'Outputs." in policies
        assert "AWSLambdaVPCAccessExecutionRole" in policies


def test_each_parameter_is_in_one_group_and_those_of_given_servers_are_apart() -> None:
    """A parameter of given servers has no effect without DatabaseUrl but to break a rule."""
    document = stacks.template()
    groups = document["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    grouped = [name for group in groups for name in group["Parameters"]]
    assert sorted(grouped) == sorted(document["Parameters"])
    [given] = (group["Parameters"] for group in groups if "DatabaseUrl" in group["Parameters"])
    text = "arn:aws:secretsmanager:::secret:x"
    rules, parameters = document["Rules"], document["Parameters"]
    for name in given:
        assert parameters[name]["Default"] == ""
        alone = stacks.Stack(**{name: text if name.endswith("Url") else "cluster-1/x"})
        broken = [
            rule
            for rule in rules.values()
            if alone.resolved(rule["RuleCondition"])
            and not all(alone.resolved(one["Assert"]) for one in rule["Assertions"])
        ]
        assert (name == "DatabaseUrl") == (not broken), name


def test_the_template_is_valid_and_lints_clean() -> None:
    sam = Path(sys.executable).with_name("sam")
    done = subprocess.run(
        [str(sam), "validate", "--lint"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    return "none" if field.default in (None, "") else f"`{field.default}`"
