"""Types of query parameters: numbers in digits, and what may be left out but is never null."""

import re
from typing import Any

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

DIGITS = re.compile("[0-9]{1,19}")  # 19 hold every bigint


def _from_digits(value: object) -> object:
    if not isinstance(value, str):
        return value
    if not DIGITS.fullmatch(value):
        raise PydanticCustomError("digits", "must be a number of 1 to 19 decimal digits")
    return int(value)


IN_DIGITS = BeforeValidator(_from_digits)
"""For a strict integer, after its `Field`: ASCII digits alone, unlike Python's `int`, so no sign,
blank, underscore or point. Zeros may lead."""


def non_nullable(schema: dict[str, Any]) -> None:
    """Say in the JSON Schema of `X | None = None` what a query can hold: an X.

    For `Field(json_schema_extra=non_nullable)`.
    """
    schema["anyOf"].remove({"type": "null"})
    if len(schema["anyOf"]) == 1:
        schema.update(schema.pop("anyOf")[0])
