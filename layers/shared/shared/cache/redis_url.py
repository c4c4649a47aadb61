"""The connection parameters of Redis: URL, verified TLS, and IAM tokens instead of a password.

Of the parameters of redis-py's URLs, `PARAMETERS` and, with `rediss://`, `TLS_PARAMETERS` are used.
`FIXED_OPTIONS` are accepted without effect, as timeouts and decoding are not the URL's to choose.
All others are rejected by name.
"""

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, parse_url
from redis.exceptions import ConnectionError as RedisConnectionError

from shared.settings import settings
from shared.tls import authorities, tls_context

VERIFICATION = {"ssl_cert_reqs", "ssl_check_hostname", "ssl_ca_certs"}
PARAMETERS = frozenset({"client_name", "db", "password", "username"})
TLS_PARAMETERS = VERIFICATION | {
    *("ssl_ca_data", "ssl_ca_path", "ssl_certfile", "ssl_ciphers", "ssl_keyfile"),
    *("ssl_min_version", "ssl_password"),
}
FIXED_OPTIONS: dict[str, Any] = {
    "decode_responses": False,
    "encoding": "utf-8",
    "encoding_errors": "strict",
    "health_check_interval": 0,
    "protocol": 2,  # without push messages
    "retry_on_timeout": False,
    "socket_connect_timeout": None,
    "socket_timeout": None,
}
INVALID_VALUE = re.compile(r"Invalid value for '\w+'")
"""The beginning of redis-py's messages that quote only a parameter's name of the URL."""


class InvalidRedisUrl(RedisConnectionError):
    """The URL cannot be used; of the URL the message shows only the names of parameters."""


def new_connection(url: str) -> AbstractConnection:
    """Return a connection that is not open yet, without timeouts of its own.

    Raises `InvalidRedisUrl`, also if the URL lacks TLS, and redis-py's `ConnectionError` if there
    are no credentials for an IAM token.
    """
    try:
        connection_class, options = connection_options(url)
    except ValueError as error:
        raise InvalidRedisUrl(f"REDIS_URL: {error}") from None
    if settings().tls_required:
        connection_class = _with_tls(connection_class)
    if (cache := settings().redis_iam_cache) is not None:
        _provide_token(options, cache)
    return connection_class(**options, driver_info=None)


def connection_options(url: str) -> tuple[type[AbstractConnection], dict[str, Any]]:
    """Return the class of the URL's connection, and its options. Raises `ValueError`."""
    try:
        options: dict[str, Any] = dict(parse_url(url))
        query, path = parse_qs(urlsplit(url).query), urlsplit(url).path.strip("/")
    except ValueError as error:
        known = INVALID_VALUE.match(str(error))
        raise ValueError(known[0] if known else "not a Redis URL") from None
    connection_class = options.pop("connection_class", Connection)
    is_tls = issubclass(connection_class, SSLConnection)
    known_names = PARAMETERS | FIXED_OPTIONS.keys() | (TLS_PARAMETERS if is_tls else set())
    for name in query.keys() - known_names:
        shown = name if name.isidentifier() else "of that name"
        needed = ", or begin it with rediss://" if name in TLS_PARAMETERS else ""
        raise ValueError(f"its parameter {shown} is not supported: remove it{needed}")
    if issubclass(connection_class, Connection) and not re.fullmatch(r"[0-9]*", path):
        raise ValueError("its path is not the number of a database")
    return connection_class, options | FIXED_OPTIONS


class VerifyingConnection(SSLConnection):
    """TLS with verification, even if the URL turns it off."""

    def __init__(self, **options: Any) -> None:
        options |= {"ssl_cert_reqs": "required", "ssl_check_hostname": True}
        super().__init__(**options)
        if not {name for name in options if name.startswith("ssl_")} - VERIFICATION:
            # redis-py's own context would load the system's authorities for each connection.
            self.ssl_context.context = tls_context(self.ca_certs or authorities(self.host))


def _with_tls(connection_class: type[AbstractConnection]) -> type[AbstractConnection]:
    if issubclass(connection_class, SSLConnection):
        return VerifyingConnection
    if issubclass(connection_class, Connection):
        raise InvalidRedisUrl("REDIS_URL has no TLS: begin it with rediss://")
    return connection_class


def _provide_token(options: dict[str, Any], cache: str) -> None:
    from shared.aws.credentials import CredentialsUnavailable
    from shared.aws.tokens import cache_token

    try:
        options["password"] = cache_token(cache, options.get("username", "default"))
    except CredentialsUnavailable as error:
        raise RedisConnectionError(str(error)) from error
