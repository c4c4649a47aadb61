"""The estimate of what a profile costs follows the templates, and the documentation has it."""

import re

import pytest

from tests.resources import ROOT
from tests.template.cost import PRICES, idle, million_requests
from tests.template.stacks import Stack

DEPLOYMENT = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")


def total(**parameters: str) -> float:
    return sum(line.dollars for line in idle(Stack(**parameters)))


@pytest.mark.parametrize("profile", ["hobby", "standard", "ha"])
def test_the_documentation_has_the_cost_of_each_profile(profile: str) -> None:
    row = re.search(rf"^\| `{profile}` .*\| \$([\d.]+) \|$", DEPLOYMENT, re.MULTILINE)
    assert row
    assert float(row[1]) == pytest.approx(
        total(Profile=profile), abs=0.5 if profile != "hobby" else 0.01
    )
    assert f"prices of {PRICES['date']}" in DEPLOYMENT


def test_an_option_costs_what_it_adds() -> None:
    month = PRICES["hours_in_a_month"]
    proxy = total(Profile="ha", DatabaseProxy="true") - total(Profile="ha")
    assert proxy == pytest.approx(8 * month * PRICES["rds_proxy_acu_hour"])
    snapshots = total(SnapStart="true") - total()
    assert snapshots == pytest.approx(3 * 1769 / 1024 * month * 3600 * 0.0000015046)


def test_given_servers_are_not_on_this_bill() -> None:
    items = {line.item for line in idle(Stack(DatabaseUrl="postgresql://u@db/blog"))}
    assert items == {"Alarms", "Dashboard"}


def test_arm64_is_the_cheaper_architecture() -> None:
    x86, arm = (
        sum(line.dollars for line in million_requests(Stack(Architecture=one)))
        for one in ("x86_64", "arm64")
    )
    assert arm < x86
