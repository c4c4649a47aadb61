"""Types of fields and parameters, and base classes of schemas.

An id is a PostgreSQL bigint identity column. In a body it is a JSON integer: `true`, `1.0` and
`"1"` are rejected. In a route's path `{article_id:id}` matches only digits, so that
`/articles/search` is another route, and at most 19, the length of the largest bigint.
`{file_id:uuid}` matches a UUID, `{country_code:key}` a text key.

The maximum length of a text is part of the contract. It applies to the text as it is stored, so
that any response can be sent back: a line is stored in Unicode's form NFC, an address as
`email-validator` normalizes it, a content as sent (NFC can take seconds for a long text). Control
characters are rejected; PostgreSQL cannot store NUL. A name or title is a single line (also by
Unicode's line separators), has a visible character, and does not reorder the text around it:
directional embeddings, overrides and isolates are rejected, but not the marks U+200E, U+200F and
U+061C, which right-to-left names need. A content may contain tabs and line ends.

Maxima also keep pages below Lambda's limit of 6 MB (`local.generate.page_sizes`). PostgreSQL stores
numbers of JSON without exponents, so that their digits count.

The JSON Schema patterns are equivalent to the validators, with one exception: rare combining marks
and invisible characters above U+FFFF are too many to list, so a name that consists of them matches
its pattern, but is rejected.

A date or date-time in a query is as defined by RFC 3339, and converted to UTC. A date means
midnight. A date-time without an offset, which the RFC does not allow, is UTC. Other forms of ISO
8601 (weeks, ordinal dates, offsets in seconds) are rejected. A leap second becomes the first second
of the next day, as in PostgreSQL. Digits below a microsecond are truncated.
"""

import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from types import NoneType
from typing import Annotated, Any, get_args

from annotated_types import GroupedMetadata
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError, PydanticKnownError
from starlette.convertors import IntegerConvertor, StringConvertor, register_url_convertor
from typing_extensions import TypedDict

DIGITS = re.compile("[0-9]{1,19}")  # the largest bigint has 19


def _from_digits(value: object) -> object:
    if not isinstance(value, str):
        return value
    if not DIGITS.fullmatch(value):
        raise PydanticCustomError("digits", "must be a number of 1 to 19 decimal digits")
    return int(value)


DECIMAL_DIGITS = BeforeValidator(_from_digits)
"""Annotates a strict integer, after its `Field`. Unlike `int`, it accepts only ASCII digits: no
sign, space, underscore or point. Leading zeros are allowed."""


def without_null(schema: dict[str, Any]) -> None:
    """Remove null from the JSON Schema of `X | None = None`: a query parameter cannot be null.

    Use it as `Field(json_schema_extra=without_null)`.
    """
    schema["anyOf"].remove({"type": "null"})
    if len(schema["anyOf"]) == 1:
        schema.update(schema.pop("anyOf")[0] | schema)


MAX_ID = 2**63 - 1

INT64 = {"format": "int64"}

Id = Annotated[int, Field(strict=True, ge=1, le=MAX_ID, json_schema_extra=INT64)]
IdParameter = Annotated[Id, DECIMAL_DIGITS]
"""An id in a query."""

Integer = Annotated[int, Field(strict=True, ge=-(2**31), le=2**31 - 1)]
"""The values of a column of the type integer."""


class Digits(GroupedMetadata):
    """Annotates a `Decimal` of a body: a text with up to `total` digits, `places` of them after the
    point, such as `"1.50"`. JSON numbers are rejected: many programs read them as floats.

    A `Field` of bounds precedes it: `Annotated[Decimal, Field(ge=0), Digits(12, 2)]`.
    """

    def __init__(self, total: int, places: int) -> None:
        self.total = total
        self.places = places

    def __iter__(self) -> Iterator[object]:
        whole = self.total - self.places
        fraction = rf"(\.[0-9]{{1,{self.places}}})?" if self.places else ""
        pattern = rf"-?[0-9]{{1,{whole}}}{fraction}"
        wrong = f"must be a text with a decimal number: up to {whole} digits"
        if self.places:
            wrong += f", and {self.places} after a point"

        def check(value: object) -> object:
            if not isinstance(value, str) or not re.fullmatch(pattern, value):
                raise PydanticCustomError("decimal", wrong)
            return value

        yield BeforeValidator(check)
        characters = len("-.") + self.total
        yield WithJsonSchema({"type": "string", "maxLength": characters, "pattern": f"^{pattern}$"})


class IdConvertor(IntegerConvertor):
    regex = DIGITS.pattern


register_url_convertor("id", IdConvertor())


MAX_KEY_CHARACTERS = 40
KEY = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._~-]{{0,{MAX_KEY_CHARACTERS - 1}}}")
"""Text keys: they need no escaping in a URL, and none is `.` or `..`."""


class Key(GroupedMetadata):
    """Annotates a text key, which clients send to create an item: `Key("[A-Z]{2}", "DE")`.

    `pattern` matches all keys, `example` is one of them.
    """

    def __init__(self, pattern: str = KEY.pattern, example: str = "key-1000") -> None:
        self.pattern = pattern
        self.example = example
        if not (re.fullmatch(pattern, example) and KEY.fullmatch(example)):
            raise TypeError(f"The example {example} of a key does not match {pattern}")

    def __iter__(self) -> Iterator[object]:
        yield Field(
            max_length=MAX_KEY_CHARACTERS, pattern=f"^({self.pattern})$", examples=[self.example]
        )
        yield AfterValidator(_key)


def _key(value: str) -> str:
    if not KEY.fullmatch(value):
        message = "must begin with a letter or digit, followed by letters, digits and . _ ~ -"
        raise PydanticCustomError("key", message)
    return value


class KeyConvertor(StringConvertor):
    regex = KEY.pattern


register_url_convertor("key", KeyConvertor())


DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"([Tt ]([01][0-9]|2[0-3]):[0-5][0-9]:(?P<second>[0-5][0-9]|60)(\.[0-9]+)?"
    r"([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])?)?"
)
FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


def _date_or_datetime(value: object) -> datetime:
    text = str(value)
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


def _date(value: object) -> date:
    try:
        if DATE.fullmatch(text := str(value)):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise PydanticCustomError("date", "is not a date, such as 2026-01-31")


def _timestamp(value: object) -> datetime:
    text = str(value)
    try:
        if not DATE.fullmatch(text):
            return _parse_rfc_3339(text)
    except (OverflowError, ValueError):
        pass
    raise PydanticCustomError("timestamp", "is not a date-time, such as 2026-01-31T12:00:00Z")


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


DateOrDatetime = Annotated[
    datetime,
    BeforeValidator(_date_or_datetime),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "format": "date"}]}
    ),
]

Date = Annotated[date, BeforeValidator(_date)]
Timestamp = Annotated[datetime, BeforeValidator(_timestamp)]
"""A point in time, in UTC."""


MAX_LINE_CHARACTERS = 200
MAX_NAME_CHARACTERS = 200
MAX_TITLE_CHARACTERS = 300
MAX_CONTENT_CHARACTERS = 10_000
MAX_JSON_CHARACTERS = 10_000
MAX_CHARACTERS = "x-max-characters"
"""In the schema of a value that is no text: the maximum of its JSON."""
MAX_JSON_DEPTH = 100
"""Pydantic reads and writes about 255 levels."""
MAX_EMAIL_CHARACTERS = 254  # RFC 5321, 4.5.3.1.3: a path of 256 octets, less its brackets

MAX_DECOMPOSITION = 4
"""Maximum characters that NFC composes into one (UAX #15). Longer texts are not normalized, as the
time for that grows with the square of the length."""

# Valid in JSON Schema's regular expressions and in Python's: no `\p{…}`, nothing above U+FFFF.
BREAKS = r"\x00-\x1f\x7f-\x9f\u2028\u2029"
DIRECTIONS = r"\u202a-\u202e\u2066-\u2069"
INVISIBLE = (
    r"\s\xad\u0300-\u036f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u180b-\u180f"
    r"\u200b-\u200f\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff"
)
LINE_PATTERN = f"^[^{BREAKS}{DIRECTIONS}]*$"
VISIBLE_LINE_PATTERN = (
    f"^[^{BREAKS}{DIRECTIONS}]*[^{BREAKS}{DIRECTIONS}{INVISIBLE}][^{BREAKS}{DIRECTIONS}]*$"
)
TEXT_PATTERN = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$"

FORBIDDEN_IN_LINE = re.compile(f"[{BREAKS}{DIRECTIONS}]")
FORBIDDEN_IN_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")

INVISIBLE_CATEGORIES = frozenset({"Cc", "Cf", "Mn", "Me", "Zl", "Zp", "Zs"})
BLANK_CHARACTERS = re.compile(
    r"[\u115f\u1160\u2065\u2800\u3164\uffa0\ufff0-\ufff8\ufffe\uffff"
    r"\U00013441\U00013442\U0001d159\U000e0000-\U000e0fff]"
)
"""Blank letters and symbols in other categories, and code points reserved for them."""


def _one_line(value: str) -> str:
    if FORBIDDEN_IN_LINE.search(value):
        raise PydanticCustomError(
            "not_one_line",
            "must be one line, without control characters and directional formatting characters",
        )
    return value


def _text(value: str) -> str:
    if FORBIDDEN_IN_TEXT.search(value):
        raise PydanticCustomError(
            "control_character", "must not contain control characters other than tabs and line ends"
        )
    return value


def _visible(value: str) -> str:
    if not has_visible_character(value):
        raise PydanticCustomError("blank", "must have a visible character")
    return value


def has_visible_character(value: str) -> bool:
    """Whether a character of the text is visible; spaces, marks and format characters are not."""
    if value.isascii():
        return bool(value.strip())
    from unicodedata import category  # takes 0.4 ms, and most names need none

    return any(
        category(character) not in INVISIBLE_CATEGORIES and not BLANK_CHARACTERS.match(character)
        for character in value
    )


def _stored_line(minimum: int, maximum: int) -> AfterValidator:
    """Normalize a line, then check its length."""

    def normalize_line(value: str) -> str:
        if value.isascii():
            return _check_length(value, minimum, maximum)
        from unicodedata import normalize  # takes 0.4 ms, and most names need none

        _check_decomposed_length(value, maximum)
        return _check_length(normalize("NFC", value), minimum, maximum)

    return AfterValidator(normalize_line)


def _email_address(value: str) -> str:
    # Imported when first used: reads, which are most of the traffic, do not pay for it.
    from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email

    SPECIAL_USE_DOMAIN_NAMES.clear()  # accept `.test`, `.local` and others
    _check_decomposed_length(value, MAX_EMAIL_CHARACTERS)
    try:
        address = validate_email(value, check_deliverability=False).normalized
    except EmailNotValidError:  # its text quotes the address
        wrong = f"is not an e-mail address: {_wrong_part(value)}"
        raise PydanticCustomError("email", wrong) from None
    return _check_length(address, 0, MAX_EMAIL_CHARACTERS)


def _wrong_part(value: str) -> str:
    from email_validator import EmailNotValidError, validate_email

    local, at_sign, _ = value.rpartition("@")
    if not at_sign:
        return "it has no @"
    try:
        validate_email(f"{local}@example.org", check_deliverability=False)
    except EmailNotValidError:
        return "the part before the @ is invalid"
    return "the part after the @ is invalid"


def _check_length(value: str, minimum: int, maximum: int) -> str:
    if len(value) < minimum:
        raise PydanticKnownError("string_too_short", {"min_length": minimum})
    if len(value) > maximum:
        raise PydanticKnownError("string_too_long", {"max_length": maximum})
    return value


def _check_decomposed_length(value: str, maximum: int) -> None:
    if len(value) > maximum * MAX_DECOMPOSITION:
        raise PydanticKnownError("string_too_long", {"max_length": maximum})


def _schema(minimum: int, maximum: int, **more: str) -> dict[str, JsonValue]:
    bounds: dict[str, JsonValue] = {"minLength": minimum} if minimum else {}
    return {**bounds, "maxLength": maximum, **more}


LINE = (
    "One line with a visible character; stored, and its characters counted, in Unicode's form NFC."
)


class OneLine(GroupedMetadata):
    """Annotates a text: one line with a visible character, of 1 to `maximum` characters."""

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum

    def __iter__(self) -> Iterator[object]:
        schema = _schema(1, self.maximum, pattern=VISIBLE_LINE_PATTERN)
        yield Field(description=LINE, json_schema_extra=schema)
        yield _stored_line(1, self.maximum)
        yield AfterValidator(_one_line)
        yield AfterValidator(_visible)


Line = Annotated[str, OneLine(MAX_LINE_CHARACTERS), Field(examples=["One line"])]
Name = Annotated[str, OneLine(MAX_NAME_CHARACTERS), Field(examples=["Ada Lovelace"])]

NameQuery = Annotated[
    str,
    Field(json_schema_extra=_schema(0, MAX_NAME_CHARACTERS, pattern=LINE_PATTERN)),
    _stored_line(0, MAX_NAME_CHARACTERS),
    AfterValidator(_one_line),
]
"""A substring of a name; the empty one matches every name."""

Title = Annotated[str, OneLine(MAX_TITLE_CHARACTERS), Field(examples=["On the Analytical Engine"])]

Content = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_CONTENT_CHARACTERS,
        description="Any number of lines.",
        examples=["It weaves algebraic patterns, just as the loom weaves flowers and leaves."],
        json_schema_extra={"pattern": TEXT_PATTERN},
    ),
    AfterValidator(_text),
]

EmailAddress = Annotated[
    str,
    Field(
        description=(
            "An address as defined by RFC 5322, without quoted parts, with a period in its domain, "
            "which is stored in lower case. Deliverability is not checked: addresses at `.test`, "
            "`.local` and other special-use domains are accepted."
        ),
        examples=["ada@example.com"],
        json_schema_extra=_schema(0, MAX_EMAIL_CHARACTERS, format="email"),
    ),
    AfterValidator(_email_address),
]


def _depth(value: JsonValue) -> int:
    if not isinstance(value, dict | list):
        return 0
    parts = value.values() if isinstance(value, dict) else value
    return 1 + max(map(_depth, parts), default=0)


def _added_digits(value: JsonValue) -> int:
    """Return how many characters PostgreSQL adds: it stores 1e99 as 100 digits."""
    if isinstance(value, float) and "e" in (written := float.__repr__(value)):
        return len(f"{Decimal(written):f}") - len(written)
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return sum(map(_added_digits, parts))


def _storable(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    if _depth(value) > MAX_JSON_DEPTH:
        message = f"must not be nested more than {MAX_JSON_DEPTH} levels deep"
        raise PydanticCustomError("depth", message)
    written = json.dumps(value, ensure_ascii=False)
    if len(written) + _added_digits(value) > MAX_JSON_CHARACTERS:
        raise PydanticKnownError("string_too_long", {"max_length": MAX_JSON_CHARACTERS})
    if r"\u0000" in written.replace(r"\\", ""):
        raise PydanticCustomError("nul", "must not contain the character U+0000")
    return value


JsonObject = Annotated[
    dict[str, JsonValue],
    Field(
        description=f"Up to {MAX_JSON_CHARACTERS} characters of JSON, numbers without exponents.",
        json_schema_extra={MAX_CHARACTERS: MAX_JSON_CHARACTERS},
    ),
    AfterValidator(_storable),
]
"""The values of a column of the type jsonb that has objects."""


class Body(BaseModel):
    """The base of a request's body; unknown fields are rejected."""

    model_config = ConfigDict(extra="forbid")


class Changes(TypedDict, total=False):
    """The base of a body with optional fields: its value has only the fields that were sent.

    A subclass needs `total=False` too.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]


class Shown(BaseModel):
    """The base of a response's schema, which takes its values from a row's attributes."""

    model_config = ConfigDict(from_attributes=True)


class QueryParameters(BaseModel):
    """The base of query parameters; None is a parameter that was not sent, never null."""

    @classmethod
    def __pydantic_init_subclass__(cls, **_arguments: Any) -> None:
        for field in cls.model_fields.values():
            if NoneType in get_args(field.annotation):
                field.json_schema_extra = without_null
