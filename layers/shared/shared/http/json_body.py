"""The bodies of requests: JSON in UTF-8 as defined by RFC 8259, without its ambiguities.

Python's parser accepts more: NaN and Infinity, UTF-16 and UTF-32, repeated members (it uses the
last one, other parsers the first), lone surrogates, which UTF-8 cannot encode, and numbers that
overflow to infinity. All are rejected, as in I-JSON (RFC 7493).
"""

import json
import math
import re
from typing import Any, NoReturn, Self

from starlette.datastructures import Headers

from shared.errors import MalformedJson, UnsupportedMediaType

PATCH_TYPES = ("application/json", "application/merge-patch+json")
"""JSON, and JSON Merge Patch (RFC 7396): here null is a value of nullable fields."""
ACCEPT_PATCH = {"Accept-Patch": ", ".join(PATCH_TYPES)}
"""RFC 5789, section 3.1."""
JSON_TYPE = re.compile(r"application/([^/]*\+)?json")
IDENTITY = "identity"
"""The only content coding: none."""
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class _Ambiguous(Exception):
    """The text is JSON, but not to every parser."""


def check_media_type(method: str, headers: Headers) -> None:
    """Raises `UnsupportedMediaType` for a body that is not JSON, or is compressed."""
    coding = headers.get("content-encoding", "").strip().lower()
    if coding not in ("", IDENTITY):
        # RFC 7694, section 3: Accept-Encoding tells that the coding is the reason.
        detail = "The header Content-Encoding is not identity; send the body uncompressed."
        raise UnsupportedMediaType(detail, {"Accept-Encoding": IDENTITY})
    sent = headers.get("content-type", "").partition(";")[0].strip().lower()
    is_known = sent in PATCH_TYPES if method == "PATCH" else JSON_TYPE.fullmatch(sent)
    if not is_known:
        wrong = "is not supported here" if "content-type" in headers else "is missing"
        detail = f"The header Content-Type {wrong}; send application/json."
        raise UnsupportedMediaType(detail, ACCEPT_PATCH if method == "PATCH" else None)


def read_json(body: bytes) -> Any:
    """Return the value. Raises `MalformedJson`, which gives the position in characters."""
    try:
        text = body.decode()
        value = _decode(text)
        if SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeDecodeError as error:
        raise MalformedJson(f"The body is not UTF-8 at byte {error.start}.") from None
    except json.JSONDecodeError as error:
        raise MalformedJson(
            f"The body is not JSON: {error.msg} at character {error.pos}."
        ) from None
    except UnicodeEncodeError:
        raise MalformedJson("The body has a lone surrogate.") from None
    except _Ambiguous as error:
        raise MalformedJson(f"The body {error}.") from None
    except RecursionError:
        raise MalformedJson("The body is nested too deeply.") from None
    except ValueError:  # of int: too many digits
        raise MalformedJson("The body has a number of too many digits.") from None
    return value


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _Ambiguous("has an object with a repeated member")
    return members


class Number(float):
    """A number that keeps its digits, as its text: a decimal field would lose some in a float."""

    # FastAPI lets pydantic take an instance of any other module's class for an object.
    __module__ = "builtins"

    def __new__(cls, digits: str) -> Self:
        number = super().__new__(cls, digits)
        if math.isinf(number):
            raise _Ambiguous("has a number that is out of range")
        number.digits = digits
        return number

    digits: str

    def __str__(self) -> str:
        return self.digits


def _no_constant(_: str) -> NoReturn:
    raise _Ambiguous("has NaN or Infinity, which JSON does not have")


_decode = json.JSONDecoder(
    object_pairs_hook=_members, parse_float=Number, parse_constant=_no_constant
).decode
