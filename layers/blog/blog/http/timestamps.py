"""A date or date-time in a query, as defined by RFC 3339, converted to UTC.

A date means midnight. Beyond the RFC, a date-time without an offset is accepted, as UTC. Other
forms of ISO 8601 (weeks, ordinal dates, offsets in seconds) are rejected. A leap second becomes the
first second of the next day, as in PostgreSQL. Digits below a microsecond are truncated.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"([Tt ]([01][0-9]|2[0-3]):[0-5][0-9]:(?P<second>[0-5][0-9]|60)(\.[0-9]+)?"
    r"([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])?)?"
)
FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


def _validate(value: object) -> datetime:
    try:
        return _parse(str(value))
    except ValueError:
        raise PydanticCustomError(
            "date_or_datetime",
            "is neither a date (2026-01-31) nor a date-time (2026-01-31T12:00:00Z); "
            "a + must be sent as %2B",
        ) from None


def _parse(text: str) -> datetime:
    """Raises `ValueError` for any other form, and for dates outside of the years 1 to 9999."""
    match = RFC_3339.fullmatch(text)
    if match is None:
        raise ValueError
    is_leap_second = match["second"] == "60"
    if is_leap_second:
        text = f"{text[: match.start('second')]}59{text[match.end('second') :]}"
    parsed = datetime.fromisoformat(text.upper())
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=UTC)
    try:
        in_utc = parsed.astimezone(UTC)
        return _next_second(in_utc) if is_leap_second else in_utc
    except OverflowError:  # less than a day outside of the calendar, where no row is
        return FIRST if parsed.year == FIRST.year else LAST


def _next_second(in_utc: datetime) -> datetime:
    """Raises `ValueError` unless the minute is the last of the day: others have no leap second."""
    if (in_utc.hour, in_utc.minute) != (23, 59):
        raise ValueError
    return in_utc + timedelta(seconds=1)


DateOrDatetime = Annotated[
    datetime,
    BeforeValidator(_validate),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "format": "date"}]}
    ),
]
