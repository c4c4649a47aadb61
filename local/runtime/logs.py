"""Lines of a worker's output: platform, metrics, JSON log or plain text."""

import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

PLATFORM_WORDS = ("START RequestId: ", "END RequestId: ", "REPORT RequestId: ")


@dataclass(frozen=True)
class LogLine:
    """A line of output; `fields` is its JSON object, None if it is something else."""

    text: str
    fields: dict[str, Any] | None

    @property
    def is_platform(self) -> bool:
        """Whether it is START, END or REPORT, which the emulator writes."""
        return self.text.startswith(PLATFORM_WORDS)

    @property
    def is_metrics(self) -> bool:
        """Whether it is only metrics, in CloudWatch's embedded metric format."""
        return self.fields is not None and "_aws" in self.fields and "message" not in self.fields


def parse_log_line(raw: bytes) -> LogLine:
    """Parse a line in UTF-8; invalid bytes become U+FFFD."""
    # The runtime client joins the lines of a text traceback by CR and indents by U+00A0.
    text = raw.decode(errors="replace").rstrip("\r\n").replace("\r", "\n").replace("\u00a0", " ")
    return LogLine(text, _json_object(text))


def traceback_of(fields: dict[str, Any]) -> list[str]:
    """Return the lines of a traceback, from the runtime client's list or from a logger's text."""
    lines = fields.get("stackTrace") or fields.get("exception") or []
    text = "".join(map(str, lines)) if isinstance(lines, list) else str(lines)
    return text.rstrip().splitlines()


def readable(line: str) -> str:
    """Return a line of JSON with its traceback in lines below it, any other line unchanged."""
    fields = _json_object(line) or {}
    if not (traceback := traceback_of(fields)):
        return line
    rest = {key: value for key, value in fields.items() if key not in ("stackTrace", "exception")}
    return "\n".join([json.dumps(rest, ensure_ascii=False), *traceback])


def _json_object(text: str) -> dict[str, Any] | None:
    with suppress(ValueError):
        value = json.loads(text) if text.startswith("{") else None
        return value if isinstance(value, dict) else None
    return None
