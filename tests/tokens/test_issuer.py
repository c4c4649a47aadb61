"""The embedded issuer: its key, its documents, its tokens."""

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from local.errors import LocalError
from local.identity.issuer import Issuer, checkout_key
from local.identity.verification import verify_token
from tests.tokens.conftest import URL


def test_the_key_is_made_once_and_only_its_owner_can_read_it(
    issuer: Issuer, key_folder: Path
) -> None:
    (file,) = key_folder.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    again = Issuer(URL, checkout_key(key_folder))
    assert again.header() == issuer.header()


def test_programs_that_make_the_key_at_the_same_time_get_the_same_one(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as threads:
        keys = list(threads.map(checkout_key, [tmp_path] * 4))
    assert len({key.kid for key in keys}) == 1


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"kty": "RSA", "n": "", "e": ""}'])
def test_a_broken_key_file_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "issuer-key.json"
    path.write_text(content)
    with pytest.raises(LocalError, match=r"issuer-key\.json is not a key: delete it"):
        checkout_key(tmp_path)


def test_no_private_part_of_the_key_is_served(issuer: Issuer) -> None:
    documents = {path: json.loads(content) for path, content in issuer.documents().items()}
    assert documents["/local-issuer/.well-known/openid-configuration"]["issuer"] == URL
    (key,) = documents["/local-issuer/.well-known/jwks.json"]["keys"]
    assert key.keys() == {"kty", "n", "e", "kid", "use", "alg"}


def test_its_tokens_are_valid(issuer: Issuer) -> None:
    claims = issuer.claims("author", "ada")
    token = issuer.sign(issuer.header(), claims)
    assert claims["roles"] == ["author"]
    assert verify_token(token, issuer=URL, audiences=[issuer.audience], keys=issuer) == claims
    assert "roles" not in issuer.claims(None, "ada")
