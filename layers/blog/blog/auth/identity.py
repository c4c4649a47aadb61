"""The caller of a request: the claims that API Gateway's JWT authorizer found in the token.

The gateway verifies signatures; a client cannot write `requestContext.authorizer`, so the function
needs no cryptography, and ignores the header `Authorization`. The claims are checked again: a route
may have lost its authorizer, or have one of another issuer, and the gateway accepts ID tokens.

Claims reach a function as strings: an array as `[admin author]`, a number as its digits, null not
at all. Source: "Control access to HTTP APIs with JWT authorizers" in API Gateway's developer guide.
"""

from collections.abc import Mapping
from time import time
from typing import Any

from blog.access import Caller
from blog.errors import Unauthorized
from blog.settings import SettingsError, settings

MAX_SUBJECT_CHARACTERS = 255
"""OpenID Connect's limit; a subject is ASCII there, and printable here, since it is stored."""
MAX_DIGITS = 12


def caller_of(event: Mapping[str, Any]) -> Caller:
    """Return the caller of an HTTP API's event, payload format 2.0. Raises `Unauthorized`."""
    claims = _claims(event)
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
    return Caller(issuer, subject, _elements(claims.get(settings().roles_claim, "")))


def _claims(event: Mapping[str, Any]) -> dict[str, str]:
    context: Any = event["requestContext"]
    for name in ("authorizer", "jwt", "claims"):
        context = context.get(name)
        if not isinstance(context, dict) or not context:
            raise Unauthorized("This needs a bearer token in the header Authorization.")
    _require(
        all(isinstance(part, str) for claim in context.items() for part in claim),
        "its claims are malformed",
    )
    claims: dict[str, str] = context
    return claims


def _require(condition: bool, reason: str) -> None:
    if not condition:
        raise Unauthorized(f"The token is not accepted: {reason}.", is_token_sent=True)


def _is_subject(claim: str) -> bool:
    is_printable = claim.isascii() and claim.isprintable() and claim == claim.strip()
    return is_printable and 0 < len(claim) <= MAX_SUBJECT_CHARACTERS


def _audiences(claims: Mapping[str, str]) -> frozenset[str]:
    """Those of `aud`, or `client_id` if there is no `aud`, as the gateway has it."""
    claim = claims.get("aud", claims.get("client_id", ""))
    return _elements(claim) if _is_array(claim) else frozenset({claim})


def _elements(claim: str) -> frozenset[str]:
    """The elements of a claim that is an array, or text separated by spaces.

    One that has a space itself cannot be told from two: only the issuer may name roles.
    """
    return frozenset((claim[1:-1] if _is_array(claim) else claim).split(" ")) - {""}


def _is_array(claim: str) -> bool:
    return claim.startswith("[") and claim.endswith("]")


def _seconds(claims: Mapping[str, str], name: str, default: str) -> int:
    claim = claims.get(name, default)
    is_number = claim.isascii() and claim.isdigit() and len(claim) <= MAX_DIGITS
    _require(is_number, f"its {name} is missing or malformed")
    return int(claim)
