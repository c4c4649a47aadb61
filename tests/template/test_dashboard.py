"""The dashboard: JSON that CloudWatch takes, of metrics that there are."""

import json
import re
from typing import Any

import pytest

from shared.observability import COLD_START, DATABASE_TIME, FAULT, METRICS_NAMESPACE
from tests.resources import ROOT
from tests.template.cost import METRICS as OF_REQUESTS
from tests.template.stacks import Stack


@pytest.fixture(params=["hobby", "ha"])
def stack(request: pytest.FixtureRequest) -> Stack:
    return Stack(Profile=request.param, Stage="prod")


@pytest.fixture
def widgets(stack: Stack) -> list[dict[str, Any]]:
    body = json.loads(stack.nested["Dashboard"].properties("Dashboard")["DashboardBody"])
    found: list[dict[str, Any]] = body["widgets"]
    return found


def test_it_fits_the_grid_without_overlap(widgets: list[dict[str, Any]]) -> None:
    taken: set[tuple[int, int]] = set()
    for widget in widgets:
        cells = {
            (x, y)
            for x in range(widget["x"], widget["x"] + widget["width"])
            for y in range(widget["y"], widget["y"] + widget["height"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken
        taken |= cells


def test_it_shows_the_memory_of_the_database(widgets: list[dict[str, Any]]) -> None:
    assert '"FreeableMemory"' in json.dumps(widgets)


@pytest.mark.parametrize(
    ("partition", "domain"), [("aws", "amazon.com"), ("aws-cn", "amazonaws.cn")]
)
def test_its_address_is_in_the_console_of_its_partition(partition: str, domain: str) -> None:
    given = {"Name": "blog", "Stage": "dev", "DatabaseCluster": "", "Cache": ""}
    path = ROOT / "infrastructure" / "dashboard.yaml"
    url = Stack(path, **given, **{"AWS::Partition": partition}).output("Url")
    assert re.match(rf"https://console\.(aws\.)?{re.escape(domain)}/cloudwatch/", url)


def test_it_searches_metrics_that_requests_have(widgets: list[dict[str, Any]]) -> None:
    text = json.dumps(widgets)
    searched = re.findall(
        r"\{" + METRICS_NAMESPACE + r',service,stage\} MetricName=\\\\?\\?"(\w+)', text
    )
    assert set(searched) <= OF_REQUESTS
    assert {FAULT, "CacheHit", "CacheMiss", "CacheError", COLD_START, DATABASE_TIME} <= set(
        searched
    )
    assert 'stage=\\"prod\\"' in text


def test_its_other_metrics_are_made_by_the_alarms_or_by_aws(
    stack: Stack, widgets: list[dict[str, Any]]
) -> None:
    made = {
        (one["MetricNamespace"], one["MetricName"])
        for _, resource in stack.resources()
        if resource["Type"] == "AWS::Logs::MetricFilter"
        for one in resource["Properties"]["MetricTransformations"]
    }
    namespace = name = ""
    for widget in widgets:
        for metric in widget["properties"]["metrics"]:
            if isinstance(metric[0], dict):
                continue
            if metric[0] != "...":
                namespace = namespace if metric[0] == "." else metric[0]
                name = metric[1]
            assert namespace.startswith("AWS/") or (namespace, name) in made
