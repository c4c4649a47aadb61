"""Metadata of the protected resource (RFC 9728)."""

import httpx

from tests.auth.claims import ISSUER
from tests.conftest import ApiOf

PATH = "/.well-known/oauth-protected-resource"


def test_the_metadata_names_the_issuer(api_of: ApiOf) -> None:
    assert api_of().get(PATH).json() == {
        "resource": "http://api.test",
        "authorization_servers": [ISSUER],
        "bearer_methods_supported": ["header"],
    }


def test_an_open_api_accepts_no_tokens(api: httpx.Client) -> None:
    assert api.get(PATH).json() == {"resource": "http://api.test", "bearer_methods_supported": []}
