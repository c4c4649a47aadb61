"""Another issuer, found by OpenID discovery: caching, rotation, unknown keys, failures."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from joserfc.jwk import RSAKey

from local.identity.discovery import DiscoveredKeys
from local.identity.issuer import DISCOVERY_PATH, JWKS_PATH, Issuer
from local.identity.parsing import InvalidToken
from local.identity.verification import verify_token

DISCOVERY_FAILED = "OIDC discovery endpoint communication error"
JWKS_FAILED = "JWKS communication error"


class OtherIssuer:
    """A server with the documents of an issuer, which counts what it served."""

    def __init__(self) -> None:
        served = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                served.requested.append(self.path)
                document = served.documents.get(self.path)
                self.send_response(404 if document is None else 200)
                self.end_headers()
                self.wfile.write(document or b"")

            def log_message(self, *_: object) -> None: ...

        self.requested: list[str] = []
        self.documents: dict[str, bytes] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.01])
        self._thread.start()

    def publish(self, *keys: RSAKey | dict[str, Any]) -> None:
        jwks = [key if isinstance(key, dict) else key.as_dict(private=False) for key in keys]
        discovery = {"issuer": self.url, "jwks_uri": self.url + JWKS_PATH}
        self.documents[DISCOVERY_PATH] = json.dumps(discovery).encode()
        self.documents[JWKS_PATH] = json.dumps({"keys": jwks}).encode()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def other() -> Iterator[OtherIssuer]:
    server = OtherIssuer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def keys() -> list[RSAKey]:
    return [RSAKey.generate_key(2048, {"use": "sig"}, auto_kid=True) for _ in range(2)]


def test_a_token_of_the_other_issuer_is_valid(other: OtherIssuer, keys: list[RSAKey]) -> None:
    other.publish(*keys)
    issuer = Issuer(other.url, keys[1])
    token = issuer.sign(issuer.header(), issuer.claims("admin", "ada"))
    found = DiscoveredKeys(other.url)
    claims = verify_token(token, issuer=other.url, audiences=[issuer.audience], keys=found)
    assert claims["sub"] == "ada"


def test_an_issuer_whose_url_ends_in_a_slash_is_found(
    other: OtherIssuer, keys: list[RSAKey]
) -> None:
    other.url += "/"
    other.publish(keys[0])
    assert DiscoveredKeys(other.url).find_key(str(keys[0].kid))


def test_keys_are_cached_and_stay_when_the_issuer_is_away(
    other: OtherIssuer, keys: list[RSAKey]
) -> None:
    other.publish(keys[0])
    found = DiscoveredKeys(other.url, refresh_seconds=0)
    kid = str(keys[0].kid)
    assert found.find_key(kid)
    assert found.find_key(kid)
    assert other.requested == [DISCOVERY_PATH, JWKS_PATH]
    other.documents.clear()
    assert found.find_key("unknown") is None
    assert found.find_key(kid)


def test_a_key_that_is_published_later_is_found(other: OtherIssuer, keys: list[RSAKey]) -> None:
    other.publish(keys[0])
    found = DiscoveredKeys(other.url, refresh_seconds=0)
    assert found.find_key(str(keys[1].kid)) is None
    other.publish(keys[1])
    assert found.find_key(str(keys[1].kid))
    assert found.find_key(str(keys[0].kid)) is None


def test_unknown_keys_do_not_flood_the_issuer(other: OtherIssuer, keys: list[RSAKey]) -> None:
    other.publish(keys[0])
    found = DiscoveredKeys(other.url)
    for number in range(20):
        assert found.find_key(f"unknown {number}") is None
    assert other.requested == [DISCOVERY_PATH, JWKS_PATH]


def test_an_issuer_that_is_away_is_found_when_it_is_back(
    other: OtherIssuer, keys: list[RSAKey]
) -> None:
    found = DiscoveredKeys(other.url)
    with pytest.raises(InvalidToken, match=DISCOVERY_FAILED):
        found.find_key("any")
    other.publish(keys[0])
    assert found.find_key(str(keys[0].kid))


def test_nothing_listens() -> None:
    with pytest.raises(InvalidToken, match=DISCOVERY_FAILED):
        DiscoveredKeys("http://127.0.0.1:1").find_key("any")


@pytest.mark.parametrize(
    ("path", "document", "description"),
    [
        (DISCOVERY_PATH, b"", DISCOVERY_FAILED),
        (DISCOVERY_PATH, b"[]", DISCOVERY_FAILED),
        (DISCOVERY_PATH, b'{"issuer": "http://elsewhere"}', DISCOVERY_FAILED),
        (DISCOVERY_PATH, b"[" * 100_000, DISCOVERY_FAILED),
        (JWKS_PATH, b"not JSON", JWKS_FAILED),
        (JWKS_PATH, b'{"keys": {}}', JWKS_FAILED),
        (JWKS_PATH, b'{"keys": [null, 1, {}, {"kty": "RSA"}]}', None),
        (JWKS_PATH, b'{"keys": 1}', JWKS_FAILED),
    ],
)
def test_a_broken_document_gives_no_key(
    other: OtherIssuer, keys: list[RSAKey], path: str, document: bytes, description: str | None
) -> None:
    other.publish(*keys)
    other.documents[path] = document
    found = DiscoveredKeys(other.url)
    if description is None:
        assert found.find_key(str(keys[0].kid)) is None
    else:
        with pytest.raises(InvalidToken, match=description):
            found.find_key(str(keys[0].kid))


def test_a_file_is_not_accepted_as_a_key_set(other: OtherIssuer) -> None:
    discovery = {"issuer": other.url, "jwks_uri": "file:///etc/hostname"}
    other.documents[DISCOVERY_PATH] = json.dumps(discovery).encode()
    with pytest.raises(InvalidToken, match=JWKS_FAILED):
        DiscoveredKeys(other.url).find_key("any")


@pytest.mark.parametrize(
    "changes", [{"kty": "oct", "k": "AAAA"}, {"use": "enc"}, {"n": "AQAB"}, {"kid": 7}, {"e": 1}]
)
def test_a_key_that_is_not_for_rsa_signatures_is_ignored(
    other: OtherIssuer, keys: list[RSAKey], changes: dict[str, Any]
) -> None:
    other.publish(keys[0].as_dict(private=False) | changes, keys[1])
    found = DiscoveredKeys(other.url)
    assert found.find_key(str(keys[0].kid)) is None
    assert found.find_key(str(keys[1].kid))
