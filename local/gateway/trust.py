"""The issuer that the API on this machine trusts: the embedded one, or that of TOKEN_ISSUER.

TOKEN_AUDIENCE and ROLES_CLAIM of the shell hold for both. `SIGN_IN=off` ends that requests without
a token are a local administrator's; with another issuer they never are.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from local.gateway.authorizer import JwtAuthorizer
from local.identity.discovery import DiscoveredKeys
from local.identity.issuer import AUDIENCE, ROLES_CLAIM, Issuer, checkout_key, issuer_url

ADMINISTRATOR = "local-admin"


@dataclass(frozen=True)
class Trust:
    """What the gateway enforces, what it serves for the issuer, and what the functions check.

    `notice` is for the developer.
    """

    authorizer: JwtAuthorizer
    documents: dict[str, bytes]
    environment: dict[str, str]
    notice: str


def embedded_issuer(directory: Path, port: int, shell: Mapping[str, str]) -> Issuer:
    """Return the issuer of this checkout's gateway at this port."""
    return Issuer(
        issuer_url(port),
        checkout_key(directory),
        audience=_audiences(shell)[0],
        roles_claim=shell.get("ROLES_CLAIM") or ROLES_CLAIM,
    )


def trust(directory: Path, port: int, shell: Mapping[str, str]) -> Trust:
    """Return what the variables of the shell ask for."""
    audiences = _audiences(shell)
    if url := shell.get("TOKEN_ISSUER"):
        authorizer = JwtAuthorizer(url, audiences, DiscoveredKeys(url))
        return Trust(authorizer, {}, _environment(url, audiences), f"Tokens are those of {url}.")
    issuer = embedded_issuer(directory, port, shell)
    signs_in = shell.get("SIGN_IN") != "off"
    authorizer = JwtAuthorizer(
        issuer.url,
        audiences,
        issuer,
        sign_in=(lambda: issuer.claims("admin", ADMINISTRATOR)) if signs_in else None,
    )
    notice = (
        "Requests without a token are an administrator's; SIGN_IN=off ends that."
        if signs_in
        else "Requests need a token: make token ROLE=author SUBJECT=ada"
    )
    return Trust(authorizer, issuer.documents(), _environment(issuer.url, audiences), notice)


def _audiences(shell: Mapping[str, str]) -> list[str]:
    return (shell.get("TOKEN_AUDIENCE") or AUDIENCE).split() or [AUDIENCE]


def _environment(issuer: str, audiences: list[str]) -> dict[str, str]:
    return {"TOKEN_ISSUER": issuer, "TOKEN_AUDIENCE": " ".join(audiences)}
