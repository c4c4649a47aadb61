"""The settings of tokens, for both the gateway and the functions. Imports no cryptography."""

from collections.abc import Mapping

ISSUER_PATH = "/local-issuer"
AUDIENCE = "users-and-posts"
ROLES_CLAIM = "roles"


def issuer_url(port: int) -> str:
    """Return the URL of the issuer that the gateway at this port serves."""
    return f"http://127.0.0.1:{port}{ISSUER_PATH}"


def token_settings(port: int, shell: Mapping[str, str]) -> dict[str, str]:
    """Return the shell's settings; the defaults are those of the embedded issuer."""
    defaults = {
        "TOKEN_ISSUER": issuer_url(port),
        "TOKEN_AUDIENCE": AUDIENCE,
        "ROLES_CLAIM": ROLES_CLAIM,
        "ROLE_PREFIX": "",
    }
    return {name: shell.get(name, "").strip() or value for name, value in defaults.items()}
