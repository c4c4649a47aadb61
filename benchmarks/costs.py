"""Estimated costs of a month in AWS: list prices times the measurements of the other parts.

Durations are from `results/warm.json` and `results/cold.json`, bytes from `results/load.json`;
figures that are not measured yet are assumed, and listed in `assumed`. Prices are those of
us-east-1 in June 2026, without free tiers, discounts and taxes: check them before relying on them.
Both systems get the same prices, memory, servers and traffic.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
TEMPLATE = Path(__file__).parents[1] / "template.yaml"

HOURS = 730
VOLUMES = (100_000, 1_000_000, 10_000_000, 100_000_000)
SYSTEMS = ("project", "baseline")


@dataclass(frozen=True)
class Price:
    name: str
    dollars: float
    per: str


LAMBDA_REQUESTS = Price("Lambda, requests", 0.20, "million")
LAMBDA_DURATION = Price("Lambda on arm64, duration", 0.0000133334, "GB-second")
GATEWAY_REQUESTS = Price("API Gateway HTTP API", 1.00, "million requests")
LOGS_INGESTED = Price("CloudWatch Logs, ingestion", 0.50, "GB")
METRICS = Price("CloudWatch custom metric", 0.30, "metric and month")
DATA_OUT = Price("data transfer to the internet", 0.09, "GB")
POSTGRESQL = Price("RDS PostgreSQL db.t4g.small", 0.032, "hour")
POSTGRESQL_STORAGE = Price("RDS storage gp3", 0.115, "GB and month")
POSTGRESQL_MULTI_AZ = Price("RDS PostgreSQL db.t4g.small, Multi-AZ", 0.064, "hour")
POSTGRESQL_MULTI_AZ_STORAGE = Price("RDS storage gp3, Multi-AZ", 0.23, "GB and month")
VALKEY = Price("ElastiCache for Valkey cache.t4g.micro", 0.0128, "node and hour")
ENDPOINT = Price("VPC endpoint of Secrets Manager", 0.01, "zone and hour")
SECRET = Price("Secrets Manager, secret", 0.40, "month")
SECRET_CALLS = Price("Secrets Manager, calls", 5.00, "million")
RDS_PROXY = Price("RDS Proxy, 2 vCPU (not in the totals)", 0.030, "hour")
VALKEY_SERVERLESS = Price("ElastiCache Serverless for Valkey (not in the totals)", 0.084, "GB-hour")
PRICES = (
    LAMBDA_REQUESTS,
    LAMBDA_DURATION,
    GATEWAY_REQUESTS,
    LOGS_INGESTED,
    METRICS,
    DATA_OUT,
    POSTGRESQL,
    POSTGRESQL_STORAGE,
    POSTGRESQL_MULTI_AZ,
    POSTGRESQL_MULTI_AZ_STORAGE,
    VALKEY,
    ENDPOINT,
    SECRET,
    SECRET_CALLS,
    RDS_PROXY,
    VALKEY_SERVERLESS,
)

SHARES = {
    "cached list": 0.50,
    "uncached list": 0.10,
    "one user": 0.15,
    "one post": 0.15,
    "create a user": 0.05,
    "update a user": 0.05,
}
COLD_SHARE = 0.01
"""AWS reports cold starts in under 1 % of production invocations; INIT is billed since 2025."""
MEGABYTES_OF_A_CPU = 1769
"""With this memory a function has one vCPU, with less a share of one."""
NETWORK_MILLISECONDS = 2.0
"""For round trips to the servers and Lambda's runtime, which the benchmark does not include."""
STORAGE_GB = 20
CUSTOM_METRICS = {"project": 14, "baseline": 1}
"""Six each of users and posts, two of meta; the baseline counts cold starts only."""
PLATFORM_LOG_BYTES = 500
"""Of `platform.start` and `platform.report`, which Lambda writes itself."""
LOG_EVENT_BYTES = 26
"""Billed for each log event on top."""
PLATFORM_LOG_LINES = 2
RESPONSE_HEADER_BYTES = 400

# Assumed until a part has been measured.
WARM_MICROSECONDS = {"project": 1000.0, "baseline": 2000.0}
COLD_MILLISECONDS = {"project": 450.0, "baseline": 4400.0}
PER_REQUEST = {
    "project": {"log_bytes": 550.0, "log_lines": 2.0, "body_bytes": 900.0},
    "baseline": {"log_bytes": 0.0, "log_lines": 0.0, "body_bytes": 900.0},
}
COLD_SYSTEMS = {"project": "project", "baseline": "plain"}
"""Their names in the cold results: the baseline as plain `sam build` ships it."""


@dataclass(frozen=True)
class Request:
    """The billed quantities of a system's average request."""

    billed_milliseconds: float
    log_bytes: float
    response_bytes: float
    metrics: int


def measure() -> dict[str, Any]:
    """Return dollars per month by number of requests, system and item, and their basis."""
    memory_mb = _memory_megabytes()
    warm, cold, load = (_results(part) for part in ("warm", "cold", "load"))
    assumed: list[str] = []
    durations = {system: _durations(system, memory_mb, warm, cold, assumed) for system in SYSTEMS}
    months: dict[str, Any] = {}
    for system in SYSTEMS:
        request = _request(system, durations[system]["mean_ms"], load, assumed)
        for volume in VOLUMES:
            months.setdefault(str(volume), {})[system] = month(volume, request, memory_mb)
    return {
        "prices": [asdict(price) for price in PRICES],
        "shares": SHARES,
        "cold_share": COLD_SHARE,
        "memory_mb": memory_mb,
        "billed": durations,
        "assumed": sorted(set(assumed)),
        "months": months,
    }


def markdown(results: Mapping[str, Any]) -> str:
    return "\n".join(
        [
            *_months_table(results),
            "",
            *_assumptions(results),
            "",
            *_price_table(results),
        ]
    )


def month(requests: int, request: Request, memory_mb: int) -> dict[str, float]:
    """Return dollars by item; `total` with servers in one zone, `total_multi_az` in two."""
    items = {
        "lambda": lambda_dollars(requests, request.billed_milliseconds, memory_mb),
        "gateway": _millions(requests) * GATEWAY_REQUESTS.dollars,
        "logs_and_metrics": _gigabytes(requests * request.log_bytes) * LOGS_INGESTED.dollars
        + request.metrics * METRICS.dollars,
        "data_out": _gigabytes(requests * request.response_bytes) * DATA_OUT.dollars,
        "secret": SECRET.dollars + _millions(requests * COLD_SHARE) * SECRET_CALLS.dollars,
    }
    servers = {"": servers_dollars(zones=1), "_multi_az": servers_dollars(zones=2)}
    figures = items | {f"servers{zones}": dollars for zones, dollars in servers.items()}
    figures |= {f"total{zones}": sum(items.values()) + d for zones, d in servers.items()}
    return {name: round(dollars, 2) for name, dollars in figures.items()}


def lambda_dollars(requests: int, billed_milliseconds: float, memory_mb: int) -> float:
    gigabyte_seconds = requests * billed_milliseconds / 1000 * memory_mb / 1024
    duration = gigabyte_seconds * LAMBDA_DURATION.dollars
    return _millions(requests) * LAMBDA_REQUESTS.dollars + duration


def servers_dollars(zones: int) -> float:
    """Return dollars of PostgreSQL, Valkey with a node per zone, and VPC endpoints."""
    multi = zones > 1
    instance = POSTGRESQL_MULTI_AZ if multi else POSTGRESQL
    storage = POSTGRESQL_MULTI_AZ_STORAGE if multi else POSTGRESQL_STORAGE
    hourly = instance.dollars + zones * (VALKEY.dollars + ENDPOINT.dollars)
    return HOURS * hourly + STORAGE_GB * storage.dollars


def billed_milliseconds(microseconds: float, memory_mb: int) -> int:
    """Return the billed milliseconds of a warm request that takes so long on a whole core."""
    share_of_a_core = min(memory_mb / MEGABYTES_OF_A_CPU, 1.0)
    return ceil(microseconds / 1000 / share_of_a_core + NETWORK_MILLISECONDS)


def _durations(
    system: str,
    memory_mb: int,
    warm: Mapping[str, Any],
    cold: Mapping[str, Any],
    assumed: list[str],
) -> dict[str, float]:
    warm_ms = 0.0
    for kind, share in SHARES.items():
        microseconds = warm.get(kind, {}).get(system, {}).get("p50_us")
        if microseconds is None:
            microseconds = WARM_MICROSECONDS[system]
            assumed.append(f"warm {kind}")
        warm_ms += share * billed_milliseconds(microseconds, memory_mb)
    cold_ms = _cold_milliseconds(system, cold, assumed)
    mean_ms = (1 - COLD_SHARE) * warm_ms + COLD_SHARE * cold_ms
    return {
        "warm_ms": round(warm_ms, 2),
        "cold_ms": round(cold_ms, 1),
        "mean_ms": round(mean_ms, 2),
    }


def _cold_milliseconds(system: str, cold: Mapping[str, Any], assumed: list[str]) -> float:
    """Return the mean of the first requests, on a whole core: Lambda boosts the INIT phase."""
    name = COLD_SYSTEMS[system]
    times = [
        figures[name]["median_ms"]
        for figures in cold.get("requests", {}).values()
        if "median_ms" in figures.get(name, {})
    ]
    if not times:
        assumed.append("cold starts")
        return COLD_MILLISECONDS[system]
    return float(sum(times) / len(times))


def _request(system: str, mean_ms: float, load: Mapping[str, Any], assumed: list[str]) -> Request:
    measured = load.get("per_request", {}).get(system)
    if measured is None:
        assumed.append("bytes of a request")
        measured = PER_REQUEST[system]
    lines = measured["log_lines"] + PLATFORM_LOG_LINES
    return Request(
        billed_milliseconds=mean_ms,
        log_bytes=measured["log_bytes"] + PLATFORM_LOG_BYTES + lines * LOG_EVENT_BYTES,
        response_bytes=measured["body_bytes"] + RESPONSE_HEADER_BYTES,
        metrics=CUSTOM_METRICS[system],
    )


def _months_table(results: Mapping[str, Any]) -> list[str]:
    lines = [
        "| requests a month | Lambda | API Gateway | logs, metrics | data out, secret "
        "| PostgreSQL, Valkey, endpoint | total | the baseline's: Lambda, total "
        "| total in two zones |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for volume, systems in results["months"].items():
        project, baseline = systems["project"], systems["baseline"]
        other = project["data_out"] + project["secret"]
        cells = [
            f"{int(volume):,}",
            *(
                f"${dollars:,.2f}"
                for dollars in (
                    project["lambda"],
                    project["gateway"],
                    project["logs_and_metrics"],
                    other,
                    project["servers"],
                )
            ),
            f"**${project['total']:,.2f}**",
            f"${baseline['lambda']:,.2f}, ${baseline['total']:,.2f}",
            f"${project['total_multi_az']:,.2f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _assumptions(results: Mapping[str, Any]) -> list[str]:
    shares = ", ".join(f"{share:.0%} {kind}" for kind, share in results["shares"].items())
    project, baseline = results["billed"]["project"], results["billed"]["baseline"]
    text = (
        f"Estimated, in dollars: {shares}; {results['cold_share']:.0%} cold; "
        f"{results['memory_mb']} MB. Billed are {project['warm_ms']:.1f} ms warm and "
        f"{project['cold_ms']:.0f} ms cold, the baseline's {baseline['warm_ms']:.1f} and "
        f"{baseline['cold_ms']:.0f}: the measured medians on the memory's share of a core, "
        f"{NETWORK_MILLISECONDS:g} ms for network and runtime, rounded up to whole milliseconds. "
        "Both get the same servers, the smallest that make sense, also for the most requests. "
        "RDS Proxy or a NAT gateway would come on top; ElastiCache Serverless cannot be used, as "
        "it has cluster mode on. The baseline does not log requests."
    )
    missing = f" Not measured yet: {', '.join(results['assumed'])}." if results["assumed"] else ""
    return [text + missing]


def _price_table(results: Mapping[str, Any]) -> list[str]:
    return [
        "| list price, us-east-1, June 2026: check before relying on it | dollars | per |",
        "|---|---|---|",
        *(
            f"| {price['name']} | {_plain(price['dollars'])} | {price['per']} |"
            for price in results["prices"]
        ),
    ]


def _plain(dollars: float) -> str:
    """Format without an exponent, with at least two decimals."""
    text = f"{dollars:.10f}".rstrip("0")
    whole, _, cents = text.partition(".")
    return f"{whole}.{cents:<02}"


def _millions(number: float) -> float:
    return number / 1_000_000


def _gigabytes(number_of_bytes: float) -> float:
    return number_of_bytes / 1024**3


def _memory_megabytes() -> int:
    found = re.search(r"MemorySize: (\d+)", TEMPLATE.read_text(encoding="utf-8"))
    if found is None:
        raise ValueError(f"{TEMPLATE.name} sets no MemorySize")
    return int(found[1])


def _results(part: str) -> dict[str, Any]:
    """Return a part's results, empty if it was not measured yet."""
    try:
        results: dict[str, Any] = json.loads((RESULTS / f"{part}.json").read_text())
    except FileNotFoundError:
        return {}
    return results
