"""The arithmetic of the costs on paper."""

import json
from pathlib import Path

import pytest

from benchmarks import costs
from benchmarks.costs import Request

REQUEST = Request(billed_milliseconds=10, log_bytes=1024, response_bytes=2048, metrics=2)


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without results; functions have 512 MB."""
    monkeypatch.setattr(costs, "RESULTS", tmp_path)
    (tmp_path / "template.yaml").write_text("    MemorySize: 512\n")
    monkeypatch.setattr(costs, "TEMPLATE", tmp_path / "template.yaml")
    return tmp_path


def test_lambda_bills_requests_and_gigabyte_seconds() -> None:
    # 1 million requests of 100 ms with half a GB: 50 000 GB-seconds.
    assert costs.lambda_dollars(1_000_000, 100, 512) == pytest.approx(0.20 + 50_000 * 0.0000133334)


def test_a_duration_grows_with_the_share_of_a_core_and_is_rounded_up() -> None:
    assert costs.billed_milliseconds(1000, 1769) == 3
    assert costs.billed_milliseconds(1001, 1769) == 4
    assert costs.billed_milliseconds(1000, 512) == 6
    assert costs.billed_milliseconds(1000, 10_240) == 3


def test_a_month_is_the_sum_of_its_items() -> None:
    month = costs.month(1024**2, REQUEST, 512)
    items = ("lambda", "gateway", "logs_and_metrics", "data_out", "secret", "servers")
    assert month["total"] == pytest.approx(sum(month[item] for item in items), abs=0.03)
    assert month["logs_and_metrics"] == pytest.approx(0.50 + 2 * 0.30)
    assert month["data_out"] == pytest.approx(2 * 0.09)


def test_two_zones_cost_twice_the_servers_of_one() -> None:
    assert costs.servers_dollars(zones=2) == pytest.approx(2 * costs.servers_dollars(zones=1))


def test_only_what_grows_with_requests_grows() -> None:
    few, many = (costs.month(requests, REQUEST, 512) for requests in (1_000_000, 10_000_000))
    assert many["servers"] == few["servers"]
    assert many["gateway"] == 10 * few["gateway"]


@pytest.mark.usefixtures("results")
def test_unmeasured_values_are_marked_as_assumed() -> None:
    measured = costs.measure()
    assert "cold starts" in measured["assumed"]
    assert "bytes of a request" in measured["assumed"]
    assert "Not measured yet" in costs.markdown(measured)


def test_measured_durations_and_bytes_are_used(results: Path) -> None:
    kind = {"project": {"p50_us": 500}, "baseline": {"p50_us": 5000}}
    first = {"project": {"median_ms": 400}, "plain": {"median_ms": 4000}}
    size = {"log_bytes": 500, "log_lines": 2, "body_bytes": 1000}
    for part, content in {
        "warm": dict.fromkeys(costs.SHARES, kind),
        "cold": {"requests": {"/users": first}},
        "load": {"per_request": {"project": size, "baseline": size}},
    }.items():
        (results / f"{part}.json").write_text(json.dumps(content))
    measured = costs.measure()
    assert measured["assumed"] == []
    assert measured["billed"]["project"] == {"warm_ms": 4, "cold_ms": 400, "mean_ms": 7.96}
    for month in measured["months"].values():
        assert month["project"]["lambda"] < month["baseline"]["lambda"]
        assert month["project"]["servers"] == month["baseline"]["servers"]


def test_shares_are_of_all_requests() -> None:
    assert sum(costs.SHARES.values()) == pytest.approx(1)
