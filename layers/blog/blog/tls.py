"""The authorities by which the server of a host's name is verified.

Amazon's are in the layer, a file for the RDS of each region, and one with the public roots that
have signed the rest. To load a file of few takes 1 ms, and the system's hundred take 20.
"""

import re
import ssl
from functools import cache
from pathlib import Path

CERTIFICATES = Path(__file__).parent / "aws" / "certificates"
REGION = re.compile(r"[a-z]+(-[a-z]+)+-\d")


def authorities(host: str) -> str | None:
    """Their file; None for the system's own.

    Raises `ValueError` for a PostgreSQL of RDS in a region whose authorities are not in the layer.
    """
    labels = host.lower().split(".")
    is_rds = "rds" in labels and "amazonaws" in labels
    is_proxy = any(label.startswith("proxy-") for label in labels)
    if is_rds and not is_proxy:
        region = next((label for label in reversed(labels) if REGION.fullmatch(label)), "")
        file = CERTIFICATES / f"{region}.pem"
        if not file.exists():
            raise ValueError(
                f"the layer has no authorities of RDS in {region}: "
                "add their file (docs/deployment.md), or name it by sslrootcert"
            )
        return str(file)
    return str(CERTIFICATES / "amazon.pem") if host.endswith(".amazonaws.com") else None


def postgresql_authorities(host: str) -> str:
    """Their file, for libpq. Raises as `authorities`.

    Its own way to the system's, `system`, leads nowhere in psycopg's wheel, except on Debian.
    """
    return authorities(host) or ssl.get_default_verify_paths().cafile or "system"


@cache
def tls_context(file: str | None) -> ssl.SSLContext:
    """Verifies the server's name, and that an authority of the file has signed it."""
    return ssl.create_default_context(cafile=file)
