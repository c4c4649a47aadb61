"""Query parameters that may be left out, but are never null."""

from typing import Any


def never_null(schema: dict[str, Any]) -> None:
    """Say in the JSON Schema of `X | None = None` what a query can hold: an X.

    For `Field(json_schema_extra=never_null)`.
    """
    schema["anyOf"].remove({"type": "null"})
    if len(schema["anyOf"]) == 1:
        schema.update(schema.pop("anyOf")[0])
