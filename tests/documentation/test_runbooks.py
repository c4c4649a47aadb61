"""Each alarm names a section of docs/operations.md that says what to do."""

import re
from typing import Any

import pytest

from tests.resources import ROOT
from tests.template.stacks import template

ALARMS = {
    name: resource
    for path in ("alarms.yaml", "budget.yaml")
    for name, resource in template(ROOT / "infrastructure" / path)["Resources"].items()
    if resource["Type"] in ("AWS::CloudWatch::Alarm", "AWS::Budgets::Budget") and name != "Never"
}
SECTIONS = re.findall(
    r"^### (.+)\n\n(?=\S)",
    (ROOT / "docs" / "operations.md").read_text(encoding="utf-8").partition("## Alarms")[2],
    re.MULTILINE,
)


def anchor(section: str) -> str:
    return section.lower().replace(" ", "-")


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_names_its_section(name: str) -> None:
    resource: dict[str, Any] = ALARMS[name]
    if resource["Type"] == "AWS::Budgets::Budget":  # has no description
        assert anchor(name) in map(anchor, SECTIONS)
        return
    description = resource["Properties"]["AlarmDescription"]
    named = re.search(r" docs/operations\.md#(\S+)$", description)
    assert named, description
    assert named[1] in map(anchor, SECTIONS)
    assert anchor(name) in named[1]


def test_each_section_is_of_an_alarm() -> None:
    assert len(SECTIONS) == len(ALARMS)


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_notifies_the_operator_when_it_fires_and_when_it_ends(name: str) -> None:
    resource: dict[str, Any] = ALARMS[name]
    if resource["Type"] == "AWS::Budgets::Budget":
        return
    for actions in ("AlarmActions", "OKActions"):
        assert {"Ref": "Topic"} in resource["Properties"][actions]["Fn::If"][1]
