"""Servers that the developer has: their URLs are checked before anything is started.

Each failure is one line, and none shows a password.
"""

from typing import Any
from urllib.parse import urlsplit

from blog.database_url import check_parameters, libpq_url
from local.errors import LocalError

CHECK_SECONDS = 3


def checked_database(url: str) -> str:
    """Return the URL as libpq reads it. Raises LocalError when no PostgreSQL responds there."""
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
    """Raises LocalError when no Redis responds at this URL."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    unset = "unset it to use the built-in Valkey"
    invalid = LocalError(
        "REDIS_URL is not a Redis URL; it looks like redis://host:6379/0 "
        f"(write @ : / in a password as %40 %3A %2F), or {unset}"
    )
    if urlsplit(url).scheme not in ("redis", "rediss", "unix") or url.count("@") > 1:
        raise invalid
    try:
        client = redis.Redis.from_url(
            url,
            socket_timeout=CHECK_SECONDS,
            socket_connect_timeout=CHECK_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
    except ValueError:
        raise invalid from None
    try:
        client.ping()
    except (redis.RedisError, OSError) as error:
        reason = _reason(error, client.connection_pool.connection_kwargs.get("password"))
        raise LocalError(
            f"REDIS_URL does not respond: {reason}; correct it, start that server, or {unset}"
        ) from None
    finally:
        client.close()


def _reason(error: Exception, password: Any) -> str:
    """In one line; drivers do not print passwords, but a mistyped URL may."""
    text = " ".join(str(error).split())
    return text.replace(str(password), "***") if password else text
