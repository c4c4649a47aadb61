"""Types of query parameters: decimal integers, and optional values that are never null."""

import re
from typing import Any

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

DIGITS = re.compile("[0-9]{1,19}")  # the largest bigint has 19


def _from_digits(value: object) -> object:
    if not isinstance(value, str):
        return value
    if not DIGITS.fullmatch(value):
        raise PydanticCustomError("digits", "must be a number of 1 to 19 decimal digits")
    return int(value)


IN_DIGITS = BeforeValidator(_from_digits)
"""Annotates a strict integer, after its `Field`. Unlike `int`, it accepts only ASCII digits: no
sign, space, underscore or point. Leading zeros are allowed."""


def non_nullable(schema: dict[str, Any]) -> None:
    """Remove null from the JSON Schema of `X | None = None`: a query parameter cannot be null.

    Use it as `Field(json_schema_extra=non_nullable)`.
    """
    schema["anyOf"].remove({"type": "null"})
    if len(schema["anyOf"]) == 1:
        schema.update(schema.pop("anyOf")[0])
