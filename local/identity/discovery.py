"""The keys of another issuer, by OpenID discovery, cached as in API Gateway.

While the keys are cached, the issuer may be unavailable. Without keys every token is rejected, with
AWS's own descriptions, and each token causes another request to the issuer.
"""

import http.client
import json
import threading
import time
import urllib.request
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from local.identity.issuer import DISCOVERY_PATH
from local.identity.parsing import InvalidToken

CACHE_SECONDS = 7200.0
# The minimum time between two fetches of the keys for tokens with an unknown key ID.
REFRESH_SECONDS = 10.0
TIMEOUT_SECONDS = 1.5
MAX_DOCUMENT_BYTES = 1024 * 1024
MIN_MODULUS_CHARACTERS = 342  # 2048 bits in base64url


class DiscoveredKeys:
    """The RSA keys of the issuer at this URL, by their ids."""

    def __init__(self, issuer: str, *, refresh_seconds: float = REFRESH_SECONDS) -> None:
        self._issuer = issuer
        self._refresh_seconds = refresh_seconds
        self._keys: dict[str, RSAKey] = {}
        self._fetched_at = self._tried_at = float("-inf")
        self._lock = threading.Lock()

    def find_key(self, kid: str) -> RSAKey | None:
        """Return the key with this id. Raises InvalidToken if there are no keys to search."""
        with self._lock:
            now = time.monotonic()
            expired = now - self._fetched_at > CACHE_SECONDS
            may_retry = now - self._tried_at > self._refresh_seconds
            if expired or (kid not in self._keys and may_retry):
                self._tried_at = now
                try:
                    self._keys = self._fetch()
                    self._fetched_at = now
                except InvalidToken:
                    if expired:
                        raise
            return self._keys.get(kid)

    def _fetch(self) -> dict[str, RSAKey]:
        url = self._issuer.removesuffix("/") + DISCOVERY_PATH
        found = _document(url, "OIDC discovery endpoint")
        if found.get("issuer") != self._issuer:
            raise InvalidToken("OIDC discovery endpoint communication error")
        keys = _document(str(found.get("jwks_uri")), "JWKS").get("keys")
        if not isinstance(keys, list):
            raise InvalidToken("JWKS communication error")
        return dict(filter(None, map(_usable, keys)))


def _document(url: str, name: str) -> dict[str, Any]:
    try:
        if not url.startswith(("https://", "http://")):
            raise ValueError(url)
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310
            document = json.loads(response.read(MAX_DOCUMENT_BYTES))
    except (OSError, ValueError, RecursionError, http.client.HTTPException) as error:
        raise InvalidToken(f"{name} communication error") from error
    if not isinstance(document, dict):
        raise InvalidToken(f"{name} communication error")
    return document


def _usable(jwk: Any) -> tuple[str, RSAKey] | None:
    """Return the id and the key, None unless it is an RSA key for signatures."""
    try:
        if jwk["kty"] != "RSA" or jwk.get("use", "sig") != "sig":
            return None
        if len(jwk["n"]) < MIN_MODULUS_CHARACTERS or not isinstance(jwk["kid"], str):
            return None
        members = {name: jwk[name] for name in ("kty", "n", "e", "kid", "alg") if name in jwk}
        return jwk["kid"], RSAKey.import_key(members)
    except (AttributeError, KeyError, TypeError, ValueError, JoseError):
        return None
