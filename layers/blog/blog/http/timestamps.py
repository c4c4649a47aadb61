"""The type of points in time in a query: a date or a date-time as defined by RFC 3339, in UTC.

A date is its midnight. Beyond the RFC, a date-time without an offset is accepted, as UTC. Other
forms of ISO 8601 (weeks, ordinal dates, offsets in seconds) are rejected. A leap second is read as
the first second of the next day, as PostgreSQL does. Digits below a microsecond are cut off.
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


def _moment(value: object) -> datetime:
    try:
        return _read(str(value))
    except ValueError:
        raise PydanticCustomError(
            "moment",
            "is neither a date (2026-01-31) nor a date-time (2026-01-31T12:00:00Z); "
            "a + must be sent as %2B",
        ) from None


def _read(text: str) -> datetime:
    """Raises `ValueError` for what is neither, or is not on the calendar of the years 1 to 9999."""
    form = RFC_3339.fullmatch(text)
    if form is None:
        raise ValueError
    is_leap_second = form["second"] == "60"
    if is_leap_second:
        text = f"{text[: form.start('second')]}59{text[form.end('second') :]}"
    moment = datetime.fromisoformat(text.upper())
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    try:
        moment_in_utc = moment.astimezone(UTC)
        return _next_second(moment_in_utc) if is_leap_second else moment_in_utc
    except OverflowError:  # less than a day beyond the calendar: no row is
        return FIRST if moment.year == FIRST.year else LAST


def _next_second(moment: datetime) -> datetime:
    """Raises `ValueError` where the minute is not the day's last: it has no leap second."""
    if (moment.hour, moment.minute) != (23, 59):
        raise ValueError
    return moment + timedelta(seconds=1)


DateOrDatetime = Annotated[
    datetime,
    BeforeValidator(_moment),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "format": "date"}]}
    ),
]
