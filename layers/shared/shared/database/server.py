"""The connection parameters of PostgreSQL: URL, verified TLS, IAM tokens instead of a password."""

import asyncio
import ssl
from typing import Any

from psycopg import OperationalError
from sqlalchemy import URL, Engine, event, make_url

from shared.database_url import check_parameters, libpq_url
from shared.settings import SettingsError, settings
from shared.stored_secrets import is_secret, secret_value

DIAGNOSIS_SECONDS = 0.5
SSL_REQUEST = bytes.fromhex("0000000804d2162f")


def database_url() -> URL:
    """Return `DATABASE_URL`, or the URL in that secret, for SQLAlchemy's psycopg dialect.

    Raises `SecretUnavailable`, and `SettingsError` if the secret holds no URL, or the URL has an
    unknown parameter or a server of unknown certificate authorities.
    """
    given = settings().database_url
    try:
        text = libpq_url(secret_value(given)) if is_secret(given) else given
        check_parameters(text)
        url = make_url(text).set(drivername="postgresql+psycopg")
        if settings().database_auth == "iam" and "," in f"{url.host}{url.query.get('host', '')}":
            raise ValueError("an IAM token is valid for one host only")
        return _verifying(url) if settings().tls_required else url
    except ValueError as error:
        raise SettingsError(f"DATABASE_URL: {error}") from None


def provide_tokens(engine: Engine) -> None:
    """Create an IAM token for each new connection, if `DATABASE_AUTH` is `iam`."""
    if settings().database_auth != "iam":
        return
    from shared.aws.credentials import CredentialsUnavailable
    from shared.aws.tokens import database_token

    @event.listens_for(engine, "do_connect")
    def provide(_dialect: object, _record: object, _arguments: Any, options: Any) -> None:
        host, port, user = options["host"], int(options.get("port") or 5432), options["user"]
        try:
            options["password"] = database_token(host, port, user)
        except CredentialsUnavailable as error:
            raise OperationalError(str(error)) from error


def _verifying(url: URL) -> URL:
    """Return the URL with TLS that verifies the server; unchanged for a Unix socket."""
    host = url.host or str(url.query.get("host", ""))
    if all(name.startswith(("/", "@")) or not name for name in host.split(",")):
        return url
    from shared.tls import postgresql_authorities

    file = url.query.get("sslrootcert") or postgresql_authorities(host)
    return url.update_query_dict({"sslmode": "verify-full", "sslrootcert": file})


async def rejected_certificate(url: URL) -> str:
    """Return why the server's certificate is rejected, such as "certificate has expired".

    libpq's text is always "certificate verify failed". Empty if the reason cannot be found.
    """
    file = url.query.get("sslrootcert", "system")
    try:
        context = ssl.create_default_context(cafile=None if file == "system" else str(file))
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # as libpq does
        async with asyncio.timeout(DIAGNOSIS_SECONDS):
            await _shake_hands(url, context)
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    except (OSError, asyncio.IncompleteReadError):
        pass
    return ""


async def _shake_hands(url: URL, context: ssl.SSLContext) -> None:
    reader, writer = await asyncio.open_connection(url.host, url.port or 5432)
    try:
        writer.write(SSL_REQUEST)
        await reader.readexactly(1)
        await writer.start_tls(context, server_hostname=url.host)
    finally:
        writer.close()
