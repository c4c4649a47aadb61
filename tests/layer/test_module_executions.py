"""Each module is executed once in a cold start, whichever request comes first and whatever is
imported before: of a module that is executed twice there would be two of each class and table.

A process that has imported the third-party packages forks one for each case.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from typing import Any

import psycopg
import pytest
import redis

from local.generate.sample_events import sample_events
from tests.resources import FUNCTIONS, ROOT, ROUTED, insert_rows

LAYER = ROOT / "layers" / "shared"

# Python announces each execution of a module's code to its audit hooks.
CASES = """
import collections, importlib, json, os, sys
import aws_lambda_powertools.metrics, fastapi.openapi.models, mangum, psycopg
import redis.asyncio.connection, sqlalchemy.ext.asyncio.engine
import sqlalchemy.dialects.postgresql.psycopg

class Context:
    aws_request_id = "cold start"
    def get_remaining_time_in_millis(self):
        return 10_000

executed = collections.Counter()

def count(event, arguments):
    if event == "exec" and getattr(arguments[0], "co_name", "") == "<module>":
        executed[arguments[0].co_filename] += 1

def run(function, imported_first, event):
    sys.addaudithook(count)
    handler = importlib.import_module(f"{function}.handler").handler
    for name in imported_first:
        getattr(importlib.import_module(name), "any_name", None)
    status = handler(event, Context())["statusCode"]
    print(json.dumps({"status": status, "executed": executed}), file=responses, flush=True)

responses, sys.stdout = sys.stdout, sys.stderr
for case in json.load(sys.stdin):
    if not (child := os.fork()):
        run(*case)
        os._exit(0)
    os.waitpid(child, 0)
"""

Case = tuple[str, list[str], dict[str, Any]]


def executions(cases: list[Case]) -> list[tuple[int, dict[str, int]]]:
    """Return each case's status, and how often the modules of this project were executed."""
    done = subprocess.run(
        [sys.executable, "-c", CASES],
        input=json.dumps(cases),
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (FUNCTIONS, LAYER)))},
        capture_output=True,
        text=True,
        check=True,
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == len(cases), done.stderr
    own = (f"{FUNCTIONS}{os.sep}", f"{LAYER}{os.sep}")
    return [
        (case["status"], {f: n for f, n in case["executed"].items() if f.startswith(own)})
        for case in found
    ]


def operations(function: str) -> dict[str, dict[str, Any]]:
    """The sample event of each operation, as the OpenAPI document has them."""
    return {
        name: event
        for name, event in sample_events().items()
        if name.startswith(f"{function}-") and "rawPath" in event
    }


def deferrable(function: str) -> list[str]:
    """Every module of the function, and every one of the layer that only a query needs."""
    folders = ((LAYER, LAYER / "shared" / "database"), (FUNCTIONS, FUNCTIONS / function))
    names = (
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        for root, folder in folders
        for path in sorted(folder.glob("*.py"))
    )
    return [name for name in names if name != f"{function}.handler"]


@pytest.fixture
def rows(database: psycopg.Connection[Any], cache: redis.Redis, worker: object) -> None:
    """Row 1 of each resource, which the sample events are about."""
    insert_rows(database, 1, 10)


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("function", ROUTED)
def test_each_first_request_executes_each_module_once(function: str) -> None:
    events = operations(function)
    assert events
    for name, (status, executed) in zip(
        events, executions([(function, [], event) for event in events.values()]), strict=True
    ):
        assert status < 500, name
        assert len(executed) > 10, name
        assert twice(executed) == {}, name


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("function", ROUTED)
def test_each_module_is_executed_once_whatever_is_imported_first(function: str) -> None:
    event = next(iter(operations(function).values()))
    orders = [[name] for name in deferrable(function)]
    cases: list[Case] = [(function, order, event) for order in orders]
    for order, (_, executed) in zip(orders, executions(cases), strict=True):
        file = order[0].replace(".", os.sep)
        assert any(f"{os.sep}{file}" in path for path in executed), order
        assert twice(executed) == {}, order


def twice(executed: dict[str, int]) -> dict[str, int]:
    return {file: times for file, times in Counter(executed).items() if times > 1}
