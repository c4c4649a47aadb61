"""Claims as API Gateway passes them on, and the settings of functions that accept them."""

from time import time

ISSUER = "https://issuer.example.org/"
AUDIENCE = "users-and-posts"
REQUIRED = {"AUTH": "required", "TOKEN_ISSUER": ISSUER, "TOKEN_AUDIENCE": f"other {AUDIENCE}"}


def claims_of(*roles: str, subject: str = "ada", **claims: str) -> dict[str, str]:
    """The claims of a valid token, and others in their place."""
    valid = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": subject,
        "exp": str(int(time()) + 600),
        "roles": f"[{' '.join(roles)}]",
    }
    return valid | claims
