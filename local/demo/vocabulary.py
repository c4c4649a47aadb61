"""The vocabulary of demo data: names and texts in many scripts, a few thousand values, from Faker.

It is the same in every run, so that a common name stays common when more rows are added.
"""

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from string import ascii_lowercase
from typing import NamedTuple

LOCALES = (
    *("en_US", "zh_CN", "es_ES", "en_IN", "pt_BR", "fr_FR", "de_DE", "ja_JP", "ar_AA", "it_IT"),
    *("pl_PL", "uk_UA", "ko_KR", "hi_IN", "tr_TR", "vi_VN", "id_ID", "nl_NL", "fa_IR", "yo_NG"),
    *("sw", "el_GR", "cs_CZ", "he_IL", "th_TH", "sv_SE", "ro_RO", "hu_HU", "bg_BG"),
)
"""Most common first."""
NAME_FORM = "{given} {family}"
NAME_FORMS = {
    **dict.fromkeys(("zh_CN", "ko_KR"), "{family}{given}"),
    **dict.fromkeys(("ja_JP", "vi_VN", "hu_HU"), "{family} {given}"),
}

DRAWS = 60
"""The number of draws for each list of a language, which has each value once."""
MAX_LETTERS = 24
"""Two names, a dot and an id fit in the 64 characters before an address's @."""


class Name(NamedTuple):
    """A name or a part of one, and its Latin letters, if it has any, for an e-mail address."""

    text: str
    letters: str


class Names(NamedTuple):
    """Given and family names that can be combined: both may depend on the gender."""

    given: Sequence[Name]
    family: Sequence[Name]


class Language(NamedTuple):
    """The vocabulary of a language; all lists begin with the most common values."""

    name_form: str
    names: Sequence[Names]
    titles: Sequence[str]
    paragraphs: Sequence[str]

    def full_name(self, given: Name, family: Name) -> Name:
        text = self.name_form.format(given=given.text, family=family.text)
        return Name(text, f"{given.letters}.{family.letters}".strip("."))


@cache
def languages() -> Sequence[Language]:
    """Return the vocabulary, most common languages first."""
    return [_language(locale) for locale in LOCALES]


def _language(locale: str) -> Language:
    # Imported here: every command of `python -m local` imports this module.
    from faker import Faker

    fake = Faker(locale, providers=["faker.providers.person", "faker.providers.lorem"])
    fake.seed_instance(0)

    def names(draw: Callable[[], str]) -> list[Name]:
        return [Name(text, _letters(text)) for text in _ranked(draw() for _ in range(DRAWS))]

    return Language(
        NAME_FORMS.get(locale, NAME_FORM),
        names=[
            Names(names(fake.first_name_female), names(fake.last_name_female)),
            Names(names(fake.first_name_male), names(fake.last_name_male)),
        ],
        titles=_ranked(title.rstrip(".。 ") for title in fake.sentences(DRAWS)),
        paragraphs=_ranked(fake.paragraphs(DRAWS)),
    )


def _ranked(values: Iterable[str]) -> list[str]:
    """Return the values that the API accepts, normalized, most common first."""
    normalized = (unicodedata.normalize("NFC", value.strip()) for value in values)
    ranked = Counter(value for value in normalized if value and value.isprintable())
    return [value for value, _ in ranked.most_common()]


def _letters(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text).lower()
    return "".join(filter(ascii_lowercase.__contains__, decomposed))[:MAX_LETTERS]
