"""The certificate authorities that verify a server, by host name.

The layer contains Amazon's: a file per region for RDS, and one with the public roots for other
services. Loading such a file takes 1 ms; loading the system's takes 20.
"""

import re
import ssl
from functools import cache
from pathlib import Path

CERTIFICATES = Path(__file__).parent / "aws" / "certificates"
REGION = re.compile(r"[a-z]+(-[a-z]+)+-\d")


def authorities(host: str) -> str | None:
    """Return the file of the authorities for the host; None for the system's.

    Raises `ValueError` for RDS in a region whose authorities are not in the layer.
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
                "add their file (docs/own-servers.md), or set sslrootcert"
            )
        return str(file)
    return str(CERTIFICATES / "amazon.pem") if host.endswith(".amazonaws.com") else None


def postgresql_authorities(host: str) -> str:
    """Return the file of the authorities, for libpq. Raises as `authorities` does.

    libpq's own `system` works in psycopg's wheel only on Debian.
    """
    return authorities(host) or ssl.get_default_verify_paths().cafile or "system"


@cache
def tls_context(file: str | None) -> ssl.SSLContext:
    """Return a context that verifies host names and certificates by the file's authorities."""
    return ssl.create_default_context(cafile=file)
