"""The issuer that the API on this machine trusts: the embedded one, or TOKEN_ISSUER.

TOKEN_AUDIENCE, ROLES_CLAIM and ROLE_PREFIX of the shell apply to both. With the embedded issuer,
requests without a token are those of a local administrator, unless `SIGN_IN=off`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from local.gateway.authorizer import JwtAuthorizer
from local.identity.discovery import DiscoveredKeys
from local.identity.issuer import Issuer, checkout_key
from local.identity.settings import issuer_url, token_settings

ADMINISTRATOR = "local-admin"


@dataclass(frozen=True)
class Trust:
    """The authorizer, the issuer's documents by path, and a notice for the console."""

    authorizer: JwtAuthorizer
    documents: dict[str, bytes]
    notice: str


def trust(directory: Path, port: int, shell: Mapping[str, str]) -> Trust:
    """Return the trust that the shell's variables configure; the directory has the issuer's key."""
    settings = token_settings(port, shell)
    url, audiences = settings["TOKEN_ISSUER"], settings["TOKEN_AUDIENCE"].split()
    if url != issuer_url(port):
        return Trust(
            JwtAuthorizer(url, audiences, DiscoveredKeys(url)), {}, f"Tokens are issued by {url}."
        )
    issuer = embedded_issuer(directory, port, shell)
    signs_in = shell.get("SIGN_IN") != "off"
    authorizer = JwtAuthorizer(
        url,
        audiences,
        issuer,
        sign_in=(lambda: issuer.claims("admin", ADMINISTRATOR)) if signs_in else None,
    )
    notice = (
        "Requests without a token are an administrator's; SIGN_IN=off ends that."
        if signs_in
        else "Requests need a token: make token ROLE=author SUBJECT=ada"
    )
    return Trust(authorizer, issuer.documents(), notice)


def embedded_issuer(directory: Path, port: int, shell: Mapping[str, str]) -> Issuer:
    """Return the issuer of this checkout's gateway at this port."""
    settings = token_settings(port, shell)
    return Issuer(
        issuer_url(port),
        checkout_key(directory),
        audience=settings["TOKEN_AUDIENCE"].split()[0],
        roles_claim=settings["ROLES_CLAIM"],
        role_prefix=settings["ROLE_PREFIX"],
    )
