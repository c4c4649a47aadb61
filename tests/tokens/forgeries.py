"""Every forged token of the suite, by category: each must be rejected, and none be a 5xx.

The tools are those of `forger`. Most make a token that a common library, or a careless check, lets
pass. `signed` and `written` sign with the issuer's key, if it is known: only one check is left then
that can reject the token.
"""

import json
import time
from typing import Any

from cryptography.hazmat.primitives import hashes

from local.identity.issuer import base64url
from tests.tokens.forger import (
    REMOVED,
    Attempt,
    Forger,
    Make,
    attempted,
    bearer,
    by,
    claims_of,
    decoded,
    digest,
    ecdsa,
    eddsa,
    genuine,
    hmac_of,
    issuer,
    nothing,
    part,
    sent,
    signature,
    signed,
    stranger,
    token,
    written,
)

NOW = int(time.time())
HOUR = 3600
ADA: dict[str, Any] = {"sub": "ada", "roles": ["author"]}
READER: dict[str, Any] = {"sub": "reader", "roles": REMOVED}


def queried(forger: Forger, query: str) -> Attempt:
    return Attempt(path=f"{forger.resource.path}?{query}")


def with_signature_of_other_claims(forger: Any) -> Attempt:
    head, _, other = signed(sub="other")(forger).headers[0][1].split()[1].split(".")
    return bearer(f"{head}.{base64url(forger.payload)}.{other}")


def altered_tail(text: str) -> str:
    """The last character with other unused bits: the same bytes to a lenient decoder."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return text[:-1] + alphabet[alphabet.index(text[-1]) ^ 1]


def as_json_serialization(text: str) -> str:
    head, payload, signature = text.split(".")
    return json.dumps({"protected": head, "payload": payload, "signature": signature})


def claimed(text: str, role: str = "admin") -> str:
    """The payload with another role, under the genuine signature."""
    claims = json.loads(decoded(text)) | {"sub": "forger", "roles": [role]}
    return base64url(json.dumps(claims).encode())


def twice(name: str, first: str, second: str) -> Any:
    """The member of a JSON object twice."""

    def change(text: str) -> str:
        members = json.loads(text)
        members.pop(name, None)
        return f'{{"{name}":{first},{json.dumps(members)[1:-1]},"{name}":{second}}}'

    return change


def member(name: str, value: str) -> Any:
    """The member with a value as written, which need not be JSON."""

    def change(text: str) -> str:
        members = json.loads(text)
        members.pop(name, None)
        return f'{{{json.dumps(members)[1:-1]},"{name}":{value}}}'

    return change


def authorization(*values: str) -> Any:
    """The header, as often as there are values; `{}` stands for the token."""
    return lambda text: [("Authorization", value.replace("{}", text)) for value in values]


def header(name: str, value: str = "{}") -> Any:
    """The token in another header."""
    return lambda text: [(name, value.replace("{}", text))]


ALGORITHMS: dict[str, Make] = {
    "none, unsigned": by(nothing, alg="none"),
    "None, unsigned": by(nothing, alg="None"),
    "NONE, unsigned": by(nothing, alg="NONE"),
    "nOnE, unsigned": by(nothing, alg="nOnE"),
    "none with the genuine signature": by(genuine, alg="none"),
    "none with the issuer's signature": signed({"alg": "none"}),
    "empty, unsigned": by(nothing, alg=""),
    "missing, unsigned": by(nothing, alg=REMOVED),
    "missing": signed({"alg": REMOVED}),
    "null": signed({"alg": None}),
    "a number": signed({"alg": 256}),
    "an array": signed({"alg": ["RS256"]}),
    "an object": signed({"alg": {"RS256": True}}),
    "in lower case": signed({"alg": "rs256"}),
    "with a space": signed({"alg": "RS256 "}),
    "with NUL": signed({"alg": "RS256\0"}),
    "unknown": signed({"alg": "RS257"}),
    "of encryption": signed({"alg": "RSA-OAEP"}),
    "RS384 over a signature of RS256": signed({"alg": "RS384"}),
    "RS512 over a signature of RS256": signed({"alg": "RS512"}),
    "RS256 over a signature of RS384": by(issuer(hashes.SHA384())),
    "RS256 over a signature with SHA-1": by(issuer(hashes.SHA1())),
    "RS256 over a signature of PS256": by(issuer(hashes.SHA256(), pss=True)),
    "HS256 with the public key in PEM": by(hmac_of(lambda f: f.public_pem()), alg="HS256"),
    "HS256 with it without a newline": by(hmac_of(lambda f: f.public_pem().strip()), alg="HS256"),
    "HS256 with the public key in DER": by(hmac_of(lambda f: f.public_der()), alg="HS256"),
    "HS256 with the key's ID": by(hmac_of(lambda f: f.header["kid"].encode()), alg="HS256"),
    "HS256 with the issuer": by(hmac_of(lambda f: f.claims["iss"].encode()), alg="HS256"),
    "HS256 with an empty secret": by(hmac_of(lambda _: b""), alg="HS256"),
    "HS256 with a usual secret": by(hmac_of(lambda _: b"secret"), alg="HS256"),
    "HS384": by(hmac_of(lambda f: f.public_pem(), "sha384"), alg="HS384"),
    "HS512": by(hmac_of(lambda f: f.public_pem(), "sha512"), alg="HS512"),
    "ES256 of another key": by(ecdsa, alg="ES256"),
    "ES256 with r and s of 0": by(lambda *_: bytes(64), alg="ES256"),
    "ES256 with r and s of 0 in DER": by(lambda *_: bytes.fromhex("3006020100020100"), alg="ES256"),
    "EdDSA of another key": by(eddsa, alg="EdDSA"),
}

SIGNATURES: dict[str, Make] = {
    "empty": signature(lambda _: b""),
    "zeros": signature(lambda s: bytes(len(s))),
    "ones": signature(lambda s: b"\xff" * len(s)),
    "number one": signature(lambda s: bytes(len(s) - 1) + b"\x01"),
    "first bit changed": signature(lambda s: bytes([s[0] ^ 128]) + s[1:]),
    "last bit changed": signature(lambda s: s[:-1] + bytes([s[-1] ^ 1])),
    "without the last byte": signature(lambda s: s[:-1]),
    "without the first byte": signature(lambda s: s[1:]),
    "with a byte more": signature(lambda s: s + b"\0"),
    "with a zero before it": signature(lambda s: b"\0" + s),
    "twice": signature(lambda s: s + s),
    "reversed": signature(lambda s: s[::-1]),
    "of other claims": with_signature_of_other_claims,
    "of the header only": by(issuer(hashes.SHA256(), of=lambda text: text.split(b".")[0])),
    "of the payload only": by(issuer(hashes.SHA256(), of=lambda text: text.split(b".")[1])),
    "of the decoded payload": by(
        issuer(hashes.SHA256(), of=lambda text: decoded(text.split(b".")[1].decode()))
    ),
    "of the hash": by(digest),
    "of another key with the issuer's ID": by(stranger),
    "of another key with its own ID": lambda f: by(stranger, kid=f.own_key.kid)(f),
    "under another role": part(1, claimed),
    "under the role of an author": part(1, lambda text: claimed(text, "author")),
}

HEADERS: dict[str, Make] = {
    "kid missing": signed({"kid": REMOVED}),
    "kid null": signed({"kid": None}),
    "kid empty": signed({"kid": ""}),
    "kid a number": signed({"kid": 1}),
    "kid an array": lambda f: signed({"kid": [f.header["kid"]]})(f),
    "kid an object": signed({"kid": {}}),
    "kid unknown": signed({"kid": "unknown"}),
    "kid in another case": lambda f: signed({"kid": f.header["kid"].swapcase()})(f),
    "kid with a space": lambda f: signed({"kid": f.header["kid"] + " "})(f),
    "kid with NUL": lambda f: signed({"kid": f.header["kid"] + "\0"})(f),
    "kid a file, HS256": by(hmac_of(lambda _: b""), alg="HS256", kid="../../../dev/null"),
    "kid SQL": by(stranger, kid="' UNION SELECT 'secret' --"),
    "kid of 3000 characters": signed({"kid": "k" * 3000}),
    "jwk of another key": lambda f: by(stranger, jwk=f.own_key.as_dict(private=False))(f),
    "jwk of another key, no kid": lambda f: by(
        stranger, kid=REMOVED, jwk=f.own_key.as_dict(private=False)
    )(f),
    "jku of another issuer": by(stranger, jku="https://forger.example/jwks.json"),
    "x5u of another issuer": by(stranger, x5u="https://forger.example/x5u.pem"),
    "x5c of another key": by(stranger, x5c=["MIIB"]),
    "crit unknown": signed({"crit": ["exp2"], "exp2": 1}),
    "crit empty": signed({"crit": []}),
    "crit of exp": signed({"crit": ["exp"], "exp": 1}),
    "crit null": signed({"crit": None}),
    "crit a string": signed({"crit": "exp"}),
    "b64 false": signed({"b64": False, "crit": ["b64"]}),
    "b64 false, not critical": signed({"b64": False}),
    "b64 true": signed({"b64": True}),
    "typ of encryption": signed({"typ": "JWE"}),
    "typ of DPoP": signed({"typ": "dpop+jwt"}),
    "typ of logout": signed({"typ": "logout+jwt"}),
    "typ a number": signed({"typ": 1}),
    "typ an array": signed({"typ": ["JWT"]}),
    "alg twice, none first": written(header=twice("alg", '"none"', '"RS256"')),
    "alg twice, none last": written(header=twice("alg", '"RS256"', '"none"')),
    "kid twice": written(header=twice("kid", '"a"', '"b"')),
    "an array": written(header=lambda text: f"[{text}]"),
    "a string": written(header=lambda text: json.dumps(text)),
    "null": written(header=lambda _: "null"),
    "an empty object": written(header=lambda _: "{}"),
    "no JSON": written(header=lambda _: "alg=RS256"),
    "with a comma at the end": written(header=lambda text: text[:-1] + ",}"),
    "with more behind it": written(header=lambda text: text + "{}"),
    "with a byte order mark": written(header=lambda text: b"\xef\xbb\xbf" + text.encode()),
    "in UTF-16": written(header=lambda text: text.encode("utf-16")),
    "not UTF-8": written(header=lambda text: text[:-1].encode() + b',"a":"\xff"}'),
    "with NaN": written(header=member("a", "NaN")),
}

TIMES: dict[str, Make] = {
    "exp an hour ago": signed(exp=NOW - HOUR),
    "exp a minute ago": signed(exp=NOW - 60),
    "exp now": signed(exp=NOW),
    "exp 0": signed(exp=0),
    "exp negative": signed(exp=-1),
    "exp missing": signed(exp=REMOVED),
    "exp null": signed(exp=None),
    "exp true": signed(exp=True),
    "exp a string": signed(exp="never"),
    "exp a string of digits": signed(exp=str(NOW + HOUR)),
    "exp a date": signed(exp="2099-01-01T00:00:00Z"),
    "exp an array": signed(exp=[NOW + HOUR]),
    "exp an object": signed(exp={}),
    "exp in milliseconds": signed(exp=(NOW + HOUR) * 1000),
    "exp of 400 digits": written(payload=member("exp", "9" * 400)),
    "exp of 5000 digits": written(payload=member("exp", "9" * 5000)),
    "exp 1e400": written(payload=member("exp", "1e400")),
    "exp NaN": written(payload=member("exp", "NaN")),
    "exp Infinity": written(payload=member("exp", "Infinity")),
    "exp in hexadecimal": written(payload=member("exp", "0xffffffff")),
    "exp with a plus": written(payload=member("exp", "+9999999999")),
    "exp with a zero before it": written(payload=member("exp", "09999999999")),
    "nbf in an hour": signed(nbf=NOW + HOUR),
    "nbf a string": signed(nbf="0"),
    "nbf true": signed(nbf=True),
    "nbf NaN": written(payload=member("nbf", "NaN")),
    "nbf 1e400": written(payload=member("nbf", "1e400")),
    "nbf an array": signed(nbf=[0]),
    "iat in an hour": signed(iat=NOW + HOUR),
    "iat a string": signed(iat="now"),
    "iat true": signed(iat=True),
    "iat an object": signed(iat={}),
}

AUDIENCES: dict[str, Make] = {
    "another": signed(aud="another"),
    "missing": signed(aud=REMOVED, client_id=REMOVED),
    "missing, another client": signed(aud=REMOVED, client_id="another"),
    "another, but the client": claims_of(lambda c: {"aud": "another", "client_id": c["aud"]}),
    "null": signed(aud=None, client_id=REMOVED),
    "null, but the client": claims_of(lambda c: {"aud": None, "client_id": c["aud"]}),
    "empty": signed(aud=""),
    "an empty array": signed(aud=[]),
    "an array of others": signed(aud=["another", "third"]),
    "a number": signed(aud=1),
    "true": signed(aud=True),
    "an object": claims_of(lambda c: {"aud": {c["aud"]: True}}),
    "an array in an array": claims_of(lambda c: {"aud": [[c["aud"]]]}),
    "an array with a number": claims_of(lambda c: {"aud": [c["aud"], 1]}),
    "in upper case": claims_of(lambda c: {"aud": c["aud"].upper()}),
    "its start": claims_of(lambda c: {"aud": c["aud"][:-1]}),
    "with more behind it": claims_of(lambda c: {"aud": c["aud"] + "2"}),
    "with a space": claims_of(lambda c: {"aud": c["aud"] + " "}),
    "two in a string": claims_of(lambda c: {"aud": f"another {c['aud']}"}),
    "two as AWS writes an array": claims_of(lambda c: {"aud": f"[another {c['aud']}]"}),
    "client_id an array": claims_of(lambda c: {"aud": REMOVED, "client_id": [[c["aud"]]]}),
    "twice": written(payload=twice("aud", '"another"', '"users-and-posts"')),
}

ISSUERS: dict[str, Make] = {
    "another": signed(iss="https://forger.example"),
    "another, of its own key": lambda f: by(stranger, kid=f.own_key.kid)(f),
    "missing": signed(iss=REMOVED),
    "null": signed(iss=None),
    "empty": signed(iss=""),
    "a number": signed(iss=1),
    "an array": claims_of(lambda c: {"iss": [c["iss"]]}),
    "an object": signed(iss={}),
    "with a slash at the end": claims_of(lambda c: {"iss": c["iss"] + "/"}),
    "in upper case": claims_of(lambda c: {"iss": c["iss"].upper()}),
    "with a space": claims_of(lambda c: {"iss": c["iss"] + " "}),
    "with NUL": claims_of(lambda c: {"iss": c["iss"] + "\0"}),
    "with a query": claims_of(lambda c: {"iss": c["iss"] + "?a=b"}),
    "with a fragment": claims_of(lambda c: {"iss": c["iss"] + "#a"}),
    "its start": claims_of(lambda c: {"iss": c["iss"][:-1]}),
    "as a name of another host": claims_of(lambda c: {"iss": c["iss"] + "@forger.example"}),
    "by another scheme": claims_of(lambda c: {"iss": "ftp" + c["iss"][c["iss"].index(":") :]}),
    "twice": written(payload=twice("iss", '"https://forger.example"', '"https://other.example"')),
}

SUBJECTS: dict[str, Make] = {
    "missing": signed(sub=REMOVED),
    "null": signed(sub=None),
    "empty": signed(sub=""),
    "a number": signed(sub=1),
    "true": signed(sub=True),
    "an array": signed(sub=["ada"]),
    "an object": signed(sub={}),
    "a space": signed(sub=" "),
    "with a space before it": signed(sub=" ada"),
    "with a newline": signed(sub="ada\n"),
    "with NUL": signed(sub="ada\0"),
    "with an escape": signed(sub="\x1b[31mada"),
    "half of a surrogate pair": written(payload=member("sub", '"\\ud800"')),
    "beyond ASCII": signed(sub="\u0430da"),
    "of 256 characters": signed(sub="a" * 256),
    "of an ID token": signed(token_use="id"),
    "of a refresh token": signed(token_use="refresh"),
    "twice": written(payload=twice("sub", '"ada"', '"admin"')),
}

PAYLOADS: dict[str, Make] = {
    "roles twice": written(payload=twice("roles", "[]", '["admin"]')),
    "exp twice": written(payload=twice("exp", "1", "9999999999")),
    "a member twice, deep": written(payload=member("a", '{"b":1,"b":2}')),
    "a member twice, by an escape": written(payload=member("su\\u0062", '"ada"')),
    "an array": written(payload=lambda text: f"[{text}]"),
    "a string": written(payload=lambda text: json.dumps(text)),
    "a number": written(payload=lambda _: "1"),
    "null": written(payload=lambda _: "null"),
    "true": written(payload=lambda _: "true"),
    "an empty object": written(payload=lambda _: "{}"),
    "no JSON": written(payload=lambda _: "sub=ada"),
    "cut off": written(payload=lambda text: text[:-1]),
    "with a comma at the end": written(payload=lambda text: text[:-1] + ",}"),
    "with more behind it": written(payload=lambda text: text + text),
    "with a comment": written(payload=lambda text: text + "//"),
    "with single quotes": written(payload=lambda text: text.replace('"', "'")),
    "with NUL behind it": written(payload=lambda text: text + "\0"),
    "with a byte order mark": written(payload=lambda text: b"\xef\xbb\xbf" + text.encode()),
    "in UTF-16": written(payload=lambda text: text.encode("utf-16")),
    "in UTF-16 without a mark": written(payload=lambda text: text.encode("utf-16-le")),
    "in UTF-32": written(payload=lambda text: text.encode("utf-32")),
    "in Latin-1": written(payload=lambda text: text[:-1].encode() + b',"a":"\xe4"}'),
    "overlong UTF-8": written(payload=lambda text: text[:-1].encode() + b',"a":"\xc0\xaf"}'),
    "3000 arrays deep": written(payload=member("a", "[" * 3000)),
    "2000 arrays deep, closed": written(payload=member("a", "[" * 2000 + "]" * 2000)),
    "with -Infinity": written(payload=member("a", "-Infinity")),
    "with 1e999, deep": written(payload=member("a", "[[1e999]]")),
    "with a raw newline": written(payload=member("a", '"\n"')),
    "another token": lambda f: written(payload=lambda _: f.genuine)(f),
    "another token as a string": lambda f: written(payload=lambda _: json.dumps(f.genuine))(f),
}

SHAPES: dict[str, Make] = {
    "no part": token(lambda _: "token"),
    "one part": token(lambda t: t.split(".")[1]),
    "two parts": token(lambda t: t.rpartition(".")[0]),
    "four parts": token(lambda t: t + ".e30"),
    "five parts": token(lambda t: t + ".e30.e30"),
    "a dot at the end": token(lambda t: t + "."),
    "a dot before it": token(lambda t: "." + t),
    "two dots": token(lambda _: ".."),
    "two dots between parts": token(lambda t: t.replace(".", "..", 1)),
    "no header": part(0, lambda _: ""),
    "no payload": part(1, lambda _: ""),
    "no signature": part(2, lambda _: ""),
    "padding after the header": part(0, lambda p: p + "=" * (-len(p) % 4 or 4)),
    "padding after the payload": part(1, lambda p: p + "=" * (-len(p) % 4 or 4)),
    "padding after the signature": part(2, lambda p: p + "=="),
    "other unused bits": part(2, altered_tail),
    "a character more": part(2, lambda p: p + "A"),
    "a character less": part(1, lambda p: p[:-1]),
    "the standard alphabet": part(2, lambda p: p.replace("-", "+").replace("_", "/")[:-1] + "+"),
    "a space in it": token(lambda t: t.replace(".", " .", 1)),
    "a tab in it": token(lambda t: t[:20] + "\t" + t[20:]),
    "a dot of another script": token(lambda t: t.replace(".", "。")),
    "a letter of another script": token(lambda t: t.replace("e", "\u0435", 1)),
    "percent-encoded dots": token(lambda t: t.replace(".", "%2E")),
    "in quotes": token(lambda t: f'"{t}"'),
    "in angle brackets": token(lambda t: f"<{t}>"),
    "twice": token(lambda t: t + t),
    "twice with a comma": token(lambda t: f"{t},{t}"),
    "in base64url once more": token(lambda t: base64url(t.encode())),
    "as JSON": token(as_json_serialization),
    "the parts swapped": token(lambda t: ".".join(reversed(t.split(".")))),
    "of 9000 characters": written(payload=member("a", json.dumps("a" * 6400))),
    "of 40 000 characters": written(payload=member("a", json.dumps("a" * 30_000))),
}

TRANSPORTS: dict[str, Make] = {
    "nothing": sent(lambda _: []),
    "an empty header": sent(authorization("")),
    "the scheme only": sent(authorization("Bearer")),
    "two spaces after the scheme, no token": sent(authorization("Bearer  .")),
    "the scheme twice": sent(authorization("Bearer Bearer {}")),
    "another scheme": sent(authorization("Basic {}")),
    "the scheme DPoP": sent(authorization("DPoP {}")),
    "the scheme Token": sent(authorization("Token {}")),
    "a scheme that only starts so": sent(authorization("Bearers {}")),
    "a colon after the scheme": sent(authorization("Bearer: {}")),
    "no space after the scheme": sent(authorization("Bearer{}")),
    "an equals sign": sent(authorization("Bearer={}")),
    "a tab after the scheme": sent(authorization("Bearer\t{}")),
    "words behind it": sent(authorization("Bearer {} admin")),
    "a parameter behind it": sent(authorization('Bearer {}, realm="a"')),
    "two in one header": sent(authorization("Bearer {}, Bearer {}")),
    "two headers": sent(authorization("Bearer {}", "Bearer {}")),
    "two headers, an invalid one first": sent(authorization("Bearer a.b.c", "Bearer {}")),
    "two headers, an invalid one last": sent(authorization("Bearer {}", "Bearer a.b.c")),
    "two headers, Basic first": sent(authorization("Basic dTpw", "Bearer {}")),
    "a query parameter": lambda f: queried(f, f"access_token={f.genuine}"),
    "a query parameter Authorization": lambda f: queried(f, f"Authorization={f.genuine}"),
    "a body": lambda f: Attempt(
        method="POST", json={**f.resource.body(), "access_token": f.genuine}
    ),
    "a cookie": sent(header("Cookie", "Authorization={}")),
    "X-Authorization": sent(header("X-Authorization", "Bearer {}")),
    "Proxy-Authorization": sent(header("Proxy-Authorization", "Bearer {}")),
    "X-Forwarded-Authorization": sent(header("X-Forwarded-Authorization", "Bearer {}")),
    "X-Access-Token": sent(header("X-Access-Token")),
    "X-Api-Key": sent(header("X-Api-Key")),
    "Authorization with an underscore": sent(header("X_Authorization", "Bearer {}")),
    "the user of a proxy": sent(header("X-Forwarded-User", "local-admin")),
    "the claims in a header": sent(header("X-Amzn-Oidc-Data")),
    "the context in a header": sent(
        header("X-Amzn-Request-Context", '{"authorizer":{"jwt":{"claims":{"roles":"[admin]"}}}}')
    ),
    "the context in a query": lambda f: queried(
        f, "requestContext.authorizer.jwt.claims.roles=[admin]"
    ),
}

NO_ADMINISTRATORS: dict[str, dict[str, Any]] = {
    "the role Admin": {"roles": ["Admin"]},
    "the role administrator": {"roles": ["administrator"]},
    "a role with NUL": {"roles": ["admin\0"]},
    "a role with a comma": {"roles": ["admin,author"]},
    "a role in quotes": {"roles": ['"admin"']},
    "a role of another script": {"roles": ["\u0430dmin"]},
    "a pattern of roles": {"roles": ["*"]},
    "roles in an array in an array": {"roles": [["admin"]]},
    "roles in an object": {"roles": {"admin": True}},
    "roles true": {"roles": True},
    "roles null": {"roles": None},
    "the claim role": {"roles": REMOVED, "role": "admin"},
    "the claim groups": {"roles": REMOVED, "groups": ["admin"]},
    "the claim scope": {"roles": REMOVED, "scope": "admin write"},
    "the claim ROLES": {"roles": REMOVED, "ROLES": ["admin"]},
    "the claim roles.0": {"roles": REMOVED, "roles.0": "admin"},
    "the subject admin": {"roles": REMOVED, "sub": "admin"},
}

AUTHORISATION: dict[str, Make] = {
    **{
        f"{method} by a reader": attempted(method, **READER)
        for method in ("POST", "PUT", "PATCH", "DELETE")
    },
    **{
        f"{method} of another's by an author": attempted(method, **ADA)
        for method in ("PUT", "PATCH", "DELETE")
    },
    **{
        f"DELETE by {name}": attempted("DELETE", **claims)
        for name, claims in NO_ADMINISTRATORS.items()
    },
}

FORGERIES: dict[str, dict[str, Make]] = {
    "algorithms": ALGORITHMS,
    "signatures": SIGNATURES,
    "headers": HEADERS,
    "times": TIMES,
    "audiences": AUDIENCES,
    "issuers": ISSUERS,
    "subjects": SUBJECTS,
    "payloads": PAYLOADS,
    "shapes": SHAPES,
    "transports": TRANSPORTS,
    "authorisation": AUTHORISATION,
}
