"""Certificates of servers, and the authority that issued them."""

from datetime import datetime
from pathlib import Path

import trustme


def make_certificate(
    authority: Path, certificate: Path, name: str, valid_until: datetime | None
) -> None:
    issuer = trustme.CA()
    issuer.cert_pem.write_to_path(authority)
    issued = issuer.issue_cert(name, not_after=valid_until)
    issued.private_key_and_cert_chain_pem.write_to_path(certificate)
