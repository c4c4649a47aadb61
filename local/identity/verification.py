"""The check of a token as in API Gateway's JWT authorizers, after the strict parser.

https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-jwt-authorizer.html
"""

from collections.abc import Sequence
from time import time
from typing import Any, Protocol

from joserfc import jwt
from joserfc.errors import ClaimError, ExpiredTokenError, JoseError
from joserfc.jwk import RSAKey
from joserfc.jws import JWSRegistry
from joserfc.jwt import ClaimsOption, JWTClaimsRegistry

from local.identity.parsing import ALGORITHMS, InvalidToken, parse_token

# Unknown members of the header are ignored, as RFC 7515 requires.
REGISTRY = JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)


class Keys(Protocol):
    """The public keys of an issuer."""

    def find_key(self, kid: str) -> RSAKey | None:
        """Return the key with this id, None if there is none. Raises InvalidToken without keys."""


def verify_token(
    token: str, *, issuer: str, audiences: Sequence[str], keys: Keys
) -> dict[str, Any]:
    """Return the claims. Raises InvalidToken unless the issuer made it for one of the audiences.

    The audience is in `aud` or, for a token without `aud`, in `client_id`.
    """
    parsed = parse_token(token)
    key = keys.find_key(parsed.kid)
    if key is None:
        raise InvalidToken("the key ID is unknown")
    try:
        jwt.decode(token, key, registry=REGISTRY)
        _validate(parsed.claims, issuer, audiences)
    except ExpiredTokenError:
        raise InvalidToken("the token has expired") from None
    except ClaimError as error:
        raise InvalidToken(_description(error.claim)) from None
    except (JoseError, ValueError):
        raise InvalidToken("the signature is invalid") from None
    return parsed.claims


def _validate(claims: dict[str, Any], issuer: str, audiences: Sequence[str]) -> None:
    expected: dict[str, ClaimsOption] = {
        "iss": {"essential": True, "value": issuer},
        "exp": {"essential": True},
        "aud" if "aud" in claims else "client_id": {"essential": True, "values": list(audiences)},
    }
    # The time with its fraction, as a token's times may have one too.
    JWTClaimsRegistry(time, **expected).validate(claims)  # type: ignore[arg-type]


def _description(claim: str) -> str:
    """Return why the claim is rejected; the text for the audience is AWS's own."""
    if claim in ("aud", "client_id"):
        return "the token does not have a valid audience"
    return f"the claim {claim} is invalid"
