"""The dashboard: JSON that CloudWatch takes, of metrics that there are."""

import json
import re
from typing import Any

import pytest

from shared.observability import COLD_START, DATABASE_TIME, FAULT, METRICS_NAMESPACE
from tests.resources import ROOT
from tests.template.cost import METRICS as OF_REQUESTS
from tests.template.stacks import Stack


@pytest.fixture(params=["hobby", "ha", "given servers"])
def stack(request: pytest.FixtureRequest) -> Stack:
    if request.param == "given servers":
        return Stack(DatabaseUrl="postgresql://u:p@db/blog", Stage="prod")
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
    given = {"Name": "blog", "Stage": "dev", "DatabaseCluster": "none", "Cache": "none"}
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


def test_no_dimension_and_no_term_of_a_search_is_empty(
    widgets: list[dict[str, Any]],
) -> None:
    metrics = [metric for widget in widgets for metric in widget["properties"]["metrics"]]
    assert "" not in [part for metric in metrics for part in metric]
    searched = [term for one in searches(widgets) for term in terms(one)]
    assert searched
    assert not {"", '""'} & {value for _, value in searched}


def test_its_search_finds_each_node_of_the_cache() -> None:
    stack = Stack(Profile="ha")
    body = json.loads(stack.nested["Dashboard"].properties("Dashboard")["DashboardBody"])
    of_nodes = [one for one in searches(body["widgets"]) if "CacheClusterId" in one]
    assert of_nodes
    node = f"{stack.nested['Cache'].output('Name')}-001"
    for search in of_nodes:
        named = [value for name, value in terms(search) if name != "MetricName"]
        assert named
        assert all(is_found(value, node) for value in named)


def searches(widgets: list[dict[str, Any]]) -> list[str]:
    expressions = [
        metric[0]["expression"]
        for widget in widgets
        for metric in widget["properties"]["metrics"]
        if isinstance(metric[0], dict)
    ]
    return [found for one in expressions for found in re.findall(r"SEARCH\('(.*?)',", one)]


def terms(search: str) -> list[tuple[str, str]]:
    """Return the terms after the schema of a search, each with its property's name, if any."""
    found = (term.rpartition("=") for term in search.partition("} ")[2].split(" "))
    return [(name, value) for name, _, value in found]


def is_found(term: str, value: str) -> bool:
    """Whether CloudWatch finds a value: all of it by a quoted term, by another one a part.

    Source: "CloudWatch search expression syntax" in its user guide. A part is some tokens.
    """
    if term.startswith('"'):
        return term == f'"{value}"'
    tokens = re.compile(r"[A-Z]?[a-z]+|[0-9]+")
    return f".{'.'.join(tokens.findall(term))}." in f".{'.'.join(tokens.findall(value))}."


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
