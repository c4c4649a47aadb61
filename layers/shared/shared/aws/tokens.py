"""IAM authentication tokens, which replace passwords; signed locally, without a request to AWS.

A token is valid for 15 minutes, but connections made with it stay open, so each new connection gets
a new token. ElastiCache closes connections after 12 hours; `CONNECTION_SECONDS` is shorter.
"""

import os

from shared.aws.credentials import CredentialsUnavailable, current_credentials
from shared.aws.signing import Signer

TOKEN_SECONDS = 900


def database_token(host: str, port: int, user: str) -> str:
    """Return a token for a PostgreSQL user of RDS, Aurora or RDS Proxy.

    `host` must be the server's own AWS name, which is signed: an alias would be rejected. Raises
    `CredentialsUnavailable`.
    """
    return _token("rds-db", f"{host}:{port}", {"Action": "connect", "DBUser": user})


def cache_token(cache: str, user: str) -> str:
    """Return a token for a user of the ElastiCache replication group with that name.

    Raises `CredentialsUnavailable`.
    """
    return _token("elasticache", cache, {"Action": "connect", "User": user})


def _token(service: str, host: str, query: dict[str, str]) -> str:
    return Signer(service, _region(), current_credentials()).url(host, query, TOKEN_SECONDS)


def _region() -> str:
    if region := os.environ.get("AWS_REGION"):
        return region
    raise CredentialsUnavailable("AWS_REGION is not set")
