"""The types of texts, and that their JSON Schema says what they take."""

import json
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from blog.text import Content, EmailAddress, Name, NamePart, Title

TYPES: dict[str, TypeAdapter[str]] = {
    "Name": TypeAdapter(Name),
    "NamePart": TypeAdapter(NamePart),
    "Title": TypeAdapter(Title),
    "Content": TypeAdapter(Content),
}
CONTROLS = [chr(code) for code in [*range(0x20), *range(0x7F, 0xA0)]]


def is_taken(adapter: TypeAdapter[str], text: str) -> bool:
    try:
        return adapter.validate_python(text) == text
    except ValidationError:
        return False


@pytest.mark.parametrize("name", ["Name", "NamePart", "Title"])
@pytest.mark.parametrize("control", CONTROLS, ids=ascii)
def test_no_control_character_stands_in_a_line(name: str, control: str) -> None:
    assert not is_taken(TYPES[name], f"a{control}b")


@pytest.mark.parametrize("control", CONTROLS, ids=ascii)
def test_tabs_and_line_ends_alone_stand_in_a_content(control: str) -> None:
    assert is_taken(TYPES["Content"], f"a{control}b") == (control in "\t\n\r")


@pytest.mark.parametrize(
    ("name", "most"), [("Name", 200), ("NamePart", 200), ("Title", 300), ("Content", 10_000)]
)
def test_bounds_count_characters(name: str, most: int) -> None:
    assert is_taken(TYPES[name], "😀" * most)
    assert not is_taken(TYPES[name], "😀" * (most + 1))


@pytest.mark.parametrize(
    ("name", "empty", "blank"),
    [
        ("Name", False, False),
        ("NamePart", True, True),
        ("Title", False, False),
        ("Content", False, True),
    ],
)
def test_what_may_be_empty_or_blank(name: str, empty: bool, blank: bool) -> None:
    assert is_taken(TYPES[name], "") == empty
    assert is_taken(TYPES[name], "  \u2003") == blank


@pytest.mark.parametrize("name", TYPES)
@given(text=st.text(max_size=20))
@example(text="\u200b")
@example(text="\ufeff")
@example(text="\u3000")
@example(text="\u180e")
def test_the_schemas_pattern_takes_what_the_type_takes(name: str, text: str) -> None:
    schema = TYPES[name].json_schema()
    assert json.dumps(schema)
    pattern_takes = re.fullmatch(schema["pattern"], text) is not None
    assert is_taken(TYPES[name], text) == (
        pattern_takes and len(text) >= schema.get("minLength", 0)
    )


@given(st.emails())
def test_a_normalised_address_stays_as_it_is(address: str) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(EmailAddress)
    try:
        normalised = adapter.validate_python(address)
    except ValidationError:
        return
    assert adapter.validate_python(normalised) == normalised


def test_a_refused_address_is_not_repeated_by_its_error() -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(EmailAddress)
    with pytest.raises(ValidationError) as raised:
        adapter.validate_python("secret..person@example.org")
    assert "secret" not in raised.value.errors()[0]["msg"]
