"""The caller of a request, from the token's claims, which API Gateway's JWT authorizer passes on.

The gateway verifies signatures, and clients cannot forge its claims, so the function needs no
cryptography, and ignores the header `Authorization`. The claims are checked again: a route may have
lost its authorizer, or have one of another issuer, and the gateway accepts ID tokens.

Claims reach a function as strings, as Go prints them: an array as `[admin author]`, an object as
`map[admin:true]`, a number as its digits, null not at all, and text unchanged. So the form of a
claim is ambiguous, and only two are accepted where names are expected: one name, or an array of
names with one space in between. Any other form has no names: text with spaces, anything nested,
unbalanced or quoted, a null or an object in an array, other separators. One ambiguity remains:
`["x admin"]` is printed like `["x", "admin"]`. `ROLE_PREFIX` distinguishes roles from names that
people other than the issuer's administrators may choose.

Source: "Control access to HTTP APIs with JWT authorizers" in API Gateway's developer guide.
"""

import re
from collections.abc import Mapping
from time import time
from typing import Any

from shared.errors import Unauthorized
from shared.observability import logger
from shared.request import Caller
from shared.settings import SettingsError, settings

MAX_SUBJECT_CHARACTERS = 255
"""OpenID Connect's limit; a subject is ASCII there, and printable here, since it is stored."""
MAX_CLAIM_CHARACTERS = 10_240
"""API Gateway's limit for all headers of a request together, which no claim can exceed."""
MAX_SECONDS = 1e12
NAME = r"[A-Za-z0-9._~%:/?#@!$&*+;=-]+"
"""A role or an audience: characters of a URI (RFC 3986), except brackets, quotes and commas."""
ARRAY = re.compile(rf"\[({NAME}( {NAME})*)?\]")
SINGLE = re.compile(NAME)
NOT_TEXT = re.compile(r"(map)?\[.*\]|<nil>|-?[0-9.]+e[+-][0-9]+")
"""An array, an object, or a number that may have been rounded."""
NUMERIC_DATE = re.compile(r"[0-9]{1,12}(\.[0-9]{1,20})?(e\+[0-9]{2})?")
"""A number that is not negative, as Go prints it."""


def caller_of(verified: Mapping[Any, Any] | None) -> Caller:
    """Return the caller whose token has these claims. Raises `Unauthorized`, also without any."""
    claims = _texts(verified)
    issuer, audiences = settings().token_issuer, settings().token_audience.split()
    if not issuer or not audiences:
        raise SettingsError("AUTH is required, but TOKEN_ISSUER or TOKEN_AUDIENCE is not set")
    _require(claims.get("iss") == issuer, "its issuer is not trusted")
    _require(not _audiences(claims).isdisjoint(audiences), "it is for another audience")
    _require(claims.get("token_use", "access") == "access", "it is not an access token")
    _require(_seconds(claims, "exp", default="") > time(), "it has expired")
    _require(_seconds(claims, "nbf", default="0") <= time(), "it is not valid yet")
    subject = claims.get("sub", "")
    _require(_is_subject(subject), "its subject is missing or malformed")
    return Caller(issuer, subject, _roles(claims))


def _texts(verified: Mapping[Any, Any] | None) -> Mapping[str, str]:
    if not verified:
        raise Unauthorized("This needs a bearer token in the header Authorization.")
    _require(
        all(isinstance(part, str) for claim in verified.items() for part in claim),
        "its claims are malformed",
    )
    return verified


def _require(condition: bool, reason: str) -> None:
    if not condition:
        raise Unauthorized(f"The token is not accepted: {reason}.", is_token_sent=True)


def _is_subject(claim: str) -> bool:
    """Return whether the subject was text: other values may be printed like another subject."""
    is_printable = claim.isascii() and claim.isprintable() and claim == claim.strip()
    is_text = not NOT_TEXT.fullmatch(claim)
    return is_printable and is_text and 0 < len(claim) <= MAX_SUBJECT_CHARACTERS


def _audiences(claims: Mapping[str, str]) -> frozenset[str]:
    """Return the audiences in `aud`, else `client_id`, as the gateway does."""
    if "aud" not in claims:
        return frozenset({claims.get("client_id", "")})
    return _names(claims["aud"]) or frozenset({claims["aud"]})


def _roles(claims: Mapping[str, str]) -> frozenset[str]:
    name = settings().roles_claim
    roles = _names(claims.get(name) or "[]")
    if roles is None:
        logger().warning(
            "a token's roles are ignored: the claim is not a list of names", claim=name
        )
    return roles or frozenset()


def _names(claim: str) -> frozenset[str] | None:
    """Return the names of an array, or the one name; None for any other form."""
    if len(claim) > MAX_CLAIM_CHARACTERS:
        return None
    if ARRAY.fullmatch(claim):
        return frozenset(claim[1:-1].split(" ")) - {""}
    return frozenset({claim}) if SINGLE.fullmatch(claim) else None


def _seconds(claims: Mapping[str, str], name: str, default: str) -> float:
    """Return a NumericDate (RFC 7519), which may have a fraction."""
    claim = claims.get(name, default)
    is_number = NUMERIC_DATE.fullmatch(claim) is not None and float(claim) < MAX_SECONDS
    _require(is_number, f"its {name} is missing or malformed")
    return float(claim)
