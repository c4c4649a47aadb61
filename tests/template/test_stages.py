"""samconfig.toml's stages: a stage is built as it is deployed, by its file and by all commands."""

import re
import tomllib
from typing import Any

import pytest
from samcli.commands.build.command import cli as build_command
from samcli.commands.deploy.command import cli as deploy_command
from samcli.lib.config.samconfig import SamConfig

from tests.documentation.curl import blocks
from tests.resources import ROOT
from tests.template.stacks import template

CONFIG = SamConfig(ROOT)
STAGES = [
    name for name in CONFIG.document if name != "version" and "deploy" in CONFIG.document[name]
]
"""Names for --config-env; `default` is the stage dev."""
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob(".github/**/*.yml")]
COMMAND = re.compile(r"sam (build|deploy)\b([^\n&#]*)")
CONFIG_ENV = re.compile(r"""--config-env[ =]"?([\w$-]+)""")


def parameters(command: Any, stage: str) -> dict[str, str]:
    """The template's parameters as SAM's own command takes them from the file."""
    return read(command, CONFIG.get_all([command.name], "parameters", stage))


def read(command: Any, section: dict[str, Any]) -> dict[str, str]:
    [option] = [one for one in command.params if one.name == "parameter_overrides"]
    values: dict[str, str] = option.type.convert(section["parameter_overrides"], option, None)
    return values


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_built_with_the_parameters_that_it_is_deployed_with(stage: str) -> None:
    built, deployed = (parameters(command, stage) for command in (build_command, deploy_command))
    assert built == deployed
    assert built.keys() <= template()["Parameters"].keys()
    assert built["Architecture"] in template()["Parameters"]["Architecture"]["AllowedValues"]
    assert built["Stage"] == ("dev" if stage == "default" else stage)


@pytest.mark.parametrize("stage", STAGES)
def test_a_deployment_without_more_is_watched_by_the_alarms(stage: str) -> None:
    """`sam deploy` keeps what the deployment before had where the file says nothing."""
    assert parameters(deploy_command, stage)["AlarmsStopDeployments"] == "true"


def test_the_sections_that_the_documentation_shows_are_read_as_they_look() -> None:
    texts = (page.read_text(encoding="utf-8") for page in PAGES if page.suffix == ".md")
    shown = [block for text in texts for block in blocks(text, "toml")]
    assert len(shown) >= 3
    for section in map(tomllib.loads, shown):
        values = read(deploy_command, section)
        assert len(values) == "".join(section["parameter_overrides"]).count("=")
        assert values.keys() <= template()["Parameters"].keys()
        assert {"Stage", "Profile", "Architecture", "AlarmsStopDeployments"} <= values.keys()


def test_a_deployment_follows_a_build_for_the_same_stage() -> None:
    """In the code blocks of the documentation and in the workflows."""
    deployments = 0
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for script in blocks(text, "sh") if page.suffix == ".md" else [text]:
            built = None
            for name, options in COMMAND.findall(script):
                env = CONFIG_ENV.search(options)
                stage = env[1] if env else "default"
                if name == "build":
                    built = stage
                    continue
                deployments += 1
                assert stage in {*STAGES, "$STAGE"}, page
                assert built == stage, f"{page.name}: sam deploy{options}"
                assert "Architecture=" not in options, page
    assert deployments >= 3
