"""Tools to forge tokens: parts of a genuine token, changed and signed again.

A maker is a function of a Forger; it returns the request that an attacker would send.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding
from joserfc.jwk import RSAKey

from local.identity.issuer import base64url, sign
from tests.sample_resource import SampleResource

REMOVED: Any = object()
"""The value of a member that is taken out."""
RS256 = (padding.PKCS1v15(), hashes.SHA256())


@dataclass(frozen=True)
class Attempt:
    """A request that must be rejected; the headers in order, names may repeat.

    Without a path it is that of the resource's list.
    """

    headers: list[tuple[str, str]] = field(default_factory=list)
    method: str = "GET"
    path: str = ""
    json: dict[str, Any] | None = None


class Forger:
    """Has a genuine token, and a key: the issuer's if that is known, else the forger's own.

    With the issuer's key the checks behind the signature are tried as well. `victim` is the path of
    an item of the resource that belongs to another subject.
    """

    def __init__(
        self, genuine: str, issuer_key: RSAKey | None, resource: SampleResource, victim: str
    ) -> None:
        self.genuine = genuine
        self.resource = resource
        self.victim = victim
        self.own_key = RSAKey.generate_key(2048, auto_kid=True)
        self.key = issuer_key or self.own_key
        head, payload, signature = genuine.split(".")
        self.header: dict[str, Any] = json.loads(decoded(head))
        self.claims: dict[str, Any] = json.loads(decoded(payload))
        self.payload = decoded(payload)
        self.signature = decoded(signature)

    def public_pem(self) -> bytes:
        return self.key.public_key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def public_der(self) -> bytes:
        return self.key.public_key.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )


Make = Callable[[Forger], Attempt]
Sign = Callable[[Forger, bytes], bytes]


def bearer(token: str, **request: Any) -> Attempt:
    return Attempt([("Authorization", f"Bearer {token}")], **request)


def signed(header: dict[str, Any] | None = None, **claims: Any) -> Make:
    """Members of the header and claims changed, and signed with the issuer's algorithm."""

    def make(forger: Forger) -> Attempt:
        members = _changed(forger.header, header or {}), _changed(forger.claims, claims)
        return bearer(sign(forger.key, *map(_json, members)))

    return make


def claims_of(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Make:
    """Claims that depend on the genuine ones."""
    return lambda forger: signed(**change(forger.claims))(forger)


def written(header: Callable[[str], Any] = str, payload: Callable[[str], Any] = str) -> Make:
    """The JSON text of the header or of the payload changed, to text or bytes, and signed."""

    def make(forger: Forger) -> Attempt:
        texts = header(_json(forger.header).decode()), payload(_json(forger.claims).decode())
        return bearer(sign(forger.key, *map(_bytes, texts)))

    return make


def by(signature: Sign, **header: Any) -> Make:
    """Members of the header changed, and a signature of this kind."""

    def make(forger: Forger) -> Attempt:
        head = base64url(_json(_changed(forger.header, header)))
        start = f"{head}.{base64url(forger.payload)}"
        return bearer(f"{start}.{base64url(signature(forger, start.encode()))}")

    return make


def token(change: Callable[[str], str]) -> Make:
    """The text of the genuine token changed."""
    return lambda forger: bearer(change(forger.genuine))


def part(number: int, change: Callable[[str], str]) -> Make:
    """The text of one of the three parts of the genuine token changed."""

    def make(forger: Forger) -> Attempt:
        parts = forger.genuine.split(".")
        parts[number] = change(parts[number])
        return bearer(".".join(parts))

    return make


def signature(change: Callable[[bytes], bytes]) -> Make:
    """The bytes of the genuine signature changed."""
    return by(lambda forger, _: change(forger.signature))


def sent(headers: Callable[[str], list[tuple[str, str]]], **request: Any) -> Make:
    """The genuine token, sent in a place or form in which no token may be sent."""
    return lambda forger: Attempt(headers(forger.genuine), **request)


def attempted(method: str, **claims: Any) -> Make:
    """A create, or a write of the victim's item, that these claims do not allow."""

    def make(forger: Forger) -> Attempt:
        headers = signed(**claims)(forger).headers
        body = None if method == "DELETE" else forger.resource.body()
        return Attempt(headers, method, "" if method == "POST" else forger.victim, body)

    return make


def nothing(_: Forger, __: bytes) -> bytes:
    return b""


def genuine(forger: Forger, _: bytes) -> bytes:
    return forger.signature


def stranger(forger: Forger, signed: bytes) -> bytes:
    """RS256 of the forger's own key."""
    assert forger.own_key.private_key
    return forger.own_key.private_key.sign(signed, *RS256)


def issuer(
    hash_: hashes.HashAlgorithm, *, pss: bool = False, of: Callable[[bytes], bytes] = bytes
) -> Sign:
    """The issuer's key with another algorithm, or over other bytes."""

    def make(forger: Forger, signed: bytes) -> bytes:
        assert forger.key.private_key
        salted = padding.PSS(padding.MGF1(hash_), padding.PSS.DIGEST_LENGTH)
        return forger.key.private_key.sign(of(signed), salted if pss else padding.PKCS1v15(), hash_)

    return make


def hmac_of(secret: Callable[[Forger], bytes], digest: str = "sha256") -> Sign:
    return lambda forger, signed: hmac.new(secret(forger), signed, digest).digest()


def ecdsa(_: Forger, signed: bytes) -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).sign(signed, ec.ECDSA(hashes.SHA256()))


def eddsa(_: Forger, signed: bytes) -> bytes:
    return ed25519.Ed25519PrivateKey.generate().sign(signed)


def digest(_: Forger, signed: bytes) -> bytes:
    return hashlib.sha256(signed).digest()


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _changed(members: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**members, **changes}.items() if value is not REMOVED}


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()
