"""Types of fields beside texts: what they take is what their JSON Schema says and columns hold."""

import json
import re
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Annotated, Any

import pytest
from pydantic import Field, TypeAdapter, ValidationError

from shared.http.fields import (
    BoolParameter,
    Date,
    DateOrDatetime,
    Digits,
    Float,
    FloatParameter,
    Integer,
    JsonObject,
    Line,
    Time,
    Timestamp,
    without_null,
)
from shared.http.json_body import read_json

Amount = Annotated[Decimal, Digits(8, 2)]
Count = Annotated[Decimal, Digits(3, 0)]
LARGEST = {"text": "\u00fc" * (10_000 - len('{"text": ""}'))}


def is_valid(type_: Any, value: object) -> bool:
    try:
        TypeAdapter(type_).validate_python(value)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize(
    ("type_", "values"),
    [
        (Integer, [0, -(2**31), 2**31 - 1]),
        (Float, [0, -1.5, 1e308, 5e-324]),
        (Line, ["x", "x" * 200]),
        (JsonObject, [{}, {"a": [None, {"b": 1.5}]}, {"a": r"\u0000", "\\": "\\"}, LARGEST]),
        (JsonObject, [{"a": [1e308, {"b": -1e-300}]}, {"a": ["1e308"] * 1000}]),
    ],
)
def test_a_value_that_the_column_holds_is_taken_as_it_is(type_: Any, values: list[object]) -> None:
    for value in values:
        assert TypeAdapter(type_).validate_python(value) == value


@pytest.mark.parametrize(
    ("type_", "values"),
    [
        (Float, [float("nan"), float("inf"), 10**400, True, "1.5", None]),
        (FloatParameter, ["nan", "-inf", "1e999", "+1", " 1", "1_0", ".5", "5.", "01", "\u0661"]),
        (BoolParameter, ["yes", "on", "1", "t", "True", "", " true"]),
        (Integer, [2**31, -(2**31) - 1, True, 1.0, "1", None]),
        (Amount, ["1_0", "\u0661", " 1", "1\n", "1e3", "NaN", "", ".", "+", "0x1", None]),
        (Amount, ["1000000", "0.001", "1.", ".5", 1, 1.5, Decimal(1)]),
        (Count, ["1000", "1.0", "1.", "-"]),
        (Line, ["", " ", "a\nb", "x" * 201, 1]),
        (JsonObject, [[], "{}", None, {"a": "\0"}, {"\0": 1}, {"a": [r"\\" + "\0"]}]),
        (JsonObject, [LARGEST | {"text": f"{LARGEST['text']}x"}]),
        (JsonObject, [{"a": [1e308] * 40}, {"a": {"b": [-1e-300] * 40}}]),  # of 309 digits each
        (Date, ["2026-02-30", "2026-01-31T00:00:00", "20260131", "2026-W05-6", 1, 1.0, None]),
        (
            Time,
            [
                "10:00+02:00",
                "10:00Z",
                "24:00",
                "9:30",
                "10:00:60",
                "10:00\n",
                "10",
                3600,
                "10:00:00.1234567",
                None,
            ],
        ),
        (Timestamp, ["2026-01-31", "soon", "2026-01-31T25:00:00Z", 0, "0", None]),
        (Timestamp, ["0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01"]),
    ],
)
def test_any_other_value_is_rejected(type_: Any, values: list[object]) -> None:
    for value in values:
        assert not is_valid(type_, value), value


@pytest.mark.parametrize(
    ("type_", "value"), [(Amount, "1.50"), (Amount, "-999999.99"), (Count, "999")]
)
def test_a_decimal_is_a_text_of_its_digits(type_: Any, value: str) -> None:
    adapter = TypeAdapter(type_)
    assert adapter.validate_python(value) == Decimal(value)
    assert re.search(adapter.json_schema()["pattern"], value)


@pytest.mark.parametrize("type_", [Decimal, Decimal | None])
@pytest.mark.parametrize("digits", ["123456789012345678.91", "0.1000000000000000001", "-7"])
def test_a_decimal_keeps_the_digits_of_a_json_number(type_: Any, digits: str) -> None:
    value = read_json(f"[{digits}]".encode())
    assert TypeAdapter(list[type_]).validate_python(value) == [Decimal(digits)]


def test_a_json_number_is_a_float_elsewhere() -> None:
    value = read_json(b'{"a": 1.50}')
    assert TypeAdapter(JsonObject).validate_python(value) == {"a": 1.5}
    assert json.dumps(value) == '{"a": 1.5}'
    assert TypeAdapter(Annotated[float, Field(strict=True)]).validate_python(value["a"]) == 1.5


@pytest.mark.parametrize(("depth", "is_accepted"), [(100, True), (101, False), (254, False)])
def test_a_json_object_is_not_nested_too_deeply(depth: int, is_accepted: bool) -> None:
    value: Any = {}
    for _ in range(depth - 1):
        value = {"a": value}
    if is_accepted:
        assert TypeAdapter(JsonObject).validate_python(value) == value
        return
    with pytest.raises(ValidationError, match="nested more than 100 levels"):
        TypeAdapter(JsonObject).validate_python(value)


@pytest.mark.parametrize("type_", [Date, DateOrDatetime, Integer, Line, Time, Timestamp, Amount])
def test_a_value_that_is_nested_as_deeply_as_json_allows_is_invalid(type_: Any) -> None:
    value: list[Any] = []
    for _ in range(10_000):
        value = [value]
    assert not is_valid(type_, value)


def test_dates_and_points_in_time_are_those_of_rfc_3339() -> None:
    assert TypeAdapter(Date).validate_python("2026-01-31") == date(2026, 1, 31)
    moment = TypeAdapter(Timestamp).validate_python("2026-01-31T12:00:00+02:00")
    assert moment == datetime(2026, 1, 31, 10, tzinfo=UTC)
    assert moment.tzinfo is UTC
    assert TypeAdapter(Timestamp).json_schema() == {"type": "string", "format": "date-time"}


def test_a_time_of_a_day_is_that_of_a_column_without_a_zone() -> None:
    adapter = TypeAdapter(Time)
    for text, expected in {
        "09:30": time(9, 30),
        "23:59:59.123456": time(23, 59, 59, 123456),
    }.items():
        assert adapter.validate_python(text) == expected
        assert re.search(adapter.json_schema()["pattern"], text)
    assert adapter.dump_json(adapter.validate_python(time(9, 30))) == b'"09:30:00"'


def test_an_optional_parameter_is_documented_as_itself_rather_than_as_its_type() -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(Annotated[Line | None, Field(examples=["A word"])])
    schema = adapter.json_schema()
    without_null(schema)
    assert (schema["type"], schema["examples"]) == ("string", ["A word"])


def test_numbers_and_booleans_of_a_query_are_those_of_json() -> None:
    numbers = [TypeAdapter(FloatParameter).validate_python(one) for one in ("1", "-1.5", "1e-3")]
    assert numbers == [1, -1.5, 0.001]
    words = [TypeAdapter(BoolParameter).validate_python(one) for one in ("true", "false")]
    assert words == [True, False]
    assert TypeAdapter(FloatParameter).json_schema() == {"type": "number"}
    assert TypeAdapter(BoolParameter).json_schema() == {"type": "boolean"}
