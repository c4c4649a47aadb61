"""Rows of demo data: made-up people and posts, as lines for COPY in its text format.

The iterators yield lists of at most `CHUNK_ROWS` lines and keep nothing of what they yielded:
memory does not grow with the number of rows. The same seed of `Random` gives the same rows.
Names, words and their shares are in `demo_data.toml`.

Common names are common as in life: within a culture the n-th name is about 1/n as frequent as the
first. The middle one of all users has a name that nobody else has, `RAREST_NAME`.
"""

import re
import tomllib
import unicodedata
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import accumulate, islice
from math import expm1, log1p
from pathlib import Path
from random import Random
from typing import Any, Generic, NamedTuple, TypeVar

DATA_FILE = Path(__file__).with_name("demo_data.toml")
CHUNK_ROWS = 1000

SPAN_SECONDS = 3 * 365.25 * 24 * 3600
"""Users joined within this time up to now."""
USER_GROWTH = 2.3
"""Exponent: in the end ten times as many users join on a day as in the beginning."""
POST_GROWTH = 2 * USER_GROWTH
"""There are more and more users who write."""

RAREST_NAME = "Xanthe Quillfeather"
# Reserved for examples (RFC 2606): mail to them reaches nobody.
EMAIL_DOMAINS = {
    "example.com": 50,
    "example.org": 20,
    "example.net": 15,
    "mail.example.com": 10,
    "post.example.org": 5,
}
# What Unicode does not take apart into a Latin letter and a mark.
LATIN_LETTERS = str.maketrans(
    {
        "ß": "ss",
        "ø": "o",
        "ł": "l",
        "đ": "d",
        "ð": "d",
        "\u0131": "i",
        "æ": "ae",
        "œ": "oe",
        "þ": "th",
    }
)

TITLES_PER_TOPIC = 256
PARAGRAPHS_PER_TOPIC = 512
SENTENCES_PER_PARAGRAPH = {1: 30, 2: 40, 3: 20, 4: 10}
PARAGRAPHS_PER_POST = {1: 55, 2: 22, 3: 12, 4: 6, 6: 3, 12: 2}
PARAGRAPH_END = r"\n\n"  # as COPY escapes it

# Authors in the order of what they write: a uniform number r in [0, 1] picks the one at r³.
# Numbers below the least one are left out, so that nobody writes more than 33 times the mean.
AUTHOR_SKEW = 3
LEAST_AUTHOR_NUMBER = 0.1
AUTHOR_TRIES = 16

T = TypeVar("T")


class Shares(Generic[T]):
    """Values, each with its share, to draw from."""

    def __init__(self, values: Iterable[T], weights: Iterable[float]) -> None:
        self.values = tuple(values)
        self._cumulative_weights = list(accumulate(weights))

    def draw(self, random: Random, count: int) -> list[T]:
        return random.choices(self.values, cum_weights=self._cumulative_weights, k=count)


class Name(NamedTuple):
    """A name, or a part of one, and the Latin letters that stand for it in an address."""

    text: str
    letters: str


@dataclass(frozen=True)
class Form:
    """A way to put names together, such as `%s %s-%s`."""

    template: str
    parts: Sequence[Shares[Name]]
    given_part: int
    family_part: int

    def draw(self, random: Random, count: int) -> Iterator[Name]:
        for parts in zip(*(part.draw(random, count) for part in self.parts), strict=True):
            yield self._put_together(self._distinct(random, parts))

    def _distinct(self, random: Random, parts: tuple[Name, ...]) -> tuple[Name, ...]:
        """Nobody is called Maria Maria."""
        while len(set(parts)) < len(parts):
            parts = tuple(part.draw(random, 1)[0] for part in self.parts)
        return parts

    def _put_together(self, parts: tuple[Name, ...]) -> Name:
        text = self.template % tuple([part.text for part in parts])
        return Name(text, f"{parts[self.given_part].letters}.{parts[self.family_part].letters}")


class Topic(NamedTuple):
    """Paragraphs that follow each other hardly ever have a sentence in common."""

    titles: Sequence[str]
    paragraphs: Sequence[str]


class Authors(NamedTuple):
    """Users who write, in the order in which they joined (seconds since 1970)."""

    ids: "array[int]"
    joined: "array[float]"


def user_lines(random: Random, count: int, first_serial: int, now: datetime) -> Iterator[list[str]]:
    """Lines of name, e-mail and created_at, in ascending order of the latter.

    No two addresses are the same, nor do they meet those of another call with other serials.
    """
    end = now.timestamp()
    moments = _moments(random, count, end - SPAN_SECONDS, end, USER_GROWTH)
    domains = Shares(EMAIL_DOMAINS, EMAIL_DOMAINS.values())
    for first in range(0, count, CHUNK_ROWS):
        number = min(CHUNK_ROWS, count - first)
        names = draw_names(random, number)
        if first <= count // 2 < first + number:
            names[count // 2 - first] = _rarest_name()
        serials = range(first_serial + first, first_serial + first + number)
        drawn_domains = domains.draw(random, number)
        # The Latin letters hold no digit, so the serial alone keeps two addresses apart.
        yield [
            f"{name.text}\t{name.letters}{serial}@{domain}\t{_timestamp(moment)}\n"
            for name, serial, domain, moment in zip(
                names, serials, drawn_domains, islice(moments, number), strict=True
            )
        ]


def post_lines(random: Random, count: int, authors: Authors, now: datetime) -> Iterator[list[str]]:
    """Lines of user_id, title, content and created_at, in ascending order of the latter.

    No post is older than its author. There must be an author, and none may have joined after now.
    """
    topics = draw_topics(random)
    lengths = Shares(PARAGRAPHS_PER_POST, PARAGRAPHS_PER_POST.values())
    written = _written(random, count, authors, now)
    for first in range(0, count, CHUNK_ROWS):
        number = min(CHUNK_ROWS, count - first)
        yield [
            f"{author}\t{_title(random, topic)}\t{_content(random, topic, length)}\t{moment}\n"
            for topic, length, (author, moment) in zip(
                topics.draw(random, number),
                lengths.draw(random, number),
                islice(written, number),
                strict=True,
            )
        ]


def draw_names(random: Random, count: int) -> list[Name]:
    forms = _forms().draw(random, count)
    names = {form: form.draw(random, number) for form, number in Counter(forms).items()}
    return [next(names[form]) for form in forms]


def draw_topics(random: Random) -> Shares[Topic]:
    """Titles and paragraphs to pick from."""
    descriptions = _data()["topics"]
    topics = [_topic(random, description) for description in descriptions]
    return Shares(topics, [description["weight"] for description in descriptions])


def _moments(
    random: Random, count: int, start: float, end: float, growth: float
) -> Iterator[float]:
    """Seconds since 1970, ascending, ever denser towards the end."""
    span = (end - start) / growth
    density = expm1(growth)
    for index in range(count):
        yield start + span * log1p((index + random.random()) / count * density)


def _timestamp(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat()


def _written(
    random: Random, count: int, authors: Authors, now: datetime
) -> Iterator[tuple[int, str]]:
    """For each post the author's id and created_at."""
    busiest_first = array("L", range(len(authors.ids)))
    random.shuffle(busiest_first)
    joined = 0
    for moment in _moments(random, count, authors.joined[0], now.timestamp(), POST_GROWTH):
        joined = bisect_right(authors.joined, moment, lo=joined)
        yield authors.ids[_author(random, busiest_first, joined)], _timestamp(moment)


def _author(random: Random, busiest_first: "array[int]", joined: int) -> int:
    """One of the first `joined` authors; after a few tries any of them."""
    least = LEAST_AUTHOR_NUMBER**AUTHOR_SKEW
    scale = len(busiest_first) / (1 - least)
    for _ in range(AUTHOR_TRIES):
        number = LEAST_AUTHOR_NUMBER + (1 - LEAST_AUTHOR_NUMBER) * random.random()
        author = busiest_first[int((number**AUTHOR_SKEW - least) * scale)]
        if author < joined:
            return author
    return int(random.random() * joined)


def _content(random: Random, topic: Topic, paragraphs: int) -> str:
    first = int(random.random() * (len(topic.paragraphs) - paragraphs))
    return PARAGRAPH_END.join(topic.paragraphs[first : first + paragraphs])


def _title(random: Random, topic: Topic) -> str:
    # Three times as fast as `choice`.
    return topic.titles[int(random.random() * len(topic.titles))]


@cache
def _data() -> Any:
    return tomllib.loads(DATA_FILE.read_text(encoding="utf-8"))


@cache
def _forms() -> Shares[Form]:
    """Every form of every culture."""
    forms: list[Form] = []
    weights: list[float] = []
    for culture in _data()["cultures"]:
        names = {"G": _name_shares(culture["given"]), "F": _name_shares(culture["family"])}
        total = sum(culture["forms"].values())
        for form, weight in culture["forms"].items():
            forms.append(_form(form, names))
            weights.append(culture["weight"] * weight / total)
    return Shares(forms, weights)


def _form(form: str, names: dict[str, Shares[Name]]) -> Form:
    letters = re.sub("[^GF]", "", form)
    template = re.sub("[GF]", "%s", form)
    parts = tuple(names[letter] for letter in letters)
    return Form(template, parts, letters.index("G"), letters.index("F"))


def _name_shares(listed: str) -> Shares[Name]:
    names = [_name(entry) for entry in re.split(r",\s*", listed.strip())]
    return Shares(names, [1 / rank for rank in range(1, len(names) + 1)])


def _name(entry: str) -> Name:
    """Of `Name`, or of `name in its own script:name in Latin letters`."""
    text, _, latin = entry.partition(":")
    taken_apart = unicodedata.normalize("NFKD", (latin or text).lower().translate(LATIN_LETTERS))
    return Name(text, re.sub("[^a-z]", "", taken_apart))


def _rarest_name() -> Name:
    given, family = map(_name, RAREST_NAME.split())
    return Name(RAREST_NAME, f"{given.letters}.{family.letters}")


def _topic(random: Random, description: Any) -> Topic:
    words = description["words"]
    titles = random.choices(description["titles"], k=TITLES_PER_TOPIC)
    lengths = Shares(SENTENCES_PER_PARAGRAPH, SENTENCES_PER_PARAGRAPH.values())
    sentences = _dealt(random, description["sentences"])
    paragraphs = [
        description["joint"].join(islice(sentences, length))
        for length in lengths.draw(random, PARAGRAPHS_PER_TOPIC)
    ]
    return Topic(
        [_filled(random, title, words) for title in titles],
        [_filled(random, paragraph, words) for paragraph in paragraphs],
    )


def _dealt(random: Random, cards: Sequence[str]) -> Iterator[str]:
    """All of them in some order, again and again."""
    while True:
        yield from random.sample(cards, k=len(cards))


def _filled(random: Random, template: str, words: dict[str, list[str]]) -> str:
    """`{dish}` becomes one of the dishes, `{Dish}` the same with a capital letter."""
    chosen = {name: random.choice(values) for name, values in words.items()}
    capital = {name.capitalize(): word[0].upper() + word[1:] for name, word in chosen.items()}
    return template.format_map(chosen | capital)
