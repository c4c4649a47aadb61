"""Tokens of IAM in place of passwords, signed on this machine: no request, no limit but AWS's own.

A token is a password for 15 minutes; connections made with it live on. So each new connection gets
a new one. ElastiCache ends connections after 12 hours; ours end earlier, see `CONNECTION_SECONDS`.
"""

import os

from blog.aws.credentials import CredentialsUnavailable, current_credentials
from blog.aws.signing import Signer

TOKEN_SECONDS = 900


def database_token(host: str, port: int, user: str) -> str:
    """For the user of a PostgreSQL of RDS or Aurora, or of RDS Proxy.

    `host` is its own name at AWS, which is signed: an alias would be rejected. Raises
    `CredentialsUnavailable`.
    """
    return _token("rds-db", f"{host}:{port}", {"Action": "connect", "DBUser": user})


def cache_token(cache: str, user: str) -> str:
    """For the user of an ElastiCache replication group, given by its name. Raises
    `CredentialsUnavailable`."""
    return _token("elasticache", cache, {"Action": "connect", "User": user})


def _token(service: str, host: str, query: dict[str, str]) -> str:
    return Signer(service, _region(), current_credentials()).url(host, query, TOKEN_SECONDS)


def _region() -> str:
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if not region:
        raise CredentialsUnavailable("AWS_REGION is not set")
    return region
