"""Points in time: a date is its midnight, and UTC unless said otherwise."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import TypeAdapter, ValidationError

from blog.timestamps import Moment

MOMENT: TypeAdapter[datetime] = TypeAdapter(Moment)


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
        (
            "2026-01-31T12:30:00.5+02:00",
            datetime(2026, 1, 31, 12, 30, 0, 500_000, timezone(timedelta(hours=2))),
        ),
    ],
)
def test_a_moment_is_read(text: str, moment: datetime) -> None:
    read = MOMENT.validate_python(text)
    assert read == moment
    assert read.utcoffset() == moment.utcoffset()


@pytest.mark.parametrize("text", ["", "soon", "2026-13-01", "2026-02-30", "25:00", "1e9", "\x00"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="neither a date"):
        MOMENT.validate_python(text)
