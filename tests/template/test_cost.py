"""The estimate of what a profile costs follows the templates, and the documentation has it."""

import re
import tomllib

import pytest

from tests.resources import FUNCTION_NAMES, ROOT, ROUTED
from tests.template.cost import PRICES, idle, metrics, million_requests, with_snapshots
from tests.template.stacks import Stack

FUNCTIONS = len(ROUTED)
"""Each resource has one, and the documentation and /health."""
PAGES = "".join(
    (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    for page in ("deployment", "settings")
)
PROSE = " ".join(PAGES.split())


def total(**parameters: str) -> float:
    return sum(line.dollars for line in idle(Stack(**parameters)))


@pytest.mark.parametrize("profile", ["hobby", "standard", "ha"])
def test_the_documentation_has_the_cost_of_each_profile(profile: str) -> None:
    row = re.search(rf"^\| `{profile}` .*\| \$([\d.]+) \|$", PAGES, re.MULTILINE)
    assert row
    # A resource that is added makes the alarms a little dearer, and one that is removed cheaper.
    assert float(row[1]) == pytest.approx(total(Profile=profile), abs=max(1, 0.5 * FUNCTIONS))
    assert f"prices of {PRICES['date']}" in PROSE
    assert f"for {PRICES['region']}" in PROSE


def test_prices_are_of_the_region_that_is_deployed_to() -> None:
    config = tomllib.loads((ROOT / "samconfig.toml").read_text(encoding="utf-8"))
    regions = {
        section["global"]["parameters"]["region"]
        for section in config.values()
        if isinstance(section, dict) and "global" in section
    }
    assert regions == {PRICES["region"]}


def test_an_alarm_costs_what_it_reads_and_a_metric_what_it_has() -> None:
    """By hand: two alarms read a metric of each function, ServerErrors reads 2, the other 5 one."""
    stack = Stack(Profile="ha")
    [alarms] = [line for line in idle(stack) if line.item == "Alarms"]
    assert alarms.dollars == pytest.approx((2 * FUNCTIONS + 2 + 5) * 0.10)
    # 9 of each request's line, and 3 of the access log.
    assert metrics(stack).dollars == pytest.approx((9 * FUNCTIONS + 3) * 0.30)
    assert f"up to ${9 * 0.30:.2f} a month for each function" in PROSE


def test_costs_by_use_are_documented() -> None:
    stack = Stack(Architecture="arm64")
    million = sum(line.dollars for line in million_requests(stack))
    assert f"a million requests (about ${million:.2f})" in PROSE
    proxy = total(DatabaseProxy="true") - total()
    assert f"an RDS Proxy (${proxy:.0f} a month)" in PROSE


def test_an_option_costs_what_it_adds() -> None:
    month = PRICES["hours_in_a_month"]
    proxy = total(Profile="ha", DatabaseProxy="true") - total(Profile="ha")
    assert proxy == pytest.approx(8 * month * PRICES["rds_proxy_acu_hour"])
    snapshots = sum(line.dollars for line in idle(with_snapshots())) - total()
    functions = len(FUNCTION_NAMES) - 1  # all but that of the migrations
    assert snapshots == pytest.approx(functions * 1769 / 1024 * month * 3600 * 0.0000015046)


def test_given_servers_are_not_on_this_bill() -> None:
    items = {line.item for line in idle(Stack(DatabaseUrl="postgresql://u@db/blog"))}
    assert items == {"Alarms", "Dashboard"}


def test_arm64_is_the_cheaper_architecture() -> None:
    x86, arm = (
        sum(line.dollars for line in million_requests(Stack(Architecture=one)))
        for one in ("x86_64", "arm64")
    )
    assert arm < x86
