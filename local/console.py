"""The output on the terminal: steps, requests, logs, errors.

It has colors only on a terminal, and never with NO_COLOR. Writing to a closed terminal does not
fail the program.
"""

import contextlib
import json
import logging
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, TextIO

from local.runtime.function import Function
from local.runtime.logs import LogLine, readable, traceback_of

if TYPE_CHECKING:
    from local.gateway.server import Exchange

LEVELS = logging.getLevelNamesMapping()
# Keys that every line of a structured log repeats, or that are shown otherwise.
QUIET_KEYS = frozenset(
    {
        *("level", "message", "msg", "timestamp", "time", "service", "location", "cold_start"),
        *("function_name", "function_arn", "function_memory_size", "function_request_id"),
        *("sampling_rate", "xray_trace_id", "requestId", "tenantId", "errorType", "errorMessage"),
        *("stackTrace", "exception", "exception_name", "stack_trace"),
    }
)
# The runtime client writes this before the error itself.
RUNTIME_WARNING = "LAMBDA_WARNING: Unhandled exception."
COLORS = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "blue": 34}
COLORS |= {"magenta": 35, "cyan": 36}


class Console:
    """Writes whole lines, from any thread.

    `verbose` shows every line of the functions unchanged. `stream` is standard output by default.
    """

    def __init__(self, *, verbose: bool = False, stream: TextIO | None = None) -> None:
        self._verbose = verbose
        self._stream = stream or sys.stdout
        self._lock = threading.Lock()
        self._colored = (
            not self._stream.closed and self._stream.isatty() and not os.environ.get("NO_COLOR")
        )

    def step(self, text: str) -> None:
        """Show a step of starting or stopping."""
        self._write(f"{self._paint('==>', 'blue')} {text}")

    def ready(self, url: str, *, has_docs: bool, notice: str | None = None) -> None:
        """Show the URL of the API, and a notice."""
        self._write(f"\n    API   {self._paint(url, 'bold')}")
        if has_docs:
            self._write(f"    Docs  {self._paint(url + '/docs', 'bold')}")
        if notice:
            self._write(f"    {notice}")
        self._write("    Press Ctrl-C to stop.\n")

    def notice(self, text: str) -> None:
        """Show an event while the API runs."""
        self._write(f"{self._clock()} {self._paint(text, 'cyan')}")

    def error(self, text: str) -> None:
        """Show the error that ends the program."""
        self._write(f"{self._paint('error:', 'red')} {text}")

    def exchange(self, exchange: "Exchange") -> None:
        """Show a request in a line."""
        parts = [
            self._clock(),
            f"{exchange.method:<6}",
            _printable(exchange.target),
            self._paint(str(exchange.status), _status_color(exchange.status)),
            f"{exchange.milliseconds:.1f} ms",
        ]
        if exchange.function_name:
            parts.append(self._paint(exchange.function_name, "dim"))
        self._write(" ".join(parts + self._marks(exchange)))

    def log(self, function: Function, line: LogLine) -> None:
        """Show a line of a function's log; unless verbose, only warnings, errors and prints."""
        if self._verbose:
            self._write(readable(line.text))
        elif line.fields is not None:
            self._log_fields(function.name, line.fields)
        elif line.text.strip() and not line.is_platform:
            self._write(_indented(f"{function.name} | {line.text}"))

    def _log_fields(self, function_name: str, fields: dict[str, Any]) -> None:
        level = str(fields.get("level", "INFO")).upper()
        message = _text(fields.get("message", fields.get("msg", "")))
        if "_aws" in fields or LEVELS.get(level, 20) < LEVELS["WARNING"]:
            return
        if message.startswith(RUNTIME_WARNING):
            return
        if "errorType" in fields and not message:
            message = f"{fields['errorType']}: {fields.get('errorMessage', '')}"
        pairs = [f"{key}={_text(value)}" for key, value in fields.items() if key not in QUIET_KEYS]
        color = "red" if LEVELS[level] >= LEVELS["ERROR"] else "yellow"
        head = " ".join([self._paint(level, color), function_name, message, *pairs])
        self._write(_indented("\n".join([head, *traceback_of(fields)])))

    def _marks(self, exchange: "Exchange") -> list[str]:
        invocation = exchange.invocation
        if invocation is None:
            return []
        marks = [f"cache={invocation.cache}"] if invocation.cache else []
        if invocation.init_milliseconds is not None:
            cold = f"COLD START init {invocation.init_milliseconds:.0f} ms"
            marks.append(self._paint(cold, "magenta"))
        if invocation.function_error:
            marks.append(self._paint(_printable(invocation.function_error), "red"))
        return marks

    def _clock(self) -> str:
        return self._paint(time.strftime("%H:%M:%S"), "dim")

    def _paint(self, text: str, color: str) -> str:
        return f"\x1b[{COLORS[color]}m{text}\x1b[0m" if self._colored else text

    def _write(self, text: str) -> None:
        encoding = self._stream.encoding or "utf-8"
        line = text.encode(encoding, "backslashreplace").decode(encoding)
        with self._lock, contextlib.suppress(OSError, ValueError):
            self._stream.write(line + "\n")
            self._stream.flush()


def _status_color(status: int) -> str:
    return "red" if status >= 500 else "yellow" if status >= 400 else "green"


def _printable(text: str) -> str:
    """Escape characters that could control the terminal."""
    return "".join(c if c.isprintable() and c.isascii() else f"\\x{ord(c):02x}" for c in text)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _indented(text: str) -> str:
    return "\n".join(f"         {line}" for line in text.splitlines())
