"""The strict form of a signed token, checked before a library parses it.

The usual libraries accept duplicate members, padding, altered tail bits, other encodings, numbers
that are not finite and unknown critical headers, which two parsers may read differently.
"""

import base64
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from shared.errors import MalformedJson
from shared.http.json_body import read_json

MAX_TOKEN_CHARACTERS = 8192
MAX_DEPTH = 20
ALGORITHMS = ("RS256", "RS384", "RS512")  # API Gateway supports RSA only
TYPES = (None, "JWT", "at+jwt")


class InvalidToken(Exception):
    """The token must not be accepted; the message is the error description for the client."""


@dataclass(frozen=True)
class ParsedToken:
    """A token whose signature and claims are still unchecked."""

    kid: str
    claims: dict[str, Any]


def parse_token(token: str) -> ParsedToken:
    """Return a token in RFC 7515's compact form. Raises InvalidToken for any other form."""
    if len(token) > MAX_TOKEN_CHARACTERS:
        raise InvalidToken("the token is too long")
    parts = token.split(".")
    if len(parts) != 3:
        raise InvalidToken("the token does not have three parts")
    header, claims, _ = map(_decoded, parts)
    return ParsedToken(_checked_header(_json_object(header)), _json_object(claims))


def _decoded(part: str) -> bytes:
    """Decode base64url without padding, in its canonical form only."""
    with suppress(ValueError):
        decoded = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
        if decoded and base64.urlsafe_b64encode(decoded).decode().rstrip("=") == part:
            return decoded
    raise InvalidToken("the token is not base64url")


def _json_object(data: bytes) -> dict[str, Any]:
    try:
        value = read_json(data)
    except MalformedJson:
        raise InvalidToken("the token is not strict JSON") from None
    if not isinstance(value, dict):
        raise InvalidToken("the token is not a JSON object")
    _check_depth(value, MAX_DEPTH)
    return value


def _check_depth(value: Any, levels: int) -> None:
    if levels == 0:
        raise InvalidToken("the token is nested too deeply")
    if isinstance(value, (dict, list)):
        for child in value.values() if isinstance(value, dict) else value:
            _check_depth(child, levels - 1)


def _checked_header(header: dict[str, Any]) -> str:
    """Return the id of the key that signed the token."""
    kid = header.get("kid")
    if header.get("alg") not in ALGORITHMS:
        raise InvalidToken("the signing method is invalid")
    if header.get("typ") not in TYPES:
        raise InvalidToken("the type of the token is invalid")
    if header.keys() & {"crit", "b64"}:
        raise InvalidToken("the token has a header that is not supported")
    if not isinstance(kid, str) or not kid:
        raise InvalidToken("the token has no key ID")
    return kid
