"""The issuer that the API on this machine trusts: the embedded one, or that of TOKEN_ISSUER.

TOKEN_AUDIENCE, ROLES_CLAIM and ROLE_PREFIX of the shell hold for both. `SIGN_IN=off` ends that
requests without a token are a local administrator's; with another issuer they never are.
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
    """What the gateway enforces, and what it serves for the issuer. `notice` is for the console."""

    authorizer: JwtAuthorizer
    documents: dict[str, bytes]
    notice: str


def trust(directory: Path, port: int, shell: Mapping[str, str]) -> Trust:
    """Return what the variables of the shell ask for; the issuer's key is in the directory."""
    settings = token_settings(port, shell)
    url, audiences = settings["TOKEN_ISSUER"], settings["TOKEN_AUDIENCE"].split()
    if url != issuer_url(port):
        return Trust(
            JwtAuthorizer(url, audiences, DiscoveredKeys(url)), {}, f"Tokens are of {url}."
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
