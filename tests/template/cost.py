"""What a profile costs a month without requests, and what requests cost: `make cost`.

The quantities are those of the templates, the prices those of infrastructure/cost/prices.yaml.
CloudWatch bills an alarm by the metrics that it reads, and a metric of one's own by the hours in
which it has data: those of the requests' log lines for each function, those of the access log once.
"""

import argparse
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml  # type: ignore[import-untyped]

from shared.observability import CACHE_METRICS, COLD_START, DATABASE_TIME, FAULT, LIMIT_METRICS
from tests.resources import ROOT
from tests.template.edits import edited
from tests.template.stacks import Stack

PRICES: dict[str, Any] = yaml.safe_load(
    (ROOT / "infrastructure" / "cost" / "prices.yaml").read_text(encoding="utf-8")
)
METRICS = {COLD_START, DATABASE_TIME, FAULT, *CACHE_METRICS.values(), *LIMIT_METRICS.values()}
SNAPSHOTS = "SnapStart: {ApplyOn: None}"
STORED_GIGABYTES = 1
REQUEST_SECONDS = 0.02
"""Billed duration of a request that reads from the database a millisecond away."""
LOGGED_KILOBYTES = 1.1
"""Of a request: the function's line with its metrics, Lambda's report, the access log's line."""
AWAKE_SECONDS = 60
"""For a statement, besides the time until a database pauses again."""
AWAKE_ACU = 0.5
READ_IO = 1
"""Reads and writes of Aurora's storage for a request; pages in memory cost none."""


@dataclass(frozen=True)
class Line:
    """An item of the bill: dollars a month, or for a million requests."""

    item: str
    quantity: str
    dollars: float


def idle(stack: Stack) -> list[Line]:
    """Return what the stack costs in a month without requests."""
    hours = PRICES["hours_in_a_month"]
    resources = [resource for _, resource in stack.resources()]
    count = Counter(resource["Type"] for resource in resources)
    lines = []
    for cluster in _of_type(resources, "AWS::RDS::DBCluster"):
        minimum = float(cluster["ServerlessV2ScalingConfiguration"]["MinCapacity"])
        instances = count["AWS::RDS::DBInstance"]
        dollars = instances * minimum * hours * PRICES["aurora_acu_hour"]
        lines.append(Line("Aurora capacity", f"{instances} x {minimum:g} ACU", dollars))
        dollars = STORED_GIGABYTES * PRICES["aurora_storage_gigabyte_month"]
        lines.append(Line("Aurora storage", f"{STORED_GIGABYTES} GB", dollars))
        if minimum == 0:
            lines.append(_wakes(stack, cluster))
    if count["AWS::RDS::DBProxy"]:
        minimum = PRICES["rds_proxy_minimum_acu"]
        dollars = minimum * hours * PRICES["rds_proxy_acu_hour"]
        lines.append(Line("RDS Proxy", f"{minimum} ACU", dollars))
    for cache in _of_type(resources, "AWS::ElastiCache::ReplicationGroup"):
        nodes = cache["NumCacheClusters"]
        assert cache["CacheNodeType"] == "cache.t4g.micro"
        dollars = nodes * hours * PRICES["valkey_t4g_micro_hour"]
        lines.append(Line("Valkey", f"{nodes} x cache.t4g.micro", dollars))
    snapshots = [
        function
        for function in _of_type(resources, "AWS::Lambda::Function")
        if function.get("SnapStart", {}).get("ApplyOn") == "PublishedVersions"
    ]
    if snapshots:
        seconds = hours * 3600 * PRICES["snapstart_gigabyte_second"]
        dollars = sum(function["MemorySize"] / 1024 * seconds for function in snapshots)
        lines.append(Line("SnapStart", f"{len(snapshots)} functions", dollars))
    alarms = _of_type(resources, "AWS::CloudWatch::Alarm")
    read = sum(_metrics_read(alarm, len(_services(stack))) for alarm in alarms)
    quantity = f"{len(alarms)}, of {read} metrics"
    lines.append(Line("Alarms", quantity, read * PRICES["alarm_metric_month"]))
    dashboards = count["AWS::CloudWatch::Dashboard"]
    lines.append(Line("Dashboard", str(dashboards), dashboards * PRICES["dashboard_month"]))
    return lines


def _metrics_read(alarm: dict[str, Any], services: int) -> int:
    """Return how many metrics the alarm reads: a query those of each function."""
    if "MetricName" in alarm:
        return 1
    of_queries = sum(one.get("Expression", "").startswith("SELECT") for one in alarm["Metrics"])
    single = sum("MetricStat" in one for one in alarm["Metrics"])
    return services * int(of_queries) + single


def _services(stack: Stack) -> set[str]:
    """Return the functions that API Gateway calls, each of which has metrics of its own."""
    permissions = _of_type([one for _, one in stack.resources()], "AWS::Lambda::Permission")
    return {one["FunctionName"] for one in permissions}


def metrics(stack: Stack) -> Line:
    """Return what metrics cost in a month with requests in each hour, to each function."""
    filters = _of_type([one for _, one in stack.resources()], "AWS::Logs::MetricFilter")
    of_log = sum(len(one["MetricTransformations"]) for one in filters)
    number = len(METRICS) * len(_services(stack)) + of_log
    return Line("Metrics", f"up to {number}", number * PRICES["custom_metric_month"])


def _wakes(stack: Stack, cluster: dict[str, Any]) -> Line:
    """What the schedule costs that wakes a paused database."""
    found = re.fullmatch(
        r"rate\((\d+) days\)",
        stack.properties("MigrationsFunctionExpired")["ScheduleExpression"],
    )
    assert found
    wakes = PRICES["hours_in_a_month"] / 24 / int(found[1])
    seconds = cluster["ServerlessV2ScalingConfiguration"]["SecondsUntilAutoPause"] + AWAKE_SECONDS
    dollars = wakes * seconds / 3600 * AWAKE_ACU * PRICES["aurora_acu_hour"]
    return Line("Aurora awake to delete what expired", f"every {found[1]} days", dollars)


def million_requests(stack: Stack) -> list[Line]:
    """Return what a million requests cost besides."""
    function = stack.properties("MetaFunction")
    [architecture] = function["Architectures"]
    gigabyte_seconds = function["MemorySize"] / 1024 * REQUEST_SECONDS * 1e6
    gigabytes = LOGGED_KILOBYTES * 1e6 / 1024**2
    milliseconds = f"{REQUEST_SECONDS * 1000:g} ms, {architecture}"
    compute = PRICES["lambda_million_requests"]
    compute += gigabyte_seconds * PRICES["lambda_gigabyte_second"][architecture]
    return [
        Line("API Gateway", "", PRICES["http_api_million_requests"]),
        Line("Lambda", milliseconds, compute),
        Line("Logs", f"{gigabytes:.1f} GB", gigabytes * PRICES["logs_gigabyte"]),
        Line("Aurora reads and writes", "", READ_IO * PRICES["aurora_million_inputs_and_outputs"]),
    ]


def _of_type(resources: list[dict[str, Any]], resource_type: str) -> list[dict[str, Any]]:
    return [one["Properties"] for one in resources if one["Type"] == resource_type]


def with_snapshots(**parameters: str) -> Stack:
    """Return the stack of the template that is edited for SnapStart."""
    with TemporaryDirectory() as directory:
        return Stack(edited(Path(directory), SNAPSHOTS), **parameters)


def table(title: str, lines: list[Line]) -> str:
    rows = [f"| {line.item} | {line.quantity} | {line.dollars:.2f} |" for line in lines]
    total = sum(line.dollars for line in lines)
    return "\n".join(
        [f"| {title} | | US$ |", "|---|---|---:|", *rows, f"| total | | {total:.2f} |"]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Estimate what a profile costs.")
    parser.add_argument("--profile", choices=("hobby", "standard", "ha"), default="hobby")
    parser.add_argument("--proxy", action="store_true", help="with an RDS Proxy")
    parser.add_argument("--snapstart", action="store_true")
    parser.add_argument("--architecture", choices=("x86_64", "arm64"), default="arm64")
    arguments = parser.parse_args()
    stack = (with_snapshots if arguments.snapstart else Stack)(
        Profile=arguments.profile,
        Architecture=arguments.architecture,
        DatabaseProxy=str(arguments.proxy).lower(),
    )
    print(table(f"{arguments.profile}, a month without requests", idle(stack)))
    print()
    print(table("a month with requests in each hour, besides", [metrics(stack)]))
    print()
    print(table("a million requests", million_requests(stack)))
    where, when = PRICES["region"], PRICES["date"]
    print(f"\nPrices of {where}, {when}: infrastructure/cost/prices.yaml")


if __name__ == "__main__":
    main()
