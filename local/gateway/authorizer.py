"""The JWT authorizer of an API Gateway HTTP API: a request's claims, or API Gateway's own 401.

Claims are passed to the function as in AWS: all are strings, an array is `[a b]`, nulls are left
out.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from local.gateway.events import Request
from local.gateway.hosts import LOCAL_ORIGIN
from local.gateway.responses import Response, message_response
from local.identity.parsing import InvalidToken
from local.identity.verification import Keys, verify_token

# AWS accepts the token with and without the scheme.
AUTHORIZATION = re.compile(r"(?:Bearer +)?([^ ]+)", re.IGNORECASE)


class Unauthorized(Exception):
    """The request has no valid token."""

    def __init__(self, description: str | None = None) -> None:
        super().__init__(description)
        challenge = "Bearer"
        if description:
            challenge += f' scope="" error="invalid_token" error_description="{description}"'
        message = message_response(401, "Unauthorized")
        headers = [*message.headers, ("WWW-Authenticate", challenge)]
        self.response = Response(message.status, headers, message.body)


@dataclass(frozen=True)
class JwtAuthorizer:
    """Checks the tokens of one issuer for an API with these audiences.

    `sign_in` returns the claims of a request without the header `Authorization`; if it is None,
    such a request is rejected.
    """

    issuer: str
    audiences: Sequence[str]
    keys: Keys
    sign_in: Callable[[], dict[str, Any]] | None = None

    def authorize(self, request: Request) -> dict[str, Any]:
        """Return `requestContext.authorizer` of the event. Raises Unauthorized."""
        try:
            claims = self._claims(request)
        except InvalidToken as error:
            raise Unauthorized(str(error)) from None
        written = {
            name: printed_claim(value) for name, value in claims.items() if value is not None
        }
        return {"jwt": {"claims": written, "scopes": None}}

    def _claims(self, request: Request) -> dict[str, Any]:
        values = request.values("authorization")
        if not values:
            if self.sign_in and _is_local(request):
                return self.sign_in()
            raise Unauthorized
        found = AUTHORIZATION.fullmatch(values[0])
        if len(values) > 1 or not found:
            raise InvalidToken("the header Authorization is invalid")
        return verify_token(found[1], issuer=self.issuer, audiences=self.audiences, keys=self.keys)


def _is_local(request: Request) -> bool:
    """Whether the request is not from another host's page, which must not act as administrator."""
    return all(map(LOCAL_ORIGIN.fullmatch, request.values("origin")))


def printed_claim(value: Any) -> str:
    """Return a claim as API Gateway passes it on, printed by Go."""
    match value:
        case bool():
            return str(value).lower()
        case list():
            return f"[{' '.join(map(printed_claim, value))}]"
        case dict():
            members = (f"{name}:{printed_claim(value[name])}" for name in sorted(value))
            return f"map[{' '.join(members)}]"
        case float():
            return str(int(value) if value.is_integer() else float(value))
        case None:
            return "<nil>"
    return str(value)
