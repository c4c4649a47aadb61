"""Rules that Schemathesis cannot read from the OpenAPI document.

Requests that keep to the schema and are rejected all the same, as the contract says, are adjusted
before they are sent; the behavior tests cover them.
"""

import re
import uuid
from typing import Any

import schemathesis
from hypothesis import strategies as st

from shared.http.conditional import CONDITION_PATTERN
from shared.http.fields import MAX_ID
from shared.http.texts import VISIBLE_LINE_PATTERN, has_visible_character

ACCEPTABLE = {"cursor": r"[A-Za-z0-9_-]{1,64}", "page": r"[1-9]\d{0,16}", "skip": r"\d{1,19}"}
ACCEPTABLE_KEY = r"[!-~]{1,255}"

schemathesis.openapi.format(
    "email",
    st.builds(
        "{}@{}.example.com".format,
        st.from_regex(r"[a-z][a-z0-9_+-]{0,20}", fullmatch=True),
        st.from_regex(r"[a-z][a-z0-9]{0,20}", fullmatch=True),
    ),
)


@schemathesis.hook
def before_call(_context: object, case: schemathesis.Case[Any], _kwargs: dict[str, Any]) -> None:
    """One way to enter a list at a time, no invented cursor, no integer with a fraction (to JSON
    Schema 1.0 is one), no key of another request, no name of marks only, no U+0000 in the JSON of a
    field, which no schema excludes, and no condition that no resource meets."""
    _leave_one_way(case.query or {})
    if not case.operation.schema.is_security_param_negated(case):
        # Another one has a broken token; with a new header it would be taken for a valid request.
        _adjust_headers(case)
    if isinstance(case.body, dict):
        for field, value in case.body.items():
            adjusted = _adjusted(value)
            case.body[field] = _without_nul(adjusted) if isinstance(value, dict) else adjusted


def _adjust_headers(case: schemathesis.Case[Any]) -> None:
    headers: Any = case.headers or {}
    for name, met in (("If-Match", "*"), ("If-None-Match", '"of-nothing"')):
        value = str(headers.get(name, ""))
        # "0" is what Schemathesis takes for the shortest match of the pattern.
        if re.fullmatch(CONDITION_PATTERN, value) or (value == "0" and _is_valid(case)):
            headers[name] = met
    if re.fullmatch(ACCEPTABLE_KEY, str(headers.get("Idempotency-Key", ""))):
        headers["Idempotency-Key"] = uuid.uuid4().hex


def _adjusted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _adjusted(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_adjusted(one) for one in value]
    if isinstance(value, float) and abs(value) <= MAX_ID and value.is_integer():
        return int(value)
    is_line = isinstance(value, str) and re.fullmatch(VISIBLE_LINE_PATTERN, value)
    return "x" if is_line and not has_visible_character(value) else value


def _without_nul(value: Any) -> Any:
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_nul(inner) for inner in value]
    return value.replace("\0", "") if isinstance(value, str) else value


def _is_valid(case: schemathesis.Case[Any]) -> bool:
    """Whether the request is meant to keep to the schema."""
    return case.meta is None or case.meta.generation.mode.is_positive


def _leave_one_way(query: dict[str, Any]) -> None:
    acceptable = [
        name
        for name, pattern in ACCEPTABLE.items()
        if name in query and re.fullmatch(pattern, str(query[name]))
    ]
    if "cursor" in acceptable:
        del query["cursor"]
        acceptable.remove("cursor")
    if {"page", "skip"} <= query.keys() and acceptable:
        del query[acceptable[-1]]
