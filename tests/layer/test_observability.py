"""One line a request, log and metrics in one, and nothing personal."""

import json
import time
from datetime import datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest
from fastapi import APIRouter

from shared.http.application import create_app, lambda_handler
from tests.conftest import Worker
from tests.in_process import LambdaTransport

Printed = pytest.CaptureFixture[str]


def lines(capsys: Printed) -> list[dict[str, Any]]:
    """The printed lines, each as an object."""
    printed = capsys.readouterr()
    assert printed.err == ""
    return [json.loads(line) for line in printed.out.splitlines()]


def request_lines(capsys: Printed) -> list[dict[str, Any]]:
    return [line for line in lines(capsys) if line.get("message") == "request"]


def metric_objects(capsys: Printed) -> list[dict[str, Any]]:
    return [line for line in lines(capsys) if "_aws" in line]


def names_of(emf: dict[str, Any]) -> set[str]:
    return {metric["Name"] for metric in emf["_aws"]["CloudWatchMetrics"][0]["Metrics"]}


def test_a_request_is_one_line_with_its_fields(
    worker: Worker, api: httpx.Client, capsys: Printed
) -> None:
    response = api.get("/writers/7", headers={"X-Request-Id": "mine-1"})
    [line] = request_lines(capsys)

    assert response.status_code == 404
    expected = {
        "level": "INFO",
        "service": worker.service,
        "stage": "dev",
        "client_request_id": "mine-1",
        "method": "GET",
        "route": "/writers/{writer_id}",
        "status": 404,
    }
    assert {name: line[name] for name in expected} == expected
    assert isinstance(line["cold_start"], bool)
    assert "taskName" not in line  # which Python 3.12 has
    assert datetime.fromisoformat(line["timestamp"]).utcoffset() == timedelta()
    assert line["correlation_id"] not in ("", "mine-1")
    assert 0 < line["database_ms"] <= line["duration_ms"] < 10_000


@pytest.mark.parametrize(
    ("method", "path", "status", "route"),
    [
        ("GET", "/writers", 200, "/writers"),
        ("GET", "/writers?limit=0", 422, "/writers"),
        ("GET", "/writers/search?name=x", 200, "/writers/search"),
        ("POST", "/writers", 422, "/writers"),
        ("GET", "/articles/stats", 200, "/articles/stats"),
        ("DELETE", "/articles/1", 404, "/articles/{article_id}"),
        ("GET", "/nix/secret", 404, None),
        ("PUT", "/writers", 405, "/writers"),
    ],
)
@pytest.mark.usefixtures("worker")
def test_every_request_is_one_line(
    api: httpx.Client, capsys: Printed, method: str, path: str, status: int, route: str | None
) -> None:
    api.request(method, path)
    [line] = request_lines(capsys)

    assert (line["method"], line["status"]) == (method, status)
    assert line.get("route") == route


@pytest.mark.usefixtures("worker")
def test_the_cache_outcome_is_on_the_line_and_a_metric(api: httpx.Client, capsys: Printed) -> None:
    for path, outcome, metric in [
        ("/writers", "miss", "CacheMiss"),
        ("/writers", "hit", "CacheHit"),
        ("/writers?skip=3", "bypass", "CacheBypass"),
    ]:
        api.get(path)
        printed = lines(capsys)
        [line] = [line for line in printed if line.get("message") == "request"]
        [emf] = [line for line in printed if "_aws" in line]
        assert line["cache"] == outcome
        assert {name for name in names_of(emf) if name.startswith("Cache")} == {metric}
        assert emf[metric] == 1


def test_a_failing_redis_is_a_metric(worker: Worker, api: httpx.Client, capsys: Printed) -> None:
    worker.restart(REDIS_URL="redis://127.0.0.1:1/0")
    api.get("/writers")
    assert "CacheError" in names_of(metric_objects(capsys)[0])


@pytest.mark.usefixtures("worker")
def test_a_hit_takes_no_time_in_the_database(api: httpx.Client, capsys: Printed) -> None:
    api.get("/writers")
    api.get("/writers")
    miss, hit = metric_objects(capsys)

    assert miss["DatabaseTime"] > 0
    assert "DatabaseTime" not in names_of(hit)


def test_metrics_are_valid_embedded_metric_format(
    worker: Worker, api: httpx.Client, capsys: Printed
) -> None:
    worker.restart(STAGE="prod")
    api.get("/writers")
    [emf] = metric_objects(capsys)
    [directive] = emf["_aws"]["CloudWatchMetrics"]

    assert 0 <= time.time() * 1000 - emf["_aws"]["Timestamp"] < 60_000
    assert directive["Namespace"] == "UsersAndPosts"
    assert [sorted(dimensions) for dimensions in directive["Dimensions"]] == [["service", "stage"]]
    assert (emf["service"], emf["stage"]) == (worker.service, "prod")
    units = {metric["Name"]: metric["Unit"] for metric in directive["Metrics"]}
    assert units["DatabaseTime"] == "Milliseconds"
    assert units["CacheMiss"] == "Count"
    assert all(isinstance(emf[name], int | float) for name in units)


def test_a_worker_has_one_cold_start_and_another_one_when_it_is_restored(
    worker: Worker, capsys: Printed
) -> None:
    router = APIRouter()
    router.add_api_route("/things", _nothing)
    transport = LambdaTransport(handler=lambda_handler(create_app(router, is_public=True)))
    for _ in range(3):
        transport.handle_request(httpx.Request("GET", "http://api.test/things"))
    worker.close()  # as before a snapshot
    transport.handle_request(httpx.Request("GET", "http://api.test/things"))
    printed = lines(capsys)
    starts = [line["cold_start"] for line in printed if line.get("message") == "request"]
    metrics = [line for line in printed if "ColdStart" in line]

    assert starts == [True, False, False, True]
    assert [emf["ColdStart"] for emf in metrics] == [1, 1]


async def _nothing() -> None:
    """Return null."""


@pytest.mark.parametrize(("database_url", "fault"), [(None, 0), ("postgresql://127.0.0.1:1/no", 1)])
def test_the_average_of_faults_is_the_fault_rate(
    worker: Worker, api: httpx.Client, capsys: Printed, database_url: str | None, fault: int
) -> None:
    """Each request counts, what a client did wrong as 0."""
    if database_url:
        worker.restart(DATABASE_URL=database_url)
    api.get("/writers/1")
    api.get("/writers/stats")
    objects = metric_objects(capsys)
    assert [emf["Fault"] for emf in objects] == [fault, fault]
    assert all("Fault" in names_of(emf) for emf in objects)


def test_the_log_level_is_a_setting(worker: Worker, api: httpx.Client, capsys: Printed) -> None:
    worker.restart(LOG_LEVEL="ERROR")
    api.get("/writers")
    [line] = lines(capsys)
    assert "message" not in line


def test_metrics_do_not_depend_on_the_log_level(
    worker: Worker, api: httpx.Client, capsys: Printed
) -> None:
    worker.restart(LOG_LEVEL="ERROR", STAGE="prod")
    api.get("/writers")
    [emf] = metric_objects(capsys)

    assert emf["CacheMiss"] == 1
    assert (emf["service"], emf["stage"]) == (worker.service, "prod")


PERSONAL = ["Ada Secretson", "Secretson", "ada.secretson", "s3cret", "203.0.113.7", "agent-x"]


def test_no_personal_data_is_printed(
    worker: Worker, api: httpx.Client, database: psycopg.Connection[Any], capsys: Printed
) -> None:
    ada = {"name": "Ada Secretson", "email": "ada.secretson@example.org"}
    api.headers["User-Agent"] = "agent-x"
    api.headers["X-Forwarded-For"] = "203.0.113.7"
    api.post("/writers", json=ada)
    assert api.post("/writers", json=ada).status_code == 409
    api.put("/writers/1", json=ada)
    api.patch("/writers/1", json={"name": "Ada Secretson" * 50})
    api.patch("/writers/1", json={"s3cret": 1})
    api.post("/writers", content='{"name": "Ada Secretson"', headers={"Content-Type": "text/json"})
    api.get("/writers/search?name=Secretson&created_after=s3cret")
    api.get("/writers/search?name=Secretson")
    api.get("/writers?s3cret=1")
    api.get("/s3cret?s3cret")
    api.post("/articles", json={"writer_id": 1, "title": "s3cret", "content": "s3cret"})
    api.post("/articles", json={"writer_id": 99, "title": "s3cret", "content": "s3cret"})
    worker.restart(DATABASE_URL="postgresql://ada:s3cret@127.0.0.1:1/s3cret")
    assert api.post("/writers", json=ada).status_code == 503
    printed = "".join(capsys.readouterr())

    assert printed.count('"request"') == 13
    for word in PERSONAL:
        assert word not in printed
