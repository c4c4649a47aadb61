"""Types of text fields: what may stand in a name, a title, a content, an e-mail address.

Bounds are part of the contract. PostgreSQL cannot store NUL, and other control characters have no
business in a name. A content may hold tabs and line ends; its bound keeps a page of 100 posts
below Lambda's 6 MB answer, in which a character takes 4 bytes at most (a quote is escaped by the
body's JSON and again by Lambda's). The JSON Schema patterns say the same as the validators.
"""

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

MAX_NAME_CHARACTERS = 200
MAX_TITLE_CHARACTERS = 300
MAX_CONTENT_CHARACTERS = 10_000
MAX_EMAIL_CHARACTERS = 254  # RFC 5321, 4.5.3.1.3: a path of 256 octets, less its brackets

CONTROL_CHARACTERS = frozenset(map(chr, [*range(0x20), *range(0x7F, 0xA0)]))
LINE_CHARACTERS = frozenset("\t\n\r")

NO_CONTROLS = r"[^\x00-\x1f\x7f-\x9f]"
NO_CONTROLS_BUT_LINES = r"[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
NOT_BLANK = r"[^\s\x00-\x1f\x7f-\x9f]"


def _one_line(value: str) -> str:
    if not CONTROL_CHARACTERS.isdisjoint(value):
        raise PydanticCustomError("control_character", "must not contain control characters")
    return value


def _text(value: str) -> str:
    if not CONTROL_CHARACTERS.isdisjoint(set(value) - LINE_CHARACTERS):
        raise PydanticCustomError(
            "control_character", "must not contain control characters but tabs and line ends"
        )
    return value


def _not_blank(value: str) -> str:
    if not value.strip():
        raise PydanticCustomError("blank", "must not be blank")
    return value


def _email_address(value: str) -> str:
    # Imported at the first address: reads, which are most of the traffic, do without its cost.
    from email_validator import EmailNotValidError, validate_email

    try:
        return validate_email(value, check_deliverability=False).normalized
    except EmailNotValidError as error:
        raise PydanticCustomError(
            "email", "is not an e-mail address: {reason}", {"reason": str(error)}
        ) from None


Name = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_NAME_CHARACTERS,
        examples=["Ada Lovelace"],
        json_schema_extra={"pattern": f"^{NO_CONTROLS}*{NOT_BLANK}{NO_CONTROLS}*$"},
    ),
    AfterValidator(_one_line),
    AfterValidator(_not_blank),
]
"""One line, not blank."""

NamePart = Annotated[
    str,
    Field(max_length=MAX_NAME_CHARACTERS, json_schema_extra={"pattern": f"^{NO_CONTROLS}*$"}),
    AfterValidator(_one_line),
]
"""Part of a name; an empty one is part of every name."""

Title = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_TITLE_CHARACTERS,
        examples=["On the Analytical Engine"],
        json_schema_extra={"pattern": f"^{NO_CONTROLS}*{NOT_BLANK}{NO_CONTROLS}*$"},
    ),
    AfterValidator(_one_line),
    AfterValidator(_not_blank),
]
"""One line, not blank."""

Content = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_CONTENT_CHARACTERS,
        examples=["It weaves algebraic patterns, just as the loom weaves flowers and leaves."],
        json_schema_extra={"pattern": f"^{NO_CONTROLS_BUT_LINES}*$"},
    ),
    AfterValidator(_text),
]
"""Any number of lines."""

EmailAddress = Annotated[
    str,
    Field(
        max_length=MAX_EMAIL_CHARACTERS,
        examples=["ada@example.com"],
        json_schema_extra={"format": "email"},
    ),
    AfterValidator(_email_address),
]
"""An address by RFC 5322 without quoted parts, normalised (the domain's case, Unicode NFC);
that it receives mail is not checked."""
