"""The type of points in time in a query: a date, or a date-time."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError


def _moment(value: object) -> datetime:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        raise PydanticCustomError(
            "moment",
            "is neither a date (2026-01-31) nor a date-time (2026-01-31T12:00:00Z); "
            "a + must be sent as %2B",
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


Moment = Annotated[
    datetime,
    BeforeValidator(_moment),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "format": "date"}]}
    ),
]
"""ISO 8601; a date is its midnight, and what names no time zone is in UTC."""
