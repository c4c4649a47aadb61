"""The types of texts, and that their JSON Schema says what they take."""

import json
import re
import sys
import unicodedata
from time import process_time
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from shared.http.fields import Content, EmailAddress, Name, NameQuery, Title
from tests.properties import example, given, reject, st

TYPES: dict[str, TypeAdapter[str]] = {
    "Name": TypeAdapter(Name),
    "NameQuery": TypeAdapter(NameQuery),
    "Title": TypeAdapter(Title),
    "Content": TypeAdapter(Content),
}
LINES = ["Name", "NameQuery", "Title"]
SEPARATORS = ["\u2028", "\u2029"]
DIRECTIONS = [*"\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"]
UNSEEN = [
    *" \u00a0\u2003\u3000\u00ad\u034f\u061c\u180e\u200b\u200d\u200f\u202e\u2060\u2065\u206f\ufeff",
    *"\u115f\u1160\u17b4\u2800\u3164\uffa0",  # drawn as nothing
    *"\u0301\u05b0\u20dd\ufe0f\U000e0100",  # marks and variation selectors without a base
    *"\U0001d173\U000e0001\U000e0041\U000e0002\U000e0fff",  # tags and format characters
    "\u200b\u2060\ufeff\u0301",
]
BASIC_CHARACTERS = st.characters(max_codepoint=0xFFFF, exclude_categories=["Mn", "Me", "Cs"])
CONTROLS = [chr(code) for code in [*range(0x20), *range(0x7F, 0xA0)]]


def is_taken(adapter: TypeAdapter[str], text: str) -> bool:
    """As it is, but for the form in which Unicode writes it."""
    try:
        taken = adapter.validate_python(text)
    except ValidationError:
        return False
    return unicodedata.normalize("NFC", taken) == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize("name", ["Name", "NameQuery", "Title"])
@pytest.mark.parametrize("character", [*CONTROLS, *SEPARATORS, *DIRECTIONS], ids=ascii)
def test_a_line_has_no_control_character_line_end_or_embedded_direction(
    name: str, character: str
) -> None:
    assert not is_taken(TYPES[name], f"a{character}b")


@pytest.mark.parametrize("name", ["Name", "NameQuery", "Title"])
@pytest.mark.parametrize(
    "text",
    ["\u200fנועה\u200e 2", "می\u200cخواهم", "👩\u200d🚀", "e\u0301", "𮯰"],  # noqa: RUF001
)
def test_a_line_has_what_the_worlds_names_need(name: str, text: str) -> None:
    assert is_taken(TYPES[name], text)


@pytest.mark.parametrize("name", LINES)
def test_a_line_is_normalized(name: str) -> None:
    assert TYPES[name].validate_python("e\u0301") == "\u00e9"


@pytest.mark.parametrize("name", [*TYPES, "EmailAddress"])
@given(data=st.data())
def test_a_stored_text_is_accepted_unchanged_and_within_the_schemas_bounds(
    name: str, data: st.DataObject
) -> None:
    """Characters that NFC makes fewer or more of, at about the maximum length."""
    adapter = TYPES.get(name, TypeAdapter(EmailAddress))
    schema = adapter.json_schema()
    most = schema["maxLength"]
    unit = data.draw(st.sampled_from(["e\u0301", "\ufb2c", "\u1f82", "\u1100\u1161", "x", "ß"]))
    units = most // data.draw(st.integers(1, 5)) + data.draw(st.integers(-2, 2))
    text = unit * units + data.draw(st.sampled_from(["", "x", "@bücher.example", "@x.example"]))
    try:
        stored = adapter.validate_python(text)
    except ValidationError:
        reject()
    assert schema.get("minLength", 0) <= len(stored) <= most
    assert adapter.validate_python(stored) == stored


@pytest.mark.parametrize(("name", "most"), [("Name", 200), ("NameQuery", 200), ("Title", 300)])
def test_a_lines_length_is_that_of_its_normal_form(name: str, most: int) -> None:
    for unit, stored in (("e\u0301", 1), ("\u1f00\u0300\u0345", 1), ("\ufb2c", 3)):
        assert is_taken(TYPES[name], unit * (most // stored))
        assert not is_taken(TYPES[name], unit * (most // stored + 1))


@pytest.mark.parametrize("name", [*LINES, "EmailAddress"])
def test_a_text_that_is_slow_to_normalize_is_rejected_before_that(name: str) -> None:
    adapter = TYPES.get(name, TypeAdapter(EmailAddress))
    started_at = process_time()
    assert not is_taken(adapter, "a" + "\u0301\u0316" * 30_000 + "@example.org")
    assert process_time() - started_at < 0.1


@pytest.mark.parametrize("control", CONTROLS, ids=ascii)
def test_the_only_control_characters_of_a_content_are_tabs_and_line_ends(control: str) -> None:
    assert is_taken(TYPES["Content"], f"a{control}b") == (control in "\t\n\r")


@pytest.mark.parametrize(
    ("name", "most"), [("Name", 200), ("NameQuery", 200), ("Title", 300), ("Content", 10_000)]
)
def test_bounds_count_characters(name: str, most: int) -> None:
    assert is_taken(TYPES[name], "😀" * most)
    assert not is_taken(TYPES[name], "😀" * (most + 1))


@pytest.mark.parametrize(
    ("name", "empty", "blank"),
    [
        ("Name", False, False),
        ("NameQuery", True, True),
        ("Title", False, False),
        ("Content", False, True),
    ],
)
def test_empty_and_blank_texts_are_accepted_by_their_types_only(
    name: str, empty: bool, blank: bool
) -> None:
    assert is_taken(TYPES[name], "") == empty
    assert is_taken(TYPES[name], "  \u2003") == blank


@pytest.mark.parametrize("name", ["Name", "Title"])
@pytest.mark.parametrize("text", UNSEEN, ids=ascii)
def test_a_text_of_invisible_characters_is_blank(name: str, text: str) -> None:
    assert not is_taken(TYPES[name], text)
    assert not is_taken(TYPES[name], f" {text} {text}")
    assert is_taken(TYPES[name], f"{text}x{text}") or text in DIRECTIONS


def test_every_invisible_category_is_blank_and_every_other_is_seen() -> None:
    """But for the few characters that are drawn as nothing, which have no category of their own."""
    adapter = TYPES["Name"]
    wrong = {
        character
        for character in map(chr, range(sys.maxunicode + 1))
        if (category := unicodedata.category(character)) not in ("Cn", "Cs")
        and is_taken(adapter, character) == (category in ("Cc", "Cf", "Mn", "Me", "Zl", "Zp", "Zs"))
    }
    assert wrong == set("\u115f\u1160\u2800\u3164\uffa0\U00013441\U00013442\U0001d159") - {
        character for character in "\U00013441\U00013442" if unicodedata.category(character) == "Cn"
    }


def test_the_pattern_of_a_name_misses_only_marks_and_what_is_above_the_basic_plane() -> None:
    adapter = TYPES["Name"]
    pattern = re.compile(adapter.json_schema()["pattern"])
    for character in map(chr, range(sys.maxunicode + 1)):
        if unicodedata.category(character) == "Cs":
            continue
        if pattern.fullmatch(character):
            left_out = unicodedata.category(character) in ("Mn", "Me") or character > "\uffff"
            assert left_out or is_taken(adapter, character)
        else:
            assert not is_taken(adapter, character)


@pytest.mark.parametrize("name", TYPES)
@given(text=st.text(BASIC_CHARACTERS | st.just("😀"), max_size=20))
@example(text="\u200b")
@example(text="\ufeff")
@example(text="\u3000")
@example(text="\u180e")
@example(text="\u2028")
@example(text="\u202e")
@example(text="\u2065")
def test_the_schemas_pattern_accepts_what_the_type_accepts(name: str, text: str) -> None:
    schema = TYPES[name].json_schema()
    assert json.dumps(schema)
    pattern_takes = re.fullmatch(schema["pattern"], text) is not None
    assert is_taken(TYPES[name], text) == (
        pattern_takes and len(text) >= schema.get("minLength", 0)
    )


@pytest.mark.parametrize(
    "domain",
    ["x.test", "x.local", "x.invalid", "x.localhost", "x.example", "x.onion", "1.in-addr.arpa"],
)
def test_an_address_at_a_special_use_domain_is_accepted(domain: str) -> None:
    assert is_taken(TypeAdapter(EmailAddress), f"ada@{domain}")


@given(st.emails())
def test_a_normalized_address_is_stable(address: str) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(EmailAddress)
    try:
        normalized = adapter.validate_python(address)
    except ValidationError:
        reject()
    assert adapter.validate_python(normalized) == normalized


BEFORE = "is not an e-mail address: the part before the @ is invalid"
AFTER = "is not an e-mail address: the part after the @ is invalid"


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("", "is not an e-mail address: it has no @"),
        ("secret", "is not an e-mail address: it has no @"),
        ("@example.org", BEFORE),
        ("secret..person@example.org", BEFORE),
        ("sec ret@example.org", BEFORE),
        ('"secret"@example.org', BEFORE),
        ("secret@person@example.org", BEFORE),
        ("secret\u200b@example.org", BEFORE),
        ("Secret Person <secret@example.org>", BEFORE),
        ("secret@", AFTER),
        ("secret@example", AFTER),
        ("secret@exa_mple.org", AFTER),
        ("secret@-example.org", AFTER),
        ("secret@xn--secret.org", AFTER),
        ("secret@[127.0.0.1]", AFTER),
        ("secret@exam☃ple..org", AFTER),
        (f"secret@{'x' * 64}.org", AFTER),
        ("s" * 1_100, "String should have at most 254 characters"),
    ],
)
def test_a_rejected_address_is_reported_by_its_wrong_part_and_not_quoted(
    address: str, message: str
) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(EmailAddress)
    with pytest.raises(ValidationError) as raised:
        adapter.validate_python(address)
    assert raised.value.errors()[0]["msg"] == message
    assert "ctx" not in raised.value.errors()[0] or address == "s" * 1_100


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("ada@EXAMPLE.org", "ada@example.org"),
        ("jose\u0301@example.org", "jos\u00e9@example.org"),
        ("ada@xn--bcher-kva.example", "ada@bücher.example"),
        ("ada@BÜCHER.example", "ada@bücher.example"),
        ("ada@ｅｘａｍｐｌｅ.org", "ada@example.org"),  # noqa: RUF001
        ("ada@o\ufb03ce.example", "ada@office.example"),
    ],
)
def test_an_address_has_one_form(sent: str, stored: str) -> None:
    assert TypeAdapter(EmailAddress).validate_python(sent) == stored
