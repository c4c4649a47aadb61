"""What is generated and committed is current: the OpenAPI document and the sample events."""

import json
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from local.generate import openapi, sample_events
from tests.in_process import LambdaContext, handler_of
from tests.resources import insert_rows_for, is_done

EVENTS = sorted(Path(sample_events.EVENTS).glob("*.json"))


def test_the_openapi_document_is_current() -> None:
    committed = openapi.OPENAPI_FILE.read_text(encoding="utf-8")
    assert committed == openapi.as_text(openapi.merged_openapi()), "run `make openapi`"


def test_operation_ids_are_unique() -> None:
    paths = openapi.merged_openapi()["paths"]
    ids = [operation["operationId"] for methods in paths.values() for operation in methods.values()]
    assert len(ids) == len(set(ids))


def test_there_is_a_sample_event_for_every_operation_and_no_other() -> None:
    committed = {path.stem: path.read_text(encoding="utf-8") for path in EVENTS}
    assert committed == {
        name: sample_events.as_text(event) for name, event in sample_events.sample_events().items()
    }, "run `make openapi`"


@pytest.mark.parametrize(
    "path",
    [path for path in EVENTS if not path.stem.startswith("migrations")],
    ids=lambda p: p.stem,
)
def test_a_sample_event_succeeds(
    api: httpx.Client, database: psycopg.Connection[Any], path: Path
) -> None:
    operation = path.stem.partition("-")[2]
    insert_rows_for(database, operation)
    event: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    response: dict[str, Any] = handler_of(event["rawPath"])(event, LambdaContext())
    assert is_done(operation, response["statusCode"]), response
