"""How Redis is reached: its URL, verified TLS, and tokens of IAM in place of a password."""

from typing import Any

from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    ConnectionPool,
    SSLConnection,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from blog.settings import settings
from blog.tls import authorities, tls_context

VERIFICATION = {"ssl_cert_reqs", "ssl_check_hostname", "ssl_ca_certs"}


def new_connection(url: str) -> AbstractConnection:
    """Return a connection that is not made yet, without timeouts of its own.

    Raises redis-py's `ConnectionError` where the URL is not one of a Redis, or lacks TLS, or where
    there is no token for it.
    """
    try:
        pool = ConnectionPool.from_url(
            url,
            socket_timeout=None,
            socket_connect_timeout=None,
            protocol=2,  # nothing is to be pushed
            driver_info=None,
        )
    except ValueError:
        raise RedisConnectionError("REDIS_URL leads to no URL of a Redis") from None
    if settings().tls_required:
        _require_tls(pool)
    if (cache := settings().redis_iam_cache) is not None:
        _provide_token(pool.connection_kwargs, cache)
    connection: AbstractConnection = pool.make_connection()  # type: ignore[no-untyped-call]
    return connection


class VerifyingConnection(SSLConnection):
    """By TLS that verifies the server's name and authority, whatever the URL says."""

    def __init__(self, **options: Any) -> None:
        options |= {"ssl_cert_reqs": "required", "ssl_check_hostname": True}
        super().__init__(**options)
        if not {name for name in options if name.startswith("ssl_")} - VERIFICATION:
            # redis-py's own would load the system's authorities for each connection.
            self.ssl_context.context = tls_context(self.ca_certs or authorities(self.host))


def _require_tls(pool: ConnectionPool) -> None:
    if issubclass(pool.connection_class, SSLConnection):
        pool.connection_class = VerifyingConnection
    elif issubclass(pool.connection_class, Connection):
        raise RedisConnectionError("REDIS_URL has no TLS: begin it with rediss://")


def _provide_token(options: dict[str, Any], cache: str) -> None:
    from blog.aws.credentials import CredentialsUnavailable
    from blog.aws.tokens import cache_token

    try:
        options["password"] = cache_token(cache, options.get("username", "default"))
    except CredentialsUnavailable as error:
        raise RedisConnectionError(str(error)) from error
