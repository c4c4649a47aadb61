"""Types of the fields of schemas and of parameters, and the base classes of schemas.

An id is a PostgreSQL bigint identity column. In a body it is a JSON integer: `true`, `1.0` and
`"1"` are rejected. In a route's path `{article_id:id}` matches only digits, so that
`/articles/search` is another route, and at most 19, the length of the largest bigint.
`{file_id:uuid}` matches a UUID, `{country_code:key}` a text key.

Maxima also keep pages below Lambda's limit of 6 MB (`local.generate.page_sizes`). PostgreSQL stores
numbers of JSON without exponents, so that their digits count.
"""

import json
import re
from collections.abc import Iterator
from datetime import date, datetime, time
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

from shared.http.dates import (
    TIME_PATTERN,
    parse_date,
    parse_date_or_datetime,
    parse_time,
    parse_timestamp,
)
from shared.http.texts import (
    LINE_PATTERN,
    MAX_EMAIL_CHARACTERS,
    TEXT_PATTERN,
    VISIBLE_LINE_PATTERN,
    require_one_line,
    require_plain_text,
    require_visible,
    stored_address,
    stored_line,
)

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


JSON_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")


def _from_number(value: object) -> object:
    if not isinstance(value, str):
        return value
    if not JSON_NUMBER.fullmatch(value):
        raise PydanticCustomError("number", "must be a number, such as -1.5")
    return float(value)


JSON_NUMBERS = BeforeValidator(_from_number)
"""Annotates a strict float in a query, after its `Field`. Unlike `float`, it accepts only numbers
of JSON: no `nan`, `inf`, space, underscore, or sign +."""


def _from_word(value: object) -> object:
    if isinstance(value, str) and value not in ("true", "false"):
        raise PydanticCustomError("boolean", "must be true or false")
    return value


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


Float = Annotated[float, Field(strict=True, allow_inf_nan=False)]
"""The values of a column of the type double precision. Bounds are those of another `Field`."""
FloatParameter = Annotated[Float, JSON_NUMBERS]
"""A float in a query."""
BoolParameter = Annotated[bool, BeforeValidator(_from_word)]
"""`true` or `false` in a query; `bool` also accepts `yes`, `1` and `on`."""


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


DateOrDatetime = Annotated[
    datetime,
    BeforeValidator(parse_date_or_datetime),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "format": "date"}]}
    ),
]
"""A date, which means its midnight, or a point in time; in UTC."""

Date = Annotated[date, BeforeValidator(parse_date)]
Time = Annotated[
    time,
    BeforeValidator(parse_time),
    # JSON Schema's format `time` has an offset.
    WithJsonSchema(
        {
            "type": "string",
            "maxLength": len("09:30:00.000000"),
            "pattern": TIME_PATTERN,
            "examples": ["09:30:00"],
        }
    ),
]
"""A time of a day, without an offset; also in responses."""
Timestamp = Annotated[datetime, BeforeValidator(parse_timestamp)]
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
        yield stored_line(1, self.maximum)
        yield AfterValidator(require_one_line)
        yield AfterValidator(require_visible)


Line = Annotated[str, OneLine(MAX_LINE_CHARACTERS), Field(examples=["One line"])]
Name = Annotated[str, OneLine(MAX_NAME_CHARACTERS), Field(examples=["Ada Lovelace"])]

NameQuery = Annotated[
    str,
    Field(json_schema_extra=_schema(0, MAX_NAME_CHARACTERS, pattern=LINE_PATTERN)),
    stored_line(0, MAX_NAME_CHARACTERS),
    AfterValidator(require_one_line),
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
    AfterValidator(require_plain_text),
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
    AfterValidator(stored_address),
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
    """The base of a response's schema, which takes its values from a row's attributes.

    These have the names of the fields, whatever their aliases in JSON are.
    """

    model_config = ConfigDict(from_attributes=True, validate_by_name=True)


class QueryParameters(BaseModel):
    """The base of query parameters; None is a parameter that was not sent, never null."""

    @classmethod
    def __pydantic_init_subclass__(cls, **_arguments: Any) -> None:
        for field in cls.model_fields.values():
            if NoneType in get_args(field.annotation):
                field.json_schema_extra = without_null
