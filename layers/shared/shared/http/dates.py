"""Dates, times of a day and date-times, as defined by RFC 3339.

A date-time is converted to UTC; without an offset, which the RFC does not allow, it is UTC. Other
forms of ISO 8601 (weeks, ordinal dates, offsets in seconds) are rejected. A leap second becomes the
first second of the next day, as in PostgreSQL. Digits below a microsecond are truncated.

A time of a day has no offset, which PostgreSQL would drop; its seconds may be left out.
"""

import re
from datetime import UTC, date, datetime, time, timedelta

from pydantic_core import PydanticCustomError

DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
TIME_PATTERN = r"^([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,6})?)?$"
TIME = re.compile(TIME_PATTERN.strip("^$"))
RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"([Tt ]([01][0-9]|2[0-3]):[0-5][0-9]:(?P<second>[0-5][0-9]|60)(\.[0-9]+)?"
    r"([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])?)?"
)
FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


def parse_date_or_datetime(value: object) -> datetime:
    """Return a date-time, or the midnight of a date."""
    text = _text(value)
    try:
        return _parse_rfc_3339(text)
    except OverflowError:  # less than a day outside of the calendar, where there are no rows
        return FIRST if text.startswith("0001") else LAST
    except ValueError:
        raise PydanticCustomError(
            "date_or_datetime",
            "is neither a date (2026-01-31) nor a date-time (2026-01-31T12:00:00Z); "
            "a + must be sent as %2B",
        ) from None


def parse_date(value: object) -> date:
    try:
        if DATE.fullmatch(text := _text(value)):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise PydanticCustomError("date", "is not a date, such as 2026-01-31")


def parse_time(value: object) -> time:
    if TIME.fullmatch(text := _text(value)):
        return time.fromisoformat(text)
    raise PydanticCustomError("time", "is not a time of a day without an offset, such as 09:30")


def parse_timestamp(value: object) -> datetime:
    text = _text(value)
    try:
        if not DATE.fullmatch(text):
            return _parse_rfc_3339(text)
    except (OverflowError, ValueError):
        pass
    raise PydanticCustomError("timestamp", "is not a date-time, such as 2026-01-31T12:00:00Z")


def _text(value: object) -> str:
    """Return a text, date or time as text; "" for any other value, which may be nested deeply."""
    return str(value) if isinstance(value, str | date | time) else ""


def _parse_rfc_3339(text: str) -> datetime:
    """Raises `ValueError` for any other form, and for years other than 1 to 9999.

    Raises `OverflowError` for a date-time whose year is another only in UTC.
    """
    match = RFC_3339.fullmatch(text)
    if match is None:
        raise ValueError
    is_leap_second = match["second"] == "60"
    if is_leap_second:
        text = f"{text[: match.start('second')]}59{text[match.end('second') :]}"
    parsed = datetime.fromisoformat(text.upper())
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=UTC)
    in_utc = parsed.astimezone(UTC)
    return _next_second(in_utc) if is_leap_second else in_utc


def _next_second(in_utc: datetime) -> datetime:
    """Raises `ValueError` unless the minute is the last of the day: only that has a leap second."""
    if (in_utc.hour, in_utc.minute) != (23, 59):
        raise ValueError
    return in_utc + timedelta(seconds=1)
