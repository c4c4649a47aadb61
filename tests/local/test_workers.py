"""Both kinds of workers, event by event: neither a function nor its caller can tell them apart.

Not compared is an exit at the initialization: the emulator's response to it is empty. Lambda's is
that of a later exit, and so is that of `pure_python`.
"""

import contextlib
import json
import platform
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest

from local.runtime.emulated import EmulatedWorker
from local.runtime.function import Function
from local.runtime.pool import usual_worker_type
from local.runtime.pure_python import PythonWorker
from local.runtime.reaper import Reaper
from local.runtime.worker import Invocation, Worker
from tests.local.toys import toy_function
from tests.tools import require_emulator

FUNCTIONS = r"""
# an echo
def handler(event, context):
    return event

# its context
def handler(event, context):
    names = [name for name in dir(context) if not name.startswith("_")]
    texts = {name: value for name in names if isinstance(value := getattr(context, name), str)}
    context.log("logged\n")
    is_in_time = 0 < context.get_remaining_time_in_millis() <= 1000
    return [texts, is_in_time, context.identity.cognito_identity_id, context.client_context]

# its environment
import os, sys
def handler(event, context):
    return {**os.environ, "path": sys.path, "directory": os.getcwd()}

# its logs
import logging, sys
def handler(event, context):
    print("printed", file=sys.stderr)
    logging.warning("%s words\nin two lines", "loud", extra={"user": 7, "odd": {1}})
    logging.info("quiet words")
    logging.getLogger("named").error({"an": "object"})
    try:
        1 / 0
    except ZeroDivisionError:
        logging.exception("caught")
    sys.stdout.write("half a line")

# numbers and texts
from decimal import Decimal
def handler(event, context):
    return [Decimal("1.50"), Decimal("NaN"), float("inf"), {1: None}, (True,), "ü\ud83d\ude00"]

# bytes
def handler(event, context):
    return b"raw"

# the largest response
def handler(event, context):
    return "x" * (6 * 1024 * 1024 + 98)

# a larger response
def handler(event, context):
    return "x" * (6 * 1024 * 1024 + 99)

# no JSON
def handler(event, context):
    return {1}

# no UTF-8
def handler(event, context):
    return "\ud800"

# an error
def fail():
    raise ValueError("ü\n")
def handler(event, context):
    fail()

# an error without a text
def handler(event, context):
    raise KeyError

# an exit
import os
def handler(event, context):
    print("last words")
    os._exit(3)

# an exit without a reason
import os
def handler(event, context):
    os._exit(0)

# SystemExit
def handler(event, context):
    raise SystemExit(4)

# a crash
import os, signal
def handler(event, context):
    os.kill(os.getpid(), signal.SIGSEGV)

# no end
import time
def handler(event, context):
    print("asleep")
    time.sleep(9)

# an initialization without an end
import time
time.sleep(9)

# an initialization with an error
raise ValueError("early")

# a missing module
import no_such_module

# a syntax error
def handler(:

# no handler
handlers = []
"""
NAMED = dict(re.findall(r"^# (.+)\n((?:.*\n)*?)(?=\n# |\Z)", FUNCTIONS, re.MULTILINE))
VARIABLE = (
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "an id"),
    (r"[0-9.]+ ms", "a time"),
    (r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "a time"),
)
# Where a runtime fetches events, and what this machine's shell does not have.
OF_THE_EMULATOR = re.compile(r"AWS_LAMBDA_(RUNTIME_API|METADATA_.*)|AWS_SESSION_TOKEN")


@dataclass(frozen=True)
class Outcome:
    """The outcome of an event, without what differs between runs."""

    error: str | None
    payload: Any
    lines: list[str]
    was_cold: bool
    is_broken: bool


@pytest.fixture(scope="module")
def reaper() -> Iterator[Reaper]:
    with Reaper() as reaper:
        yield reaper


def outcomes(kind: type[Worker], function: Function, reaper: Reaper) -> list[Outcome]:
    """Two events, or one if it is the worker's last."""
    lines: list[str] = []
    worker = kind(function, reaper, lambda _, line: lines.append(line.text))
    worker.start()
    found: list[Outcome] = []
    while len(found) < 2 and not worker.broken:
        lines.clear()
        invocation = worker.invoke('{"text": "ü"}'.encode())
        is_broken = worker.broken
        if is_broken:
            worker.stop()
        else:
            invocation.wait_for_logs(5)
        found.append(outcome(invocation, lines, is_broken))
    worker.stop()
    return found


def outcome(invocation: Invocation, lines: list[str], is_broken: bool) -> Outcome:
    payload = alike(invocation.payload.decode())
    with contextlib.suppress(ValueError):
        payload = json.loads(payload)
    if isinstance(payload, dict):
        payload = {key: payload[key] for key in payload if not OF_THE_EMULATOR.fullmatch(key)}
    was_cold = invocation.init_milliseconds is not None
    return Outcome(invocation.function_error, payload, shown(lines), was_cold, is_broken)


def shown(lines: list[str]) -> list[Any]:
    """Without the emulated runtime's warning of an error, and each runtime's own last words."""
    kept = [alike(line) for line in lines if "LAMBDA_WARNING" not in line and line]
    of_function = takewhile(lambda line: not re.match(r"Traceback|\[ERROR\] \[", line), kept)
    return [json.loads(line) if line.startswith("{") else line for line in of_function]


def alike(text: str) -> str:
    for pattern, replacement in VARIABLE:
        text = re.sub(pattern, replacement, text)
    return text


@pytest.mark.linux
@pytest.mark.parametrize(
    ("name", "log_format"),
    [*((name, "JSON") for name in NAMED), ("its logs", "Text"), ("an error", "Text")],
)
def test_an_event_has_the_same_outcome_in_both_runtimes(
    tmp_path: Path, reaper: Reaper, name: str, log_format: str
) -> None:
    require_emulator()
    function = written(tmp_path, NAMED[name], log_format)
    emulated = outcomes(EmulatedWorker, function, reaper)
    assert outcomes(PythonWorker, function, reaper) == emulated


def written(directory: Path, code: str, log_format: str) -> Function:
    (directory / "own.py").write_text(code, encoding="utf-8")
    function = toy_function(directory, timeout_seconds=1)
    environment = {
        "AWS_LAMBDA_LOG_FORMAT": log_format,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
        "AWS_SESSION_TOKEN": "fake",
    }
    return replace(
        function,
        handler="own.handler",
        environment=function.environment | environment,
        import_roots=(directory,),
    )


@pytest.mark.parametrize(
    ("system", "machine", "shell"),
    [
        ("darwin", "arm64", {}),
        ("linux", "riscv64", {}),
        ("linux", "x86_64", {"LOCAL_RUNTIME": "python"}),
    ],
)
def test_a_machine_without_the_emulator_does_without(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str, shell: dict[str, str]
) -> None:
    monkeypatch.delenv("LOCAL_RUNTIME", raising=False)
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    for name, value in shell.items():
        monkeypatch.setenv(name, value)
    assert usual_worker_type() is PythonWorker
