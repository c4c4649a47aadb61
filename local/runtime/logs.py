"""Lines of a worker's output: platform, metrics, JSON log or plain text."""

import json
from dataclasses import dataclass
from typing import Any

PLATFORM_WORDS = ("START RequestId: ", "END RequestId: ", "REPORT RequestId: ")


@dataclass(frozen=True)
class LogLine:
    """A line; `fields` is its JSON object, None for anything else."""

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
    """Parse a line in UTF-8; bytes that are not become U+FFFD."""
    # The runtime client joins the lines of a text traceback by CR and indents by U+00A0.
    text = raw.decode(errors="replace").rstrip("\r\n").replace("\r", "\n").replace("\u00a0", " ")
    return LogLine(text, _json_object(text))


def _json_object(text: str) -> dict[str, Any] | None:
    if not text.startswith("{"):
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
