"""Requests and functions' logs on the console."""

import io
import json

import pytest

from local.console import Console
from local.gateway.server import Exchange
from local.runtime.function import Function
from local.runtime.logs import parse_log_line
from local.runtime.worker import Invocation

TOY = Function("ToyFunction", "toy.handler.handler", "python3.13", 3, {}, (), ())


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def shown(*lines: object, verbose: bool = False) -> str:
    stream = io.StringIO()
    console = Console(verbose=verbose, stream=stream)
    for line in lines:
        text = line if isinstance(line, str) else json.dumps(line)
        console.log(TOY, parse_log_line(text.encode()))
    return stream.getvalue()


def exchange(**changes: object) -> Exchange:
    values: dict[str, object] = {
        "method": "GET",
        "target": "/things?page=1",
        "status": 200,
        "milliseconds": 12.34,
        "function_name": "MetaFunction",
        "invocation": Invocation(cache="hit", init_milliseconds=1289.4),
    }
    return Exchange(**(values | changes))  # type: ignore[arg-type]


def test_a_request_is_one_line() -> None:
    stream = io.StringIO()
    Console(stream=stream).exchange(exchange())
    line = stream.getvalue().split(" ", 1)[1]
    assert line == (
        "GET    /things?page=1 200 12.3 ms MetaFunction cache=hit COLD START init 1289 ms\n"
    )


def test_a_request_cannot_control_the_terminal() -> None:
    stream = io.StringIO()
    Console(stream=stream).exchange(exchange(target="/\x1b[2J\xff"))
    assert "/\\x1b[2J\\xff" in stream.getvalue()


@pytest.mark.parametrize(("no_color", "colored"), [("", True), ("1", False)])
def test_colors_are_for_terminals_that_want_them(
    monkeypatch: pytest.MonkeyPatch, no_color: str, colored: bool
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    stream = Terminal()
    Console(stream=stream).exchange(exchange())
    assert ("\x1b[" in stream.getvalue()) is colored


def test_quiet_lines_are_hidden() -> None:
    assert (
        shown(
            {"level": "INFO", "message": "GET /things", "cache": "hit"},
            {"level": "WARNING", "message": "LAMBDA_WARNING: Unhandled exception. The most likely"},
            {"_aws": {"CloudWatchMetrics": []}, "level": "ERROR"},
            "START RequestId: 1 Version: $LATEST",
            "REPORT RequestId: 1\tDuration: 1 ms",
            "",
        )
        == ""
    )


def test_a_warning_is_one_readable_line() -> None:
    line = {"level": "WARNING", "message": "slow query", "service": "things", "seconds": 1.5}
    assert shown(line).strip() == "WARNING ToyFunction slow query seconds=1.5"


def test_an_exception_shows_its_traceback() -> None:
    line = {
        "level": "ERROR",
        "errorType": "ValueError",
        "errorMessage": "boom",
        "requestId": "1",
        "stackTrace": ['  File "handler.py", line 1, in handler\n    raise ValueError("boom")\n'],
    }
    assert [text.strip() for text in shown(line).splitlines()] == [
        "ERROR ToyFunction ValueError: boom",
        'File "handler.py", line 1, in handler',
        'raise ValueError("boom")',
    ]


def test_a_text_traceback_of_the_runtime_client_is_split_into_lines() -> None:
    text = "[ERROR] ValueError: boom\rTraceback (most recent call last):\r\u00a0\u00a0File"
    assert shown(text).splitlines()[1:] == [
        "         Traceback (most recent call last):",
        "           File",
    ]


def test_output_of_a_function_is_shown() -> None:
    assert shown("here 1").strip() == "ToyFunction | here 1"


def test_verbose_shows_every_line_unchanged() -> None:
    line = '{"level": "INFO", "message": "x", "_aws": {}}'
    assert shown(line, "END RequestId: 1", verbose=True) == f"{line}\nEND RequestId: 1\n"


def test_a_closed_terminal_loses_the_text_and_nothing_else() -> None:
    stream = io.StringIO()
    stream.close()
    Console(stream=stream).step("into nothing")
