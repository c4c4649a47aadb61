"""The developer's own servers, whose URLs are checked before anything is started.

Each failure is one line, without passwords.
"""

from typing import Any

from local.errors import LocalError
from shared.database_url import check_parameters, libpq_url

CHECK_SECONDS = 3


def checked_database(url: str) -> str:
    """Return the URL in libpq's form. Raises LocalError if no PostgreSQL responds there."""
    import psycopg

    unset = "unset it to use the built-in PostgreSQL"
    try:
        url = libpq_url(url)
        check_parameters(url)
        parameters = psycopg.conninfo.conninfo_to_dict(url)
    except psycopg.Error:  # its message quotes the URL
        raise LocalError(f"DATABASE_URL cannot be read; correct it, or {unset}") from None
    except ValueError as error:
        raise LocalError(f"DATABASE_URL: {error}; correct it, or {unset}") from None
    try:
        psycopg.connect(url, connect_timeout=CHECK_SECONDS).close()
    except psycopg.Error as error:
        reason = _reason(error, parameters.get("password"))
        raise LocalError(
            f"DATABASE_URL does not respond: {reason}; correct it, start that server, or {unset}"
        ) from None
    return url


def check_redis(url: str) -> None:
    """Raises LocalError if no Redis responds at this URL."""
    import redis
    from redis.backoff import NoBackoff
    from redis.connection import parse_url
    from redis.retry import Retry

    from shared.cache.redis_url import FIXED_OPTIONS, connection_options

    unset = "unset it to use the built-in Valkey"
    try:
        if url.count("@") > 1:
            raise ValueError("not a Redis URL")
        connection_options(url)
    except ValueError as error:
        raise LocalError(
            f"REDIS_URL: {error}; it looks like redis://host:6379/0 "
            f"(write @ : / in a password as %40 %3A %2F), or {unset}"
        ) from None

    options: dict[str, Any] = parse_url(url) | FIXED_OPTIONS  # type: ignore[no-untyped-call]
    options |= {"socket_timeout": CHECK_SECONDS, "socket_connect_timeout": CHECK_SECONDS}
    options["retry"] = Retry(NoBackoff(), 0)
    try:
        with redis.Redis(connection_pool=redis.ConnectionPool(**options)) as client:
            client.ping()
    except Exception as error:  # noqa: BLE001 - whatever listens there, and whatever it responds
        reason = _reason(error, options.get("password"))
        raise LocalError(
            f"REDIS_URL does not respond: {reason}; correct it, start that server, or {unset}"
        ) from None


def _reason(error: Exception, password: Any) -> str:
    """Return the error in one line, without the password, which it has if the URL is mistyped."""
    text = " ".join(str(error).split())
    return text.replace(str(password), "***") if password else text
