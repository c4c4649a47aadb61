"""The rows of demo data: fake users and posts, one at a time.

Memory does not grow with the number of rows, and the same seed of `Random` gives the same rows.

Frequencies follow Zipf's law: the n-th name of a list is about 1/n as frequent as the first. The
user in the middle has a unique name, `RAREST_NAME`.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from math import expm1, log1p
from random import Random
from typing import NamedTuple, TypeVar

from local.demo.vocabulary import Language, Name, languages

RAREST_NAME = "Xanthe Quillfeather"
EMAIL_DOMAINS = ("example.com", "example.org", "example.net")
"""Reserved for examples (RFC 2606), so that mail is not delivered."""

SPAN_SECONDS = 3 * 365.25 * 24 * 3600
"""Users joined within this time up to now."""
USER_GROWTH = 2.3
"""Exponent: on the last day ten times as many users join as on the first."""
POST_GROWTH = 2 * USER_GROWTH
"""Exponent: the number of authors grows too."""
MAX_PARAGRAPHS = 12

User = tuple[str, str, datetime]
"""name, email, created_at"""
Post = tuple[int, str, str, datetime]
"""user_id, title, content, created_at"""
T = TypeVar("T")


class Authors(NamedTuple):
    """Users who write, in the order in which they joined (seconds since 1970)."""

    ids: "array[int]"
    joined: "array[float]"


def user_rows(random: Random, count: int, first_serial: int, now: datetime) -> Iterator[User]:
    """Yield users in ascending order of created_at.

    E-mail addresses are unique, also over calls with other serials.
    """
    end = now.timestamp()
    moments = _moments(random, count, end - SPAN_SECONDS, end, USER_GROWTH)
    for index, moment in enumerate(moments):
        name = _name(random)
        if index == count // 2:
            name = Name(RAREST_NAME, RAREST_NAME.lower().replace(" ", "."))
        # The letters contain no digit, so the serial makes the address unique.
        mailbox = f"{name.letters or 'user'}{first_serial + index}"
        yield name.text, f"{mailbox}@{_common(random, EMAIL_DOMAINS)}", moment


def post_rows(random: Random, count: int, authors: Authors, now: datetime) -> Iterator[Post]:
    """Yield posts in ascending order of created_at, none of them older than its author.

    The first author must have joined before `now`.
    """
    joined = 0
    start = authors.joined[0]
    for moment in _moments(random, count, start, now.timestamp(), POST_GROWTH):
        joined = bisect_right(authors.joined, moment.timestamp(), lo=joined)
        # Authors write more the earlier they joined.
        author = authors.ids[int(joined * random.random() ** 2)]
        language = _common(random, languages())
        yield author, _any(random, language.titles), _content(random, language), moment


def _moments(
    random: Random, count: int, start: float, end: float, growth: float
) -> Iterator[datetime]:
    """Yield ascending times, ever denser towards the end."""
    span = (end - start) / growth
    density = expm1(growth)
    for index in range(count):
        seconds = start + span * log1p((index + random.random()) / count * density)
        yield datetime.fromtimestamp(seconds, UTC)


def _name(random: Random) -> Name:
    language = _common(random, languages())
    names = _any(random, language.names)
    return language.full_name(_common(random, names.given), _common(random, names.family))


def _content(random: Random, language: Language) -> str:
    """Return n paragraphs or more for 1/n of the posts."""
    length = min(int(1 / (1 - random.random())), MAX_PARAGRAPHS)
    first = int(random.random() * (len(language.paragraphs) - length))
    return "\n\n".join(language.paragraphs[first : first + length])


def _common(random: Random, values: Sequence[T]) -> T:
    """Return the n-th value about 1/n as often as the first (Zipf's law)."""
    return values[int((len(values) + 1) ** random.random()) - 1]


def _any(random: Random, values: Sequence[T]) -> T:
    # Three times as fast as `choice`.
    return values[int(random.random() * len(values))]
