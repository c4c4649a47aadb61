"""The rules of texts: one line, visible characters, their stored form and its length.

The maximum length is part of the contract. It applies to the text as it is stored, so that any
response can be sent back: a line is stored in Unicode's form NFC, an address as `email-validator`
normalizes it, a content as sent (NFC can take seconds for a long text). Control characters are
rejected; PostgreSQL cannot store NUL. A name or title is a single line (also by Unicode's line
separators), has a visible character, and does not reorder the text around it: directional
embeddings, overrides and isolates are rejected, but not the marks U+200E, U+200F and U+061C, which
right-to-left names need. A content may contain tabs and line ends.

The JSON Schema patterns are equivalent to the validators, with one exception: rare combining marks
and invisible characters above U+FFFF are too many to list, so a name that consists of them matches
its pattern, but is rejected.
"""

import re

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError, PydanticKnownError

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


def require_one_line(value: str) -> str:
    if FORBIDDEN_IN_LINE.search(value):
        raise PydanticCustomError(
            "not_one_line",
            "must be one line, without control characters and directional formatting characters",
        )
    return value


def require_plain_text(value: str) -> str:
    if FORBIDDEN_IN_TEXT.search(value):
        raise PydanticCustomError(
            "control_character", "must not contain control characters other than tabs and line ends"
        )
    return value


def require_visible(value: str) -> str:
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


def stored_line(minimum: int, maximum: int) -> AfterValidator:
    """Return a validator that normalizes a line, then checks its length."""

    def normalize_line(value: str) -> str:
        if value.isascii():
            return _check_length(value, minimum, maximum)
        from unicodedata import normalize  # takes 0.4 ms, and most names need none

        _check_decomposed_length(value, maximum)
        return _check_length(normalize("NFC", value), minimum, maximum)

    return AfterValidator(normalize_line)


def stored_address(value: str) -> str:
    """Return the e-mail address as it is stored."""
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
