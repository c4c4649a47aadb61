"""Logs and metrics: one JSON line per request, without personal data.

Facts about a request are collected in its `Record`, and written when it ends (`report`). The log
line is also an object of CloudWatch's embedded metric format (EMF): one line instead of two halves
the volume to pay for and the time to write. With a `LOG_LEVEL` above INFO only the metrics are
written. `Fault` is 0 or 1 for each request, so that its average is the fault rate: Lambda's own
metric `Errors` does not count requests that got a response. Powertools' tracer is not used: the
X-Ray SDK costs every cold start 290 ms, and is in maintenance.

Source of the format: "Embedded metric format specification" in Amazon CloudWatch's user guide.
"""

import json
import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from json import JSONEncoder
from time import perf_counter, time
from typing import Any

from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit
from pydantic_core import ValidationError

from shared.process import per_process
from shared.request import ApiRequest, CacheOutcome, LimitOutcome, Record
from shared.settings import settings

METRICS_NAMESPACE = "UsersAndPosts"
CACHE_METRICS: dict[CacheOutcome, str] = {
    "hit": "CacheHit",
    "miss": "CacheMiss",
    "bypass": "CacheBypass",
    "error": "CacheError",
}
LIMIT_METRICS: dict[LimitOutcome, str] = {
    "rejected": "LimitRejected",
    "unavailable": "LimitUnavailable",
}
DATABASE_TIME = "DatabaseTime"
COLD_START = "ColdStart"
FAULT = "Fault"


class _Process:
    """`has_served`: whether there was a request since the start, or the restore of a snapshot."""

    has_served = False


@per_process
def _process() -> _Process:
    return _Process()


def is_cold_start() -> bool:
    """Return whether this is the first call in the process, and so its first request."""
    is_first = not _process().has_served
    _process().has_served = True
    return is_first


@per_process
def logger() -> Logger:
    """Return the process's logger.

    `location` is left out: it would be this module on every line. Messages are not parsed as JSON,
    and one encoder serves all lines, which takes a third of the time.
    """
    # Each request is a task of its own, so the task's name is noise. (New in Python 3.12.)
    logging.logAsyncioTasks = False  # type: ignore[attr-defined]
    return Logger(
        service=settings().service,
        level=settings().log_level,
        stage=settings().stage,
        location=None,
        utc=True,
        use_rfc3339=True,
        json_serializer=JSONEncoder(default=str, separators=(",", ":")).encode,
        json_deserializer=str,
    )


def silence_libraries() -> None:
    """Set the level of other loggers to WARNING: Mangum's would log each path.

    Lambda's runtime sets the root logger to the level of the function's log configuration.
    """
    logging.getLogger().setLevel(logging.WARNING)


@contextmanager
def database_time(record: Record) -> Iterator[None]:
    """Add the block's duration to the request's time in the database."""
    started_at = perf_counter()
    try:
        yield
    finally:
        record.database_seconds += perf_counter() - started_at


def report(request: ApiRequest) -> None:
    """Write the request's log line with its metrics."""
    record = request.record
    database_milliseconds = round(record.database_seconds * 1000, 2)
    metrics = _metrics(record, database_milliseconds)
    if logger().log_level > logging.INFO:
        _print_metrics(metrics)
        return
    logger().info(
        "request",
        correlation_id=request.gateway_id,
        client_request_id=request.client_id,
        method=request.method,
        route=record.route,
        status=record.status,
        duration_ms=round((perf_counter() - record.started_at) * 1000, 2),
        database_ms=database_milliseconds,
        cache=record.cache,
        cold_start=record.cold_start,
        **metrics,
    )


def report_error(request: ApiRequest, error: Exception) -> None:
    """Log an unhandled error."""
    logger().error(
        "unhandled error",
        correlation_id=request.gateway_id,
        exception_name=type(error).__name__,
        exception=_traceback(error),
    )


def _traceback(error: BaseException) -> str:
    """Return the traceback as Python prints it, without data of requests and rows.

    Only the first line of a message is kept: the others hold the input (pydantic), the row
    (psycopg) or the statement (SQLAlchemy).
    """
    frames = "".join(traceback.format_tb(error.__traceback__))
    name = f"{type(error).__module__}.{type(error).__qualname__}"
    text = f"Traceback (most recent call last):\n{frames}{name}: {_message(error)}"
    earlier = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return f"{_traceback(earlier)}\n\nThen:\n\n{text}" if earlier else text


def _message(error: BaseException) -> str:
    first_line = str(error).partition("\n")[0]
    if not isinstance(error, ValidationError):
        return first_line
    fields = (f"{'.'.join(map(str, one['loc']))} ({one['type']})" for one in error.errors())
    return f"{first_line}: {', '.join(fields)}"


def _print_metrics(metrics: dict[str, Any]) -> None:
    dimensions = {"service": settings().service, "stage": settings().stage}
    print(json.dumps(dimensions | metrics))


def _metrics(record: Record, database_milliseconds: float) -> dict[str, Any]:
    """Return the members that make the log line an EMF object."""
    values: dict[str, float] = {FAULT: int(record.status >= HTTPStatus.INTERNAL_SERVER_ERROR)}
    if record.cold_start:
        values[COLD_START] = 1
    if record.cache is not None:
        values[CACHE_METRICS[record.cache]] = 1
    if record.limit is not None:
        values[LIMIT_METRICS[record.limit]] = 1
    if database_milliseconds:
        values[DATABASE_TIME] = database_milliseconds
    definitions = _metric_definitions(tuple(values))
    return {
        "_aws": {"Timestamp": int(time() * 1000), "CloudWatchMetrics": definitions},
        **values,
    }


@per_process
def _metric_definitions(names: tuple[str, ...]) -> Any:
    """Return EMF's metric definitions, made by Powertools.

    They are cached for each set of names, as making them takes as long as writing the line.
    """
    emf = EphemeralMetrics(service=settings().service, namespace=METRICS_NAMESPACE)
    emf.set_default_dimensions(stage=settings().stage)
    for name in names:
        unit = MetricUnit.Milliseconds if name == DATABASE_TIME else MetricUnit.Count
        emf.add_metric(name, unit, 0)
    return emf.serialize_metric_set()["_aws"]["CloudWatchMetrics"]
