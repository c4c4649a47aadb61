"""The embedded OpenID issuer: its key, its two documents, and tokens for any role and subject.

The key is created once per checkout, in the ignored folder `.local`, readable by its owner only.
The issuer's URL has the gateway's port, so the same subject at another port is another caller.
"""

import base64
import json
import os
import secrets
import tempfile
import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from local.errors import LocalError
from local.identity.settings import AUDIENCE, ISSUER_PATH, ROLES_CLAIM

DISCOVERY_PATH = "/.well-known/openid-configuration"
JWKS_PATH = "/.well-known/jwks.json"
ALGORITHM = "RS256"
KEY_BITS = 2048
LIFETIME_SECONDS = 12 * 3600

Claims = dict[str, Any]


class Issuer:
    """An issuer of access tokens.

    `roles_claim` is the claim with the array of roles, whose names begin with `role_prefix`.
    """

    def __init__(
        self,
        url: str,
        key: RSAKey,
        *,
        audience: str = AUDIENCE,
        roles_claim: str = ROLES_CLAIM,
        role_prefix: str = "",
    ) -> None:
        self.url = url
        self.audience = audience
        self.key = key
        self._roles_claim = roles_claim
        self._role_prefix = role_prefix

    def claims(self, role: str | None, subject: str) -> Claims:
        """Return the claims of a token that is valid from now on; the role may be None."""
        now = int(time.time())
        return {
            "iss": self.url,
            "sub": subject,
            "aud": self.audience,
            "iat": now,
            "exp": now + LIFETIME_SECONDS,
            "jti": secrets.token_hex(8),
            "token_use": "access",
            **({self._roles_claim: [f"{self._role_prefix}{role}"]} if role else {}),
        }

    def header(self) -> dict[str, Any]:
        """Return the header of its tokens."""
        return {"typ": "JWT", "alg": ALGORITHM, "kid": self.key.kid}

    def sign(self, header: dict[str, Any], claims: Claims) -> str:
        """Return a token, signed with RS256 whatever its header."""
        return sign(self.key, _json(header), _json(claims))

    def find_key(self, kid: str) -> RSAKey | None:
        """Return the key with this id."""
        return self.key if kid == self.key.kid else None

    def documents(self) -> dict[str, bytes]:
        """Return the issuer's documents, JSON by path."""
        contents: dict[str, dict[str, Any]] = {
            DISCOVERY_PATH: {
                "issuer": self.url,
                "jwks_uri": self.url + JWKS_PATH,
                "response_types_supported": ["token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": [ALGORITHM],
            },
            JWKS_PATH: {"keys": [self.key.as_dict(private=False)]},
        }
        return {ISSUER_PATH + path: _json(content) for path, content in contents.items()}


def sign(key: RSAKey, header: bytes, payload: bytes) -> str:
    """Return a token of these bytes, signed with RS256."""
    assert key.private_key
    signed = f"{base64url(header)}.{base64url(payload)}"
    signature = key.private_key.sign(signed.encode(), PKCS1v15(), SHA256())
    return f"{signed}.{base64url(signature)}"


def base64url(data: bytes) -> str:
    """Return the data in base64url, without padding."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def checkout_key(directory: Path) -> RSAKey:
    """Return the key in this folder, which is created if it is missing.

    Concurrent programs get the same key. Raises LocalError for an unusable file.
    """
    path = directory / "issuer-key.json"
    if not path.exists():
        _make_key(path)
    try:
        return RSAKey.import_key(json.loads(path.read_bytes()))
    except (ValueError, TypeError, AttributeError, JoseError) as error:
        raise LocalError(f"{path} is not a key: delete it, and a new one is created") from error


def _make_key(path: Path) -> None:
    parameters = {"use": "sig", "alg": ALGORITHM}
    key = RSAKey.generate_key(KEY_BITS, parameters, auto_kid=True)  # type: ignore[arg-type]
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent) as file:  # of mode 0600
        json.dump(key.as_dict(private=True), file)
        file.flush()
        try:
            os.link(file.name, path)
        except FileExistsError:
            return  # another program was faster
