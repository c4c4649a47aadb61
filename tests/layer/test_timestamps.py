"""Points in time: only RFC 3339, always in UTC."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import TypeAdapter, ValidationError

from shared.http.fields import DateOrDatetime
from tests.properties import given, st

MOMENT: TypeAdapter[datetime] = TypeAdapter(DateOrDatetime)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This machine's time zone is not UTC."""
    with monkeypatch.context() as environment:
        environment.setenv("TZ", "Asia/Kolkata")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T12:30:00", datetime(2026, 1, 31, 12, 30, tzinfo=UTC)),
        ("2026-01-31T12:30:00Z", datetime(2026, 1, 31, 12, 30, tzinfo=UTC)),
        ("2026-01-31t12:30:00z", datetime(2026, 1, 31, 12, 30, tzinfo=UTC)),
        ("2026-01-31 12:30:00-00:00", datetime(2026, 1, 31, 12, 30, tzinfo=UTC)),
        ("2026-01-31T12:30:00.5+02:00", datetime(2026, 1, 31, 10, 30, 0, 500_000, UTC)),
        ("2026-01-31T00:00:00.1234569Z", datetime(2026, 1, 31, 0, 0, 0, 123_456, UTC)),
        ("2026-01-31T23:59:00+23:59", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
        ("2016-12-31T15:59:60.25-08:00", datetime(2017, 1, 1, 0, 0, 0, 250_000, UTC)),
        ("0001-01-01T00:00:00+00:01", datetime.min.replace(tzinfo=UTC)),
        ("9999-12-31T23:59:59-00:01", datetime.max.replace(tzinfo=UTC)),
        ("9999-12-31T23:59:60Z", datetime.max.replace(tzinfo=UTC)),
    ],
)
def test_a_moment_is_read_in_utc(text: str, moment: datetime) -> None:
    read = MOMENT.validate_python(text)
    assert read == moment
    assert read.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "soon",
            "2026-13-01",
            "2026-02-30",
            "25:00",
            "1e9",
            "\x00",
            "0000-01-01",
            "2026-01-31\n",
        ),
        # ISO 8601, but not RFC 3339
        *("2025-W01", "2025-W01-1", "20260131", "2026-031", "2026-01", "2026", "+2026-01-31"),
        *("2026-01-31T12", "2026-01-31T12:30", "2026-01-31T12:30Z", "20260131T123000Z"),
        *("2026-01-31T12:30:00,5Z", "2026-01-31T24:00:00Z", "2026-01-31_12:30:00Z"),
        *("2026-01-31T12:30:00+02", "2026-01-31T12:30:00+0200", "2026-01-31T12:30:00+24:00"),
        *("2026-01-31T12:30:00+01:02:03", "2026-01-31T12:30:00+23:59:59.5", "2026-01-31Z"),
        # no leap second
        *("2016-12-31T23:59:61Z", "2016-12-31T23:58:60Z", "2016-12-31T23:59:60+01:00"),
        *("2026-01-31T12:30:\u0660\u0660Z", "\uff12026-01-31"),  # digits, but not ASCII
    ],
)
def test_an_invalid_moment_is_rejected(text: str) -> None:
    with pytest.raises(ValidationError, match="neither a date"):
        MOMENT.validate_python(text)


OFFSETS = st.integers(-24 * 60 + 1, 24 * 60 - 1).map(lambda n: timezone(timedelta(minutes=n)))


@given(
    st.datetimes(
        min_value=datetime(1, 1, 2),  # noqa: DTZ001
        max_value=datetime(9999, 12, 30),  # noqa: DTZ001
        timezones=st.just(UTC) | OFFSETS,
    )
)
def test_a_moment_that_is_written_is_read_unchanged(moment: datetime) -> None:
    read = MOMENT.validate_python(moment.isoformat())
    assert read == moment
    assert MOMENT.validate_python(MOMENT.dump_python(read, mode="json")) == moment  # as in `next`
